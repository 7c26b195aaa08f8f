"""A day of the real feed goes in; exactly its good rows are in the warehouse, by count and hash."""

import csv
import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from ops.data import real_feed
from ops.environment import FUNCTIONS

from tests.e2e.project import PREFIX
from tests.e2e.reference import expect
from tests.e2e.warehouse import table

DAY = date(2017, 3, 14)  # none of the demo's


@pytest.fixture(scope="module")
def day(tmp_path_factory) -> Path:
    """A day of the real feed, with purchases repeated and some in the wrong."""
    (file,) = real_feed.PRODUCTS.files([DAY])
    return Path(shutil.copy(file, tmp_path_factory.mktemp("feed")))


def test_a_day_of_the_real_feed_is_loaded_whole_and_only_once(project, day):
    # GIVEN what plain Python says of the file
    expected = expect(day)
    assert expected.rejected > 0 and expected.rows_in > 1000, "the day is too clean to prove much"

    # WHEN it is fed
    first = project.feed(day)

    # THEN every row is accounted for, and the table holds exactly those rows
    assert first.returncode == 0, first.stderr
    words = first.stdout.split()
    assert words[words.index("in") + 1] == str(expected.rows_in)
    assert words[words.index("loaded") + 1] == str(expected.loaded)
    assert words[words.index("rejected") + 1] == str(expected.rejected)
    assert words[words.index("superseded") + 1] == str(expected.superseded)
    assert table(project, day) == expected.fingerprint()

    # AND WHEN the same file comes again, THEN nothing runs and nothing changes
    runs = len(project.executions())
    again = project.feed(day)
    assert again.returncode == 0, again.stderr
    assert "was loaded before" in again.stderr
    assert len(project.executions()) == runs
    assert table(project, day) == expected.fingerprint()


def test_one_id_follows_a_run_through_every_log(project, day):
    project.feed(day)
    run_id = project.executions()[0]["name"]
    logs = project.client("logs")
    groups = {f"/aws/lambda/{PREFIX}-{name}": "run_id" for name in FUNCTIONS}
    groups[f"/aws-glue/jobs/{PREFIX}-etl/error"] = "run_id"
    groups[f"/aws/vendedlogs/states/{PREFIX}-etl"] = "execution_arn"
    for group, field in groups.items():
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, filterPattern=f'"{run_id}"'
        )
        lines = [event["message"] for page in pages for event in page["events"]]
        values = [json.loads(line).get(field) or "" for line in lines if line.startswith("{")]
        assert any(value.endswith(run_id) for value in values), f"{group}: {lines[:3]}"


def test_the_same_rows_under_another_name_change_nothing(project, day, tmp_path):
    project.feed(day)
    renamed = Path(shutil.copy(day, tmp_path / "Products_20170228.csv"))
    done = project.feed(renamed)
    assert done.returncode == 0, done.stderr
    assert table(project, day) == expect(day).fingerprint()


def test_a_file_changed_under_its_name_replaces_its_rows(project, day, tmp_path):
    # GIVEN a loaded day, and the same file with one price corrected
    project.feed(day)
    changed = tmp_path / day.name
    header, first, *rest = day.read_text(encoding="utf-8").splitlines(keepends=True)
    fields = next(csv.reader([first]))
    price = f"{float(fields[6]) + 1:.2f}"
    changed.write_text(header + first.replace(f",{fields[6]},", f",{price},", 1) + "".join(rest))
    assert expect(changed).fingerprint() != expect(day).fingerprint()

    # WHEN it is fed, THEN the table holds the correction
    done = project.feed(changed)
    assert done.returncode == 0, done.stderr
    assert table(project, day) == expect(changed).fingerprint()

    # AND WHEN the first bytes are fed again, THEN they are what was said last, and are in the table
    taken_back = project.feed(day)
    assert taken_back.returncode == 0, taken_back.stderr
    assert "was loaded before" not in taken_back.stderr
    assert table(project, day) == expect(day).fingerprint()
