"""Validation: every reason why a row cannot be loaded, by what its columns are said to hold."""

from collections.abc import Sequence
from decimal import Decimal
from functools import reduce
from operator import or_

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from transformations.casting import is_written_as
from utils.dataset import Column

REJECTED = "_rejected"

MALFORMED_ROW = "malformed_row"
# A row that holds others: they would be lost unseen, so this fault is the whole file's.
UNCLOSED_QUOTE = "unclosed_quote"

NOT_A = {
    "bigint": "not_an_integer",
    "integer": "not_an_integer",
    "decimal": "not_a_decimal",
    "timestamp": "not_a_timestamp",
}


def set_rejected_aside(frame: DataFrame, columns: Sequence[Column]) -> DataFrame:
    """Gives every row that cannot be loaded the reasons, and what the file said.

    In: the frame of `cast_columns` with `_row_text` and `_position` of `read_rows`. Out: the
    columns, `_position`, and `_rejected`, NULL for a good row, else a struct that no other row has:
    `raw`, the row's strings; `position`; `row_text`, which is the row where it is none; and
    `reasons`, an array of strings, in a fixed order: the row's own faults, then at most one a
    column, named `<column>_<fault>`. A malformed row has no other reason: its values are not where
    they belong. `unclosed_quote` stands in for either where a value runs on over the rows that
    follow it.
    """
    faults = [*_row_faults(columns), *[_column_fault(column) for column in columns]]
    rejected = (
        F.when(F.col("_row_text").isNotNull(), _set_aside(F.array(_malformed_row())))
        # Most rows are good: only for the others is an array made.
        .when(F.coalesce(*faults).isNotNull(), _set_aside(F.array_compact(F.array(*faults))))
    )
    names = [column.name for column in columns]
    # All in one select: Spark writes a row anew for each that it cannot make one of.
    return frame.select(*names, "_position", rejected.alias(REJECTED))


def is_good() -> Expression:
    """Whether a row of `set_rejected_aside` can be loaded."""
    return F.col(REJECTED).isNull()


def has_unclosed_quote() -> Expression:
    """Whether a row of `set_rejected_aside` swallows others; NULL for a good row."""
    return F.array_contains(f"{REJECTED}.reasons", UNCLOSED_QUOTE)


def _set_aside(reasons: Expression) -> Expression:
    own = [F.col(f"_{name}").alias(name) for name in ("raw", "position", "row_text")]
    return F.struct(*own, reasons.alias("reasons"))


def _malformed_row() -> Expression:
    return F.when(_runs_on(F.col("_row_text")), UNCLOSED_QUOTE).otherwise(MALFORMED_ROW)


def _runs_on(text: Expression) -> Expression:
    """Whether text goes on after a line break; in a varchar column that is no fault."""
    return text.rlike(r"\S\s*\n\s*\S")


def _row_faults(columns: Sequence[Column]) -> list[Expression]:
    # Numbers and timestamps have a form of their own, which such characters do not fit.
    texts = [F.col(column.name) for column in columns if column.kind == "varchar"]

    def one_contains(character: str) -> Expression:
        return reduce(or_, [text.contains(character) for text in texts], F.lit(False))

    return [
        # What a decoder writes in place of bytes that are not UTF-8.
        F.when(one_contains("\ufffd"), "invalid_utf8"),
        # A character that no warehouse column can hold.
        F.when(one_contains("\0"), "nul_character"),
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
