"""Archived files become job runs of a month at most, each with a name of its own."""

from datetime import date

import pytest
from ops.data.archive import ArchivedFile
from ops.data.backfill import groups, month_files
from ops.data.chunks import (
    MAX_BYTES,
    MAX_FILES,
    RUNNING,
    SUCCEEDED,
    Chunk,
    failures,
    new_job,
    split,
)
from ops.data.replay import month_days, parse_at_once, parse_day, select
from ops.environment import OperationError

PATTERN = r"^Products_(?P<run_date>\d{8})\.csv$"


def file(day, version="v1", arrived="2017-02-01T00:00:00Z", size=1):
    name = f"Products_{day:%Y%m%d}.csv"
    key = f"data/archive/products/{day}/{name}"
    return ArchivedFile(day, arrived, name, key, version, size, "content")


JANUARY = [file(date(2017, 1, day)) for day in range(1, 32)]
FEBRUARY = [file(date(2017, 2, 1))]


def test_a_month_is_one_run():
    assert [chunk.files for chunk in split([*JANUARY, *FEBRUARY])] == [JANUARY, FEBRUARY]


def test_a_month_of_many_or_large_files_is_several_runs():
    many = [file(date(2017, 1, 1), f"v{number}") for number in range(MAX_FILES + 1)]
    assert [len(chunk.files) for chunk in split(many)] == [MAX_FILES, 1]
    large = [file(date(2017, 1, 1), f"v{number}", size=MAX_BYTES // 2) for number in range(3)]
    assert [len(chunk.files) for chunk in split(large)] == [2, 1]


def test_files_are_ordered_by_day_then_arrival():
    late = file(date(2017, 1, 1), arrived="2017-03-01T00:00:00Z")
    assert sorted([*FEBRUARY, late, JANUARY[0]]) == [JANUARY[0], late, *FEBRUARY]


def test_each_run_of_a_chunk_has_a_name_of_its_own_which_a_stop_does_not_change():
    target = {"schema": "public"}
    job = new_job("replay", "products", "all", target, [*JANUARY, *FEBRUARY])
    names = [job.run_id(0), job.run_id(1), job.run_id(0)]
    assert names[0] == names[2] != names[1]
    job.chunks[0].attempt = 2
    assert job.run_id(0) != names[0]
    other = new_job("replay", "products", "all", target, JANUARY)
    assert other.run_id(0) != names[0]
    assert all(len(name) <= 64 for name in names) and names[0].startswith("replay-products-201701")


def test_there_is_no_replay_of_nothing():
    with pytest.raises(OperationError, match="no files of products for 2017-03"):
        new_job("replay", "products", "2017-03", {}, [])


def test_days_are_chosen_with_both_ends():
    days = [JANUARY[1], JANUARY[2]]
    assert select(JANUARY, date(2017, 1, 2), date(2017, 1, 3)) == days
    assert select(JANUARY, None, None) == JANUARY


def test_what_is_not_loaded_is_told_with_its_days_and_its_cause():
    chunks = [
        Chunk(JANUARY, state=SUCCEEDED),
        Chunk(FEBRUARY, state="FAILED", cause="QualityBreach"),
    ]
    assert failures(chunks) == ["2017-02-01: QualityBreach"]
    assert failures([Chunk(JANUARY, state=RUNNING)]) == ["2017-01-01 to 2017-01-31: "]


@pytest.mark.parametrize("month", ["", "2017", "2017-13", "01-2017", "2017-01-01"])
def test_a_month_is_written_as_one(month):
    with pytest.raises(OperationError, match="expected YYYY-MM"):
        month_days(month)


def test_words_that_mean_nothing_are_refused_by_name():
    assert month_days("2016-02") == (date(2016, 2, 1), date(2016, 2, 29))
    with pytest.raises(OperationError, match="^FROM=yesterday: expected a day"):
        parse_day("FROM", "yesterday")
    for text in ("0", "two", "17", ""):
        with pytest.raises(OperationError, match="^PARALLEL="):
            parse_at_once(text)


def test_a_folders_files_of_the_month_are_taken_in_order(tmp_path):
    for name in (
        "Products_20170131.csv",
        "Products_20170102.csv",
        "Products_20170201.csv",
        "x.txt",
    ):
        (tmp_path / name).write_text("rows")
    days = month_days("2017-01")
    files = month_files(tmp_path, PATTERN, *days)
    assert [one.name for one in files] == ["Products_20170102.csv", "Products_20170131.csv"]
    assert list(groups(files)) == [files]
    with pytest.raises(OperationError, match="has no file from 2017-03-01"):
        month_files(tmp_path, PATTERN, *month_days("2017-03"))
    with pytest.raises(OperationError, match="there is no such folder"):
        month_files(tmp_path / "none", PATTERN, *days)
