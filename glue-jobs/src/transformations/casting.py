"""Types: from a file's text to the table's values, exactly or not at all."""

from collections.abc import Sequence

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from utils.dataset import WHITESPACE, Column

# Spark's own casts are exact about integers, but take more than these of the others: a bare year, a
# time zone, digits of other scripts, and exponents so large that the arithmetic takes minutes. They
# end with \z: before a last line separator of Unicode, which no cast takes, Java's $ matches too.
FORMATS = {
    "bigint": r"^\s*[+-]?[0-9]+\s*\z",
    "integer": r"^\s*[+-]?[0-9]+\s*\z",
    "decimal": r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*\z",
    # Without groups that repeat, which take Java half as long again.
    "timestamp": (
        r"^\s*(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}"
        r"[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?\s*\z"
    ),
}


def is_written_as(text: Expression, kind: str) -> Expression:
    """Whether text has the form of a number or timestamp; there may still be no such value."""
    return text.rlike(FORMATS[kind])


def cast_columns(frame: DataFrame, columns: Sequence[Column]) -> DataFrame:
    """Casts the dataset's columns and keeps what the file said beside them.

    In: the dataset's columns as strings under their clean names, and the job's own (`_...`).
    Out: the columns with their types, in order; `_raw`, a struct of the strings; the job's own.
    White space around a value goes, and empty is NULL; so is what is no value of its type: 1.5 as
    an integer, "1,5" or NaN as a decimal, 29 February 2017. Decimals are rounded half up to their
    scale.
    """
    own = [name for name in frame.columns if name.startswith("_")]
    raw = F.struct(*[column.name for column in columns]).alias("_raw")
    return frame.select(*[_cast(column).alias(column.name) for column in columns], raw, *own)


def _cast(column: Column) -> Expression:
    text = F.col(column.name)
    if column.kind == "varchar":
        return _trimmed(text)
    # try_cast answers NULL where a cast fails, whatever the session's ANSI mode.
    value = F.expr(f"try_cast(`{column.name}` AS {column.spark_type})")
    exact = column.kind in ("bigint", "integer")
    return value if exact else F.when(is_written_as(text, column.kind), value)


def _trimmed(text: Expression) -> Expression:
    trimmed = F.nullif(F.btrim(text, F.lit(WHITESPACE)), F.lit(""))
    # Few values have anything to trim, and to see that is twice as fast: all white space sorts
    # before "!"; what else does is trimmed in vain.
    has_none = text >= "!"
    for character in WHITESPACE:
        has_none &= ~text.endswith(character)
    return F.when(has_none, text).otherwise(trimmed)
