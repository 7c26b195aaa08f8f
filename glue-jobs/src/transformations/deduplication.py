"""Deduplication: of the rows with the same upsert key, the latest is kept."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def mark_superseded(
    frame: DataFrame, upsert_keys: Sequence[str], order_by: Sequence[str]
) -> DataFrame:
    """Adds `_rank`, 1 for the latest row of its key, and `_superseded`, true for all others.

    In: the key columns, none of them NULL; the columns of `order_by`; `_position`, the row's place
    in the load. Out: the same rows, `_rank` and `_superseded`. The latest is the greatest by
    `order_by`, where NULL is the least, and of equals the last in the load: always the same row.
    """
    latest_first = [F.col(name).desc_nulls_last() for name in (*order_by, "_position")]
    of_one_key = Window.partitionBy(*upsert_keys).orderBy(*latest_first)
    ranked = frame.withColumn("_rank", F.row_number().over(of_one_key))
    return ranked.withColumn("_superseded", F.col("_rank") > 1)
