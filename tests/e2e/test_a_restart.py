"""What is deployed survives `make down`: the next file goes through as if nothing had been."""

from datetime import date

from ops.data import real_feed

from tests.e2e.reference import expect
from tests.e2e.warehouse import table


def test_after_down_and_up_a_file_becomes_rows(project):
    # GIVEN a deployed environment with rows, stopped
    before = project.query("select count(*) from products")
    live = project.live_version()
    stopped = project.make("down")
    assert stopped.returncode == 0, stopped.stderr

    # WHEN a file is fed, which starts local AWS
    (day,) = real_feed.PRODUCTS.files([date(2017, 3, 15)])
    done = project.feed(day)

    # THEN it is loaded whole by the release that was live, beside the rows that were there
    assert done.returncode == 0, done.stderr
    assert project.live_version() == live
    assert table(project, day) == expect(day).fingerprint()
    loaded = expect(day).loaded
    assert project.query("select count(*) from products") == [str(int(before[0]) + loaded)]
