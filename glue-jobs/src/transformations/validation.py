"""Validation: every reason why a row cannot be loaded, by what its columns are said to hold."""

from collections.abc import Sequence
from decimal import Decimal

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from transformations.casting import is_written_as
from utils.dataset import Column

MALFORMED_ROW = "malformed_row"
# A row that holds others: they would be lost unseen, so this fault is the whole file's.
UNCLOSED_QUOTE = "unclosed_quote"

NOT_A = {
    "bigint": "not_an_integer",
    "integer": "not_an_integer",
    "decimal": "not_a_decimal",
    "timestamp": "not_a_timestamp",
}


def add_reasons(frame: DataFrame, columns: Sequence[Column]) -> DataFrame:
    """Adds `_reasons`, an array of strings, NULL for a good row.

    In: the frame of `cast_columns` with `_row_text` of `read_rows`, the text of a row that is none,
    else NULL. Out: the same and `_reasons`, in a fixed order: the row's own faults, then at
    most one a column, named `<column>_<fault>`. A malformed row has no other reason: its values are
    not where they belong. `unclosed_quote` stands in for either where a value runs on over the
    rows that follow it.
    """
    faults = [*_row_faults(columns), *[_column_fault(column) for column in columns]]
    return frame.withColumn(
        "_reasons",
        F.when(F.col("_row_text").isNotNull(), F.array(_malformed_row()))
        # Most rows are good: only for the others is an array made.
        .when(F.coalesce(*faults).isNotNull(), F.array_compact(F.array(*faults))),
    )


def is_good() -> Expression:
    """Whether a row of `add_reasons` can be loaded."""
    return F.col("_reasons").isNull()


def has_unclosed_quote() -> Expression:
    """Whether a row of `add_reasons` swallows others; NULL for a good row."""
    return F.array_contains("_reasons", UNCLOSED_QUOTE)


def _malformed_row() -> Expression:
    return F.when(_runs_on(F.col("_row_text")), UNCLOSED_QUOTE).otherwise(MALFORMED_ROW)


def _runs_on(text: Expression) -> Expression:
    """Whether text goes on after a line break; in a varchar column that is no fault."""
    return text.rlike(r"\S\s*\n\s*\S")


def _row_faults(columns: Sequence[Column]) -> list[Expression]:
    # Numbers and timestamps have a form of their own, which such characters do not fit.
    text = F.concat_ws("", *[column.name for column in columns if column.kind == "varchar"])
    return [
        # What a decoder writes in place of bytes that are not UTF-8.
        F.when(text.contains("\ufffd"), "invalid_utf8"),
        # A character that no warehouse column can hold.
        F.when(text.contains("\0"), "nul_character"),
    ]


def _column_fault(column: Column) -> Expression:
    """The fault of a column's value, NULL when there is none."""
    value, text = F.col(column.name), F.col(f"_raw.{column.name}")
    is_blank = text.isNull() | ~text.rlike(r"\S")
    missing = f"{column.name}_missing" if column.required else None
    if column.kind == "varchar":
        too_long = F.octet_length(value) > column.max_bytes
        return F.when(value.isNull(), missing).when(too_long, f"{column.name}_too_long")
    return (
        F.when(value.isNotNull(), _limit_fault(column))
        .when(is_blank, missing)
        .when(_runs_on(text), UNCLOSED_QUOTE)
        .when(~is_written_as(text, column.kind), f"{column.name}_{NOT_A[column.kind]}")
        # It reads like one, but there is no such day, or the type cannot hold it.
        .otherwise(
            f"{column.name}_{NOT_A[column.kind]}"
            if column.kind == "timestamp"
            else f"{column.name}_out_of_range"
        )
    )


def _limit_fault(column: Column) -> Expression:
    value, fault = F.col(column.name), F.lit(None).cast("string")
    if column.maximum is not None:
        fault = F.when(value > _limit(column.maximum), f"{column.name}_above_maximum")
    if column.minimum is not None:
        below = "negative" if column.minimum == 0 else "below_minimum"
        is_below = value < _limit(column.minimum)
        fault = F.when(is_below, f"{column.name}_{below}").otherwise(fault)
    return fault


def _limit(limit: Decimal) -> Expression:
    # Comparing an integer column with a decimal would make a decimal of every value.
    return F.lit(int(limit)) if limit == int(limit) else F.lit(limit)
