"""A file is overdue once the last day that it may come on is over, and not before."""

from datetime import date

import pytest
from ops.config import load_config
from ops.data import freshness as module
from ops.data.freshness import freshness
from ops.data.watermark import Watermark

DAILY = {"name": "products", "schedule": {"every": "day", "due_after_days": 1}}
WEEKLY = {"name": "promotions", "schedule": {"every": "week", "due_after_days": 0}}


@pytest.mark.parametrize(
    "dataset, today, next_file, due_by, state",
    [
        (DAILY, date(2017, 1, 17), date(2017, 1, 16), date(2017, 1, 17), "on time"),
        (DAILY, date(2017, 1, 18), date(2017, 1, 16), date(2017, 1, 17), "overdue"),
        (WEEKLY, date(2017, 1, 22), date(2017, 1, 22), date(2017, 1, 22), "on time"),
        (WEEKLY, date(2017, 1, 23), date(2017, 1, 22), date(2017, 1, 22), "overdue"),
    ],
)
def test_a_file_has_until_the_end_of_its_last_day(dataset, today, next_file, due_by, state):
    found = freshness(dataset, date(2017, 1, 15), today)
    assert (found.next_file, found.due_by, found.state) == (next_file, due_by, state)


def test_a_dataset_without_files_or_schedule_is_not_overdue():
    assert freshness(DAILY, None, date(2030, 1, 1)).state == "nothing yet"
    loaded_to = date(2017, 1, 15)
    found = freshness({"name": "products"}, loaded_to, date(2030, 1, 1))
    assert (found.loaded_to, found.state) == (loaded_to, "no schedule")


@pytest.mark.parametrize("day, code", [("2017-01-17", 0), ("2017-01-18", 1)])
def test_the_command_fails_for_a_file_that_is_overdue_and_names_it(monkeypatch, capsys, day, code):
    # GIVEN products that are loaded up to a day, and nothing of the other datasets
    mark = Watermark(date(2017, 1, 15), None)
    marks = {"products": mark}
    monkeypatch.setattr(module, "read_watermark", lambda warehouse, name: marks.get(name))
    monkeypatch.setattr(module, "Warehouse", lambda environment: None)
    monkeypatch.setattr("sys.argv", ["freshness", "--env", "dev", "--on", day])
    # WHEN it is asked, THEN all are shown, and what is overdue is named and fails
    assert module.main() == code
    out, complaint = capsys.readouterr()
    shown = [line.split(",")[0] for line in out.splitlines()[1:]]
    assert shown == list(load_config("dev", []).values["datasets"]) and "products" in shown
    assert ("freshness: products: the file of 2017-01-16" in complaint) is bool(code)
