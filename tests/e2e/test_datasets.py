"""Datasets by configuration alone: a file of transactions and one of promotions go in; their good
rows are in tables of their own, by count and hash."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from ops.data.real_feed import FEEDS

from tests.e2e import catalog
from tests.e2e.reference import PROMOTIONS, TRANSACTIONS, Expected, Kind, expect
from tests.e2e.warehouse import rows_where

SOME_ROWS = 5000  # of a week's 370,000 promotions: enough to be read in a moment


@dataclass(frozen=True)
class Fed:
    """A file that was fed, what must become of it, and what make feed printed."""

    kind: Kind
    day: date
    expected: Expected
    account: list[str]


def feed(project, folder: Path, kind: Kind, day: date, *more: str) -> Fed:
    """Feed the first rows of a day of the real feed, and some more."""
    (whole,) = FEEDS[kind.table].files([day])
    lines = whole.read_text(encoding="utf-8").splitlines()[: SOME_ROWS + 1]
    file = folder / whole.name
    file.write_text("\n".join([*lines, lines[1], *more, ""]), encoding="utf-8")
    done = project.make("feed", "ENV=dev", f"FILE={file}", f"DATASET={kind.table}")
    assert done.returncode == 0, done.stderr
    return Fed(kind, day, expect(file, kind), done.stdout.split())


@pytest.fixture(scope="module", name="transactions")
def fixture_transactions(project, tmp_path_factory) -> Fed:
    """A day of them; the first is there again, then corrected; the last has no basket."""
    again = "2412,292,31390683332,844165,{},0.00,0.00,201703,2017-01-15 00:00:19"
    more = (again.format("3,4.50,0.27"), "1,292,,844165,3,1,0,0,0,201703,2017-01-15 00:00:19")
    folder = tmp_path_factory.mktemp("transactions")
    return feed(project, folder, TRANSACTIONS, date(2017, 1, 15), *more)


@pytest.fixture(scope="module", name="promotions")
def fixture_promotions(project, tmp_path_factory) -> Fed:
    """Some of a week's; the first is there again; the last has a display of two letters."""
    folder = tmp_path_factory.mktemp("promotions")
    return feed(project, folder, PROMOTIONS, date(2017, 1, 16), "1000106,304,AB,0,201704")


@pytest.fixture(params=["transactions", "promotions"])
def fed(request) -> Fed:
    """Each of the two files."""
    return request.getfixturevalue(request.param)


def test_its_rows_are_in_a_table_of_their_own_and_no_others(project, fed):
    assert fed.expected.loaded > 4000
    assert rows_where(project, "true", kind=fed.kind) == fed.expected.fingerprint()


def test_the_data_catalog_shows_them_too(project, fed):
    (partition,) = catalog.partitions(project, fed.kind.table)
    day, run_id = partition["Values"]
    assert day == str(fed.day)
    query = f"select distinct _run_id from {fed.kind.table}"
    assert project.query(query) == [run_id]
    assert catalog.rows_of(project, partition, fed.kind) == fed.expected.fingerprint()


def test_every_row_is_accounted_for(fed):
    expected, account = fed.expected, fed.account
    assert expected.superseded >= 1 and expected.rejected == 1
    for word, rows in {
        "in": expected.rows_in,
        "loaded": expected.loaded,
        "rejected": expected.rejected,
        "superseded": expected.superseded,
    }.items():
        assert account[account.index(word) + 1] == str(rows)


def test_of_a_repeated_key_the_last_row_stays(project, transactions):
    assert transactions.expected.superseded == 2
    assert project.query(
        "select sales_value, retail_discount from transactions "
        "where basket_id = 31390683332 and product_id = 844165"
    ) == ["4.50,0.27"]


def test_each_dataset_has_a_watermark_of_its_own(project, transactions, promotions):
    for fed in (transactions, promotions):
        shown = project.make("watermark", "ENV=dev", f"DATASET={fed.kind.table}")
        (line,) = shown.stdout.splitlines()[1:]
        assert line.startswith(f"{fed.kind.table},{fed.day},")


def test_a_file_that_is_named_as_another_datasets_is_refused(project, tmp_path):
    file = tmp_path / "Transactions_20170115.csv"
    file.touch()
    runs = len(project.executions())
    refused = project.make("feed", "ENV=dev", f"FILE={file}", "DATASET=promotions")
    assert refused.returncode != 0
    assert "Transactions_20170115.csv is not named as promotions expects" in refused.stderr
    assert len(project.executions()) == runs
