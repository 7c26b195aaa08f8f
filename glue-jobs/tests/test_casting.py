"""Text becomes a value of its type exactly, or NULL."""

from datetime import datetime
from decimal import Decimal

import pytest
from chispa import assert_df_equality
from transformations.casting import cast_columns
from utils.dataset import WHITESPACE, Column

CASES = {
    "integer": {
        "12": 12,
        "+5": 5,
        " -5\t": -5,
        "007": 7,
        "2147483647": 2147483647,
        "2147483648": None,
        "1.5": None,
        "1e3": None,
        "12L": None,
        "0x1F": None,
        "１２": None,
        "": None,
        "   ": None,
    },
    "bigint": {"9223372036854775807": 9223372036854775807, "9223372036854775808": None},
    "decimal(6,2)": {
        "12.34": Decimal("12.34"),
        " -1 ": Decimal("-1.00"),
        ".5": Decimal("0.50"),
        "5.": Decimal("5.00"),
        "1e2": Decimal("100.00"),
        "0.005": Decimal("0.01"),
        "9999.99": Decimal("9999.99"),
        "10000": None,
        "1e400": None,
        "1e9999999": None,
        "1e-9999999": None,
        "1,5": None,
        "$5": None,
        "abc": None,
        "NaN": None,
        "Infinity": None,
        ".": None,
    },
    "timestamp": {
        "2017-01-15 10:20:30": datetime(2017, 1, 15, 10, 20, 30),
        "2017-01-15T10:20:30.123456": datetime(2017, 1, 15, 10, 20, 30, 123456),
        "2016-02-29 00:00:00": datetime(2016, 2, 29),
        "2017-02-29 00:00:00": None,
        "2017-13-01 00:00:00": None,
        "2017-01-15 24:00:00": None,
        "0000-01-01 00:00:00": None,
        "2017-01-15": None,
        "2017": None,
        "2017-01-15 10:20:30Z": None,
        "15/01/2017 10:20:30": None,
    },
    "varchar(10)": {
        " tea  ": "tea",
        "\t\r\n": None,
        "": None,
        "a\nb": "a\nb",
        "été": "été",
        "!": "!",
        "\x01": "\x01",  # sorts before all white space, and is none
        "tea\u00a0": "tea\u00a0",
        **{f"{character}tea": "tea" for character in WHITESPACE},
        **{f"tea{character}": "tea" for character in WHITESPACE},
    },
}


@pytest.mark.parametrize("column_type", CASES)
def test_a_value_is_exact_or_null(spark, column_type):
    # GIVEN texts of a column
    column = Column("Value", "value", column_type)
    texts = spark.createDataFrame([(text,) for text in CASES[column_type]], "value string")
    # WHEN they are cast
    values = [row.value for row in cast_columns(texts, [column]).collect()]
    # THEN each is the value that it says, or NULL
    assert dict(zip(CASES[column_type], values)) == CASES[column_type]


def test_columns_come_out_typed_in_order_with_what_the_file_said(spark):
    # GIVEN two columns, one of them named like an SQL keyword, and a column of the job's own
    columns = [Column("Qty", "quantity", "integer"), Column("Select", "select", "varchar(5)")]
    frame = spark.createDataFrame([(" 2", "x ", 7)], "quantity string, select string, _own int")
    # WHEN they are cast
    typed = cast_columns(frame, columns)
    # THEN the typed columns come first, then the raw text and the job's own column
    expected = spark.createDataFrame(
        [(2, "x", (" 2", "x "), 7)],
        "quantity int, select string, _raw struct<quantity: string, select: string>, _own int",
    )
    assert_df_equality(typed, expected, ignore_nullable=True)
