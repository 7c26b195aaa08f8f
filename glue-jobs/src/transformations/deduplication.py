"""Deduplication: of the rows with the same upsert key, the latest is kept."""

from collections.abc import Sequence

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def add_rank(frame: DataFrame, upsert_keys: Sequence[str], order_by: Sequence[str]) -> DataFrame:
    """Adds `_rank`, 1 for the latest row of its key; all others are superseded.

    In: the key columns, none of them NULL; the columns of `order_by`; `_position`, the row's place
    in the load. Out: the same rows and `_rank`. The latest is the greatest by `order_by`, where
    NULL is the least, and of equals the last in the load: always the same row.
    """
    telling_apart = [name for name in (*order_by, "_position") if name not in upsert_keys]
    latest_first = [F.col(name).desc_nulls_last() for name in telling_apart]
    of_one_key = Window.partitionBy(*upsert_keys).orderBy(*latest_first)
    return frame.withColumn("_rank", F.row_number().over(of_one_key))


def is_superseded() -> Expression:
    """Whether a later row has the key of a row of `add_rank`."""
    return F.col("_rank") > 1
