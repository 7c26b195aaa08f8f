"""A file is overdue once the last day that it may come on is over, and not before."""

from datetime import date

import pytest
from ops.data.freshness import freshness

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
