"""The real feed: files of a day or a week, the same bytes each time, with their source's faults."""

import csv
import hashlib
import re
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ops.environment import OperationError
from ops.config import load_config
from ops.data import real_feed
from ops.data.real_feed import FEEDS, FIRST_DAY, PRODUCTS, count_rows

HEADER_LINE = (
    "Product@ID,Product Name!,Department,Brand,Product Category,Package Size,Price ($),"
    "Quantity,Store ID,Time\n"
)


@pytest.fixture(name="day", scope="module")
def fixture_day(tmp_path_factory):
    (file,) = PRODUCTS.files([FIRST_DAY], tmp_path_factory.mktemp("feed"))
    return file


def rows(file):
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_file_is_named_after_its_day_and_has_the_sources_header(day):
    assert day.name == "Products_20170115.csv"
    with day.open(encoding="utf-8") as stream:
        assert stream.readline() == HEADER_LINE


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
    (again,) = PRODUCTS.files([FIRST_DAY], tmp_path)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(day.read_bytes()).digest()


def test_file_that_is_there_is_kept(tmp_path):
    (tmp_path / "Products_20170115.csv").write_text("mine")
    assert PRODUCTS.files([FIRST_DAY], tmp_path)[0].read_text() == "mine"


def test_day_without_purchases_is_named(tmp_path):
    with pytest.raises(OperationError, match="no Products file for 2019-01-01"):
        PRODUCTS.files([date(2019, 1, 1)], tmp_path)


def test_days_cross_the_end_of_a_month():
    assert PRODUCTS.dates(date(2017, 1, 31), 2) == [date(2017, 1, 31), date(2017, 2, 1)]


def test_a_day_is_in_the_file_of_the_monday_before():
    weeks = FEEDS["promotions"].dates(date(2017, 1, 15), 2)
    assert weeks == [date(2017, 1, 9), date(2017, 1, 16)]
    assert FEEDS["promotions"].dates(date(2017, 1, 9), 1) == [date(2017, 1, 9)]


@pytest.mark.parametrize("dataset", FEEDS)
def test_files_are_named_and_headed_as_their_dataset_expects(dataset):
    configured, feed = load_config("dev").get(f"datasets.{dataset}"), FEEDS[dataset]
    assert feed.header == tuple(column["source"] for column in configured["columns"])
    first = real_feed.FIRST_WEEK if feed.days == 7 else FIRST_DAY
    assert re.fullmatch(configured["file_pattern"], feed.file_name(first))


def test_a_transaction_is_the_purchase_as_it_is(tmp_path):
    (file,) = FEEDS["transactions"].files([FIRST_DAY], tmp_path)
    assert count_rows(file) == 4235
    first = "2412,292,31390683332,844165,3,4.00,0.77,0.00,0.00,201703,2017-01-15 00:00:19"
    assert list(rows(file)[0].values()) == first.split(",")


@pytest.fixture(name="promotions")
def fixture_promotions(monkeypatch):
    """Six promotions of two weeks, read in parts that end in the middle of a week."""
    weeks = [3, 3, 4, 3, 4, 5]
    table = pa.table(
        {
            "product_id": list(range(6)),
            "store_id": [7] * 6,
            "display_location": ["A"] * 6,
            "mailer_location": ["0"] * 6,
            "week": weeks,
        }
    )
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_: table.to_batches(2))
    return FEEDS["promotions"]


def test_a_weeks_promotions_are_gathered_from_all_parts_under_one_header(promotions, tmp_path):
    third, fourth = promotions.files([date(2017, 1, 9), date(2017, 1, 16)], tmp_path)
    assert third.name == "Promotions_20170109.csv"
    assert third.read_text().splitlines() == [
        "Product,Store,Display,Mailer,Week",
        "0,7,A,0,201703",
        "1,7,A,0,201703",
        "3,7,A,0,201703",
    ]
    assert count_rows(fourth) == 2


def test_a_file_that_cannot_be_made_leaves_nothing_of_the_others(promotions, tmp_path):
    with pytest.raises(OperationError, match="no Promotions file for 2017-02-06"):
        promotions.files([date(2017, 1, 9), date(2017, 2, 6)], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "variables, fault",
    [
        ({}, "DATASET: expected one of products, transactions, promotions; found nothing"),
        ({"DATASET": "products", "FROM": "yesterday"}, "FROM: expected a day as YYYY-MM-DD"),
        ({"DATASET": "products", "COUNT": "0"}, "COUNT=0: expected a number of files"),
    ],
)
def test_a_wrong_variable_is_named(variables, fault, monkeypatch, capsys):
    for name in ("DATASET", "FROM", "COUNT"):
        monkeypatch.setenv(name, variables.get(name, ""))
    monkeypatch.setattr("sys.argv", ["real_feed"])
    assert real_feed.main() == 1
    assert fault in capsys.readouterr().err
