"""Which backups go."""

from dataclasses import replace

import pytest
from ops.backup.listing import doomed
from tests.unit.test_backup_store import backup

DEPLOYED_1 = [{"action": "deploy", "backup": "1"}]


def indexes(*names):
    """Return indexes, the newest first; a name with a ! lacks something."""
    return [
        replace(backup().index, id=name.strip("!"), lacks=["a job"] if "!" in name else [])
        for name in names
    ]


@pytest.mark.parametrize(
    ("names", "records", "gone"),
    [
        ("321", [], []),
        ("54321", [], ["2", "1"]),
        ("54321", DEPLOYED_1, ["2"]),
        # A restore names the backup that it restored, a deploy the one that it made.
        ("54321", [{"action": "restore", "backup": "2"}, *DEPLOYED_1], ["2"]),
        # A deploy that was interrupted before it made one, or of which nothing was live.
        ("54321", [{"action": "deploy", "backup": ""}, *DEPLOYED_1], ["2"]),
        # Records of before there were backups.
        ("54321", [{"action": "deploy"}], ["2", "1"]),
        # What lacks something keeps no whole one from being kept.
        (["5!", "4", "3!", "2", "1", "0"], [], ["0"]),
        (["5", "4", "3", "2!", "1!"], [], ["2", "1"]),
    ],
)
def test_the_last_ones_stay_and_the_last_deploys(names, records, gone):
    assert doomed(indexes(*names), records, keep=3) == gone


def test_nothing_goes_where_no_backup_is_whole():
    assert not doomed(indexes("3!", "2!", "1!"), [], keep=1)
