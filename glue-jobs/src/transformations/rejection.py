"""Rejected rows beside the good ones, in one frame: what a file says of such a row as one text."""

from collections.abc import Sequence

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from transformations.validation import is_good
from utils.dataset import Column

REJECTED = "_rejected"


def rejected_text() -> Expression:
    """A row of `add_reasons` that cannot be loaded, as JSON; NULL for a good row.

    So that a row of either kind goes through the same pass, and few bytes of it for most.
    """
    row = F.struct(
        F.col("_raw").alias("raw"),
        F.col("_source_file").alias("source_file"),
        F.col("_position.block").alias("source_block"),
        F.col("_position.row").alias("source_row"),
        F.col("_row_text").alias("row_text"),
        F.col("_reasons").alias("reasons"),
    )
    return F.when(~is_good(), F.to_json(row))


def rejected_rows(frame: DataFrame, columns: Sequence[Column]) -> DataFrame:
    """Makes rows of the texts of `rejected_text`.

    In: `_rejected`. Out: the dataset's columns as the file has them, `source_file`,
    `source_block`, `source_row`, `row_text` and `reasons`, an array of strings.
    """
    raw = ", ".join(f"`{column.name}` string" for column in columns)
    row = F.from_json(
        REJECTED,
        f"raw struct<{raw.replace('` ', '`: ')}>, source_file string, source_block bigint,"
        " source_row bigint, row_text string, reasons array<string>",
        # Of a value that is longer than this, nothing at all would be read; 20 MB by default.
        {"maxStringLen": str(2**31 - 1), "mode": "FAILFAST"},
    )
    place = ("source_file", "source_block", "source_row", "row_text", "reasons")
    return frame.select(row.alias("row")).select("row.raw.*", *[f"row.{name}" for name in place])
