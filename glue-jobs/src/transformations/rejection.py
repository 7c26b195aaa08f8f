"""Rejected rows beside the good ones, in one frame: what a file says of such a row as one text."""

from collections.abc import Sequence

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from transformations.validation import REJECTED
from utils.dataset import Column


def rejected_text() -> Expression:
    """A row of `set_rejected_aside` that cannot be loaded, as JSON; NULL for a good row."""
    return F.to_json(REJECTED)


def rejected_rows(
    frame: DataFrame, columns: Sequence[Column], source_files: Sequence[str]
) -> DataFrame:
    """Makes rows of the texts of `rejected_text`.

    In: `_rejected`. Out: the dataset's columns as the file has them, `source_file`, one of
    `source_files`, `source_block`, `source_row`, `row_text` and `reasons`, an array of strings.
    """
    raw = ", ".join(f"`{column.name}`: string" for column in columns)
    row = F.from_json(
        REJECTED,
        f"raw struct<{raw}>, position struct<file: int, block: bigint, row: bigint>,"
        " row_text string, reasons array<string>",
        # Of a value that is longer than this, nothing at all would be read; 20 MB by default.
        {"maxStringLen": str(2**31 - 1), "mode": "FAILFAST"},
    )
    names = F.array(*[F.lit(name) for name in source_files])
    return frame.select(row.alias("row")).select(
        "row.raw.*",
        names[F.col("row.position.file")].alias("source_file"),
        F.col("row.position.block").alias("source_block"),
        F.col("row.position.row").alias("source_row"),
        "row.row_text",
        "row.reasons",
    )
