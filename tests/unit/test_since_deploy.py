"""A deploy has nothing to do only where the very same deploy was the last thing done."""

import pytest
from ops.drift.since_deploy import was_last

DEPLOYED = {"action": "deploy", "result": "succeeded", "to": "v2", "manifest_sha256": "aa"}


def test_the_same_deploy_was_last():
    assert was_last([DEPLOYED, DEPLOYED | {"to": "v1"}], "v2", "aa")


def test_deploys_that_found_nothing_to_do_are_passed_over():
    assert was_last([DEPLOYED | {"result": "unchanged"}, DEPLOYED], "v2", "aa")


@pytest.mark.parametrize(
    "last",
    [
        {"to": "v1"},
        {"manifest_sha256": "bb"},
        {"action": "rollback"},
        {"action": "restore"},
        {"result": "interrupted"},
        {"result": "prepared"},
        {"result": "failed in smoke_test"},
    ],
)
def test_anything_else_was_last(last):
    assert not was_last([DEPLOYED | last, DEPLOYED], "v2", "aa")


def test_nothing_was_ever_deployed():
    assert not was_last([], "v2", "aa")
