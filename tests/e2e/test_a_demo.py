"""`make demo`: seven days in, each whole in the warehouse; the second time nothing is new."""

import re

from ops.data import real_feed

from tests.e2e.reference import expect
from tests.e2e.warehouse import table


def line(shown: str, words: str) -> str:
    """Return the first line of an output that starts with these words."""
    return next(line for line in shown.splitlines() if line.startswith(words))


def test_the_demo_loads_seven_days_and_the_second_one_nothing_new(project):
    # WHEN it runs
    first = project.make("demo")

    # THEN its table has a line a file with what plain Python says of that file
    assert first.returncode == 0, first.stderr
    files = real_feed.PRODUCTS.files(real_feed.PRODUCTS.dates(real_feed.FIRST_DAY, 7))
    for file in files:
        expected = expect(file)
        counts = [expected.rows_in, expected.loaded, expected.rejected]
        assert line(first.stdout, file.name).split()[1:4] == [str(count) for count in counts]
        # AND the warehouse holds exactly its good rows
        assert table(project, file) == expected.fingerprint()

    # AND the files that it names next are there
    (offered,) = re.findall(r"FILE=(\S+)", first.stdout)
    assert (project.folder / offered).is_file()

    # AND WHEN it runs again, THEN nothing is new and the table is the same
    runs = len(project.executions())
    second = project.make("demo")
    assert second.returncode == 0, second.stderr
    assert "nothing new" in second.stdout
    assert line(second.stdout, "warehouse") == line(first.stdout, "warehouse")
    assert len(project.executions()) == runs
