"""The real feed: one file a day, the same bytes each time, with the faults of its source."""

import csv
import hashlib
from datetime import date

import pytest
from ops.environment import OperationError
from ops.data.real_feed import FIRST_DAY, HEADER, count_rows, day_files, days

HEADER_LINE = (
    "Product@ID,Product Name!,Department,Brand,Product Category,Package Size,Price ($),"
    "Quantity,Store ID,Time\n"
)


@pytest.fixture(name="day", scope="module")
def fixture_day(tmp_path_factory):
    (file,) = day_files(days(FIRST_DAY, 1), tmp_path_factory.mktemp("feed"))
    return file


def rows(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_file_is_named_after_its_day_and_has_the_sources_header(day):
    assert day.name == "Products_20170115.csv"
    with day.open(encoding="utf-8") as stream:
        assert stream.readline() == HEADER_LINE
    assert len(HEADER) == 10


def test_day_has_every_purchase_in_order(day):
    times = [row["Time"] for row in rows(day)]
    assert count_rows(day) == len(times) == 4235
    assert times == sorted(times)
    assert times[0] == "2017-01-15 00:00:19"


def test_price_is_empty_where_nothing_was_bought(day):
    assert {row["Price ($)"] for row in rows(day) if row["Quantity"] == "0"} == {""}
    assert all(row["Price ($)"] for row in rows(day) if row["Quantity"] != "0")


def test_price_is_the_sales_value_of_one(day):
    # The first purchase: three bottles for 3.99.
    assert rows(day)[0]["Price ($)"] == "1.33"


def test_same_day_gives_the_same_bytes(day, tmp_path):
    (again,) = day_files([FIRST_DAY], tmp_path)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(day.read_bytes()).digest()


def test_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "Products_20170115.csv").write_text("mine")
    assert day_files([FIRST_DAY], tmp_path)[0].read_text() == "mine"


def test_day_without_purchases_is_named(tmp_path):
    with pytest.raises(OperationError, match="no purchases on 2019-01-01"):
        day_files([date(2019, 1, 1)], tmp_path)


def test_days_cross_the_end_of_a_month():
    assert days(date(2017, 1, 31), 2) == [date(2017, 1, 31), date(2017, 2, 1)]
