"""What a rollback goes back to, from the records of what was made live."""

import pytest
from ops.release.deploys import before


def records(*lines):
    """Return records as the history does, the newest first; a line is '[action] [result] to'."""
    found = []
    for line in lines:
        *words, to = line.split()
        action = next((word for word in words if word in ("rollback", "restore")), "deploy")
        result = "succeeded" if not set(words) - {"rollback", "restore"} else words[-1]
        found.append({"action": action, "result": result, "to": to})
    return found[::-1]


@pytest.mark.parametrize(
    ("live", "lines", "expected"),
    [
        ("v1", ["v1"], None),
        ("v2", ["v1", "v2"], "v1"),
        ("v2", ["v1", "v2", "v2"], "v1"),
        ("v2", ["v1", "v2", "failed v3"], "v1"),
        ("v2", ["v1", "v2", "returned v3"], "v1"),
        ("v2", ["v1", "v2", "unchanged v2"], "v1"),
        ("v2", ["v1", "v2", "failed v2"], "v1"),
        # Parts of a deploy that do not switch.
        ("v2", ["v1", "v2", "prepared v3", "prepared v3"], "v1"),
        ("v2", ["v1", "prepared v2", "v2", "prepared v2"], "v1"),
        # A rollback goes back along the line, it does not put what it left behind into it.
        ("v2", ["v1", "v2", "v3", "rollback v2"], "v1"),
        ("v1", ["v1", "v2", "v3", "rollback v2", "rollback v1"], None),
        ("v4", ["v1", "v2", "v3", "rollback v2", "v4"], "v2"),
        # So does a restore, or it stays where it is.
        ("v2", ["v1", "v2", "restore v2"], "v1"),
        ("v1", ["v1", "v2", "restore v1"], None),
        # To a release of the past by a deploy: that goes on.
        ("v1", ["v1", "v2", "v1"], "v2"),
        # Killed after the switch, before the record.
        ("v2", ["v1", "interrupted v2"], "v1"),
        ("v1", ["v1", "interrupted v2"], None),
        ("v1", ["v1", "v2", "interrupted rollback v1"], None),
        # Made live by other means.
        ("v9", ["v1", "v2"], "v2"),
        ("v9", [], None),
    ],
)
def test_what_was_live_before(live, lines, expected):
    found = before(live, records(*lines))
    assert (found["to"] if found else None) == expected


def test_of_two_deploys_of_the_same_release_the_later_record_counts():
    again, first = (record | {"seconds": i} for i, record in enumerate(records("v1", "v1")))
    assert before("v2", records("v2") + [again, first]) is again
