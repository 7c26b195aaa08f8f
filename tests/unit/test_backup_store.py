"""A backup is read whole or refused by the names of what is wrong with it."""

import pytest
from ops.backup import store
from ops.backup.store import Backup, Index, digest
from ops.environment import OperationError

PARTS = {
    "job.json": b"{}",
    "functions/b.json": b'{"name": "b"}',
    "functions/a.json": b'{"name": "a"}',
}


def backup(parts=None):
    """Return a backup of these parts."""
    parts = PARTS if parts is None else parts
    index = Index(
        id="20260101T000000000Z-v1",
        environment="dev",
        account_id="111111111111",
        made="2026-01-01T00:00:00Z",
        who="arn:ann",
        command="backup",
        release="v1",
        state_machine_version_arn="arn:machine:1",
        trigger_version_arn="arn:trigger:1",
        manifest_sha256="",
        parts={path: digest(content) for path, content in parts.items()},
        size=sum(map(len, parts.values())),
    )
    return Backup(index, parts)


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        (PARTS, []),
        (PARTS | {"job.json": None}, ["job.json: missing"]),
        (
            PARTS | {"job.json": b"{ }"},
            [f"job.json: SHA-256 is {digest(b'{ }')}, the index says {digest(b'{}')}"],
        ),
        ({}, [f"{path}: missing" for path in sorted(PARTS)]),
    ],
)
def test_every_part_at_fault_is_named(found, faults):
    assert store.faults(backup().index, found) == faults


def test_a_part_is_found_by_its_bytes():
    made = backup()
    assert made.key_of(digest(b"{}")) == "backups/20260101T000000000Z-v1/job.json"
    with pytest.raises(OperationError, match="no part with the SHA-256 abc"):
        made.key_of("abc")


def test_the_steps_of_a_restore_read_what_was_chosen(tmp_path):
    made = backup()
    store.save(made, tmp_path)
    assert store.load(tmp_path) == made
    assert [function["name"] for function in store.load(tmp_path).functions()] == ["a", "b"]
