"""Files keep coming while what is live is switched three times: none is lost, doubled or failed.

`make drill` does the same at length: ten switches, 200 files.
"""

from datetime import date

from tests.drills.releases import build_releases, must
from tests.drills.zero_downtime import ZeroDowntime, blue_green, canary, rollback

FILES = 12


def test_no_file_is_lost_doubled_or_failed_while_releases_are_switched(
    project, broken_copy, tmp_path
):
    # GIVEN three releases, one of which is live, and files that keep coming
    names = ["feed-1", "feed-2", "feed-3"]
    build_releases(broken_copy, names)
    must(broken_copy.make("deploy", "ENV=dev", f"VERSION={names[0]}"))

    # WHEN there is a deploy, a canary and a rollback
    drill = ZeroDowntime(broken_copy, tmp_path, date(2022, 1, 1))
    switches = [blue_green(names[1]), canary(names[2]), rollback(names[0])]
    result = drill.run(names[0], switches, FILES)

    # THEN each file is loaded once, by the release that it started on
    assert not result.faults, "\n".join(result.faults)
    assert result.files >= FILES and result.rows == 3 * result.files
    assert set(result.by_release) == set(names)
    must(project.make("deploy", "ENV=dev"))  # what the other tests work with
