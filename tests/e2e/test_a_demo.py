"""`make demo`: seven days in, each whole in the warehouse; the second time nothing is new."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from ops.data import real_feed

from tests.e2e.project import DATA_BUCKET
from tests.e2e.reference import expect
from tests.e2e.warehouse import table


def line(shown: str, words: str) -> str:
    """Return the first line of an output that starts with these words."""
    return next(line for line in shown.splitlines() if line.startswith(words))


@pytest.fixture(scope="module", name="first")
def fixture_first(project) -> subprocess.CompletedProcess:
    """The demo, run for the first time."""
    done = project.make("demo")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module", name="files")
def fixture_files() -> list[Path]:
    """Its seven days."""
    return real_feed.PRODUCTS.files(real_feed.PRODUCTS.dates(real_feed.FIRST_DAY, 7))


def test_a_line_a_file_says_what_became_of_its_rows(project, first, files):
    for file in files:
        expected = expect(file)
        _, *counts, superseded, seconds = line(first.stdout, file.name).split()
        assert counts == [
            *map(str, (expected.rows_in, expected.loaded, expected.rejected)),
            *(str(expected.rejected), "price_missing"),
        ]
        assert superseded == str(expected.superseded) and float(seconds) > 0
        # AND the warehouse holds exactly its good rows
        assert table(project, file) == expected.fingerprint()


def test_each_files_way_through_the_states_is_shown(first, files):
    for state in ("ValidateInput", "StartGlueJob", "CheckQuality", "LoadWarehouse"):
        assert len(re.findall(rf"{state} +\d+\.\d s", first.stderr)) == len(files)


def test_it_says_where_all_of_it_lies(first):
    assert f"s3://{DATA_BUCKET}/data/runs/" in line(first.stdout, "reports")
    assert f"s3://{DATA_BUCKET}/data/archive/products/" in line(first.stdout, "files")
    for group in ("/aws/vendedlogs/states/", "/aws/lambda/", "/aws-glue/jobs/"):
        assert group in line(first.stdout, "logs")


def test_the_second_time_nothing_is_new_and_the_table_is_the_same(project, first):
    runs = len(project.executions())
    second = project.make("demo")
    assert second.returncode == 0, second.stderr
    assert "nothing new" in second.stdout
    assert line(second.stdout, "warehouse") == line(first.stdout, "warehouse")
    assert len(project.executions()) == runs


def test_the_commands_to_try_next_work_as_they_stand_there(project, first):
    offered = first.stdout.split("Try next:\n")[1].splitlines()
    assert len(offered) == 3
    for command in offered:
        done = project.make(*shlex.split(command)[1:])
        assert done.returncode == 0 and done.stdout, done.stderr
