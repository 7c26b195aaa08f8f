"""Each row gets every reason why it cannot be loaded, and a good row none."""

from decimal import Decimal

import pytest
from transformations.casting import cast_columns
from transformations.validation import REJECTED, is_good, set_rejected_aside
from utils.dataset import Column

COLUMNS = [
    Column("ID", "id", "bigint", required=True, minimum=Decimal(1)),
    Column("Name", "name", "varchar(6)"),
    Column("Price", "price", "decimal(6,2)", required=True, minimum=Decimal(0)),
    Column("Share", "share", "integer", maximum=Decimal(100)),
    Column("Time", "time", "timestamp"),
]
GOOD = {"id": "1", "name": "tea", "price": "2.50", "share": "7", "time": "2017-01-15 10:20:30"}

CASES = [
    ({}, []),
    ({"name": None, "share": "", "time": " "}, []),
    ({"id": None}, ["id_missing"]),
    ({"id": "  "}, ["id_missing"]),
    ({"id": "x"}, ["id_not_an_integer"]),
    ({"id": "1.0"}, ["id_not_an_integer"]),
    ({"id": "0"}, ["id_below_minimum"]),
    ({"id": "9" * 19}, ["id_out_of_range"]),
    ({"name": "é" * 3}, []),
    ({"name": "é" * 4}, ["name_too_long"]),
    ({"name": "caf\ufffd"}, ["invalid_utf8"]),
    ({"name": "a\0"}, ["nul_character"]),
    ({"price": ""}, ["price_missing"]),
    ({"price": "abc"}, ["price_not_a_decimal"]),
    ({"price": "1,5"}, ["price_not_a_decimal"]),
    ({"price": "NaN"}, ["price_not_a_decimal"]),
    ({"price": "1e400"}, ["price_out_of_range"]),
    ({"price": "-0.01"}, ["price_negative"]),
    ({"price": "0"}, []),
    ({"share": "101"}, ["share_above_maximum"]),
    ({"share": "3000000000"}, ["share_out_of_range"]),
    ({"time": "2017-02-29 00:00:00"}, ["time_not_a_timestamp"]),
    (
        {"id": "", "price": "-1", "time": "noon"},
        ["id_missing", "price_negative", "time_not_a_timestamp"],
    ),
    ({"time": "2017-01-15 10:20:30\n1,tea"}, ["unclosed_quote"]),
    ({"name": "te\na", "price": "2\n"}, []),
    ({"_row_text": '1,"tea,\n2,tea'}, ["unclosed_quote"]),
    ({"_row_text": "1,tea", "price": None, "name": "caf\ufffd"}, ["malformed_row"]),
]


@pytest.fixture(scope="module", name="typed")
def fixture_typed(spark):
    """All cases in one frame; rows in the order of CASES."""
    names = [*GOOD, "_row_text"]
    rows = [
        (*[{**GOOD, "_row_text": None, **case}[name] for name in names], (0, 0, place))
        for place, (case, _) in enumerate(CASES)
    ]
    texts = ", ".join(f"{name} string" for name in names)
    position = "_position struct<file: int, block: bigint, row: bigint>"
    return cast_columns(spark.createDataFrame(rows, f"{texts}, {position}"), COLUMNS)


@pytest.fixture(scope="module", name="judged")
def fixture_judged(typed):
    """All cases, judged once."""
    judged = set_rejected_aside(typed, COLUMNS)
    return judged.withColumn("good", is_good()).collect()


@pytest.mark.parametrize("case", range(len(CASES)), ids=[str(case) for case, _ in CASES])
def test_a_row_gets_its_reasons(judged, case):
    rejected = judged[case][REJECTED]
    assert (rejected and rejected["reasons"]) == (CASES[case][1] or None)


def test_a_row_is_good_exactly_when_it_has_no_reason(judged):
    assert [row["good"] for row in judged] == [not reasons for _, reasons in CASES]


def test_a_rejected_row_keeps_what_the_file_said(judged):
    for row, (case, reasons) in zip(judged, CASES):
        if reasons:
            said = {**GOOD, **case}
            assert row[REJECTED]["row_text"] == said.pop("_row_text", None)
            assert row[REJECTED]["raw"].asDict() == said


def test_of_the_jobs_own_columns_place_and_rejection_are_left(typed):
    names = [column.name for column in COLUMNS]
    assert set_rejected_aside(typed, COLUMNS).columns == [*names, "_position", REJECTED]
