"""All checks are made, each is a line, and one that fails comes with its remedy."""

import pytest
from botocore.exceptions import ClientError
from ops.environment import OperationError
from ops.release.checklist import Check, CheckFailed, make_all, require


def raises(error):
    def look():
        raise error

    return look


def test_every_check_is_made_whatever_the_others_say(capsys):
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetRole")
    outcomes = make_all(
        [
            Check("lock", lambda: "free", "wait"),
            Check("roles", raises(refused), "ask for the right"),
            Check("smoke test", raises(OperationError("expected 100\nfound 99")), "go back"),
            Check("alarms", lambda: "5, all quiet", "look"),
        ]
    )
    assert [outcome.passed for outcome in outcomes] == [True, False, False, True]
    assert capsys.readouterr().out.splitlines() == [
        "ok      lock             free",
        "FAILED  roles            AWS refused: An error occurred (AccessDenied) when calling the "
        "GetRole operation: no",
        "                         remedy: ask for the right",
        "FAILED  smoke test       expected 100",
        "                         found 99",
        "                         remedy: go back",
        "ok      alarms           5, all quiet",
    ]


def test_a_mistake_in_a_check_is_not_passed_over():
    with pytest.raises(KeyError):
        make_all([Check("lock", raises(KeyError("typo")), "")])


def test_faults_are_told_all_together():
    assert require([], "all there") == "all there"
    with pytest.raises(CheckFailed, match="one\ntwo"):
        require(iter(["one", "two"]), "all there")
