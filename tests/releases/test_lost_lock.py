"""Whoever has lost the lock no longer changes what is live, however short a time ago that was."""

import os

import pytest

from tests.releases.release_history import MACHINE, PREFIX, Releases


@pytest.fixture(name="releases", scope="module")
def fixture_releases(local_aws):
    releases = Releases(local_aws.session("qa"))
    releases.blue = releases.deploy("blue")
    releases.green = releases.publish("green", {"Type": "Succeed"})
    yield releases
    releases.remove()


@pytest.fixture(name="take")
def fixture_take(in_qa):
    """A function that takes the lock, whoever holds it."""

    def take(token) -> None:
        mine = ("--who", "arn:ann", "--command", f"deploy {token}", "--pid", str(os.getpid()))
        done = in_qa("ops.release.lock", "take", "--token", token, *mine, "--break-lock")
        assert done.returncode == 0, done.stderr

    return take


def live(releases):
    """Return the versions that both aliases point at, and the trigger's number."""
    states = releases.states.describe_state_machine_alias(stateMachineAliasArn=f"{MACHINE}:live")
    trigger = releases.functions.get_alias(FunctionName=f"{PREFIX}-trigger-etl", Name="live")
    ((version, weight),) = (
        (route["stateMachineVersionArn"], route["weight"])
        for route in states["routingConfiguration"]
    )
    assert weight == 100
    return version, trigger["FunctionVersion"]


def versions(release):
    return release.version_arn, release.functions["trigger-etl"].rpartition(":")[2]


def test_a_switch_is_refused_by_the_name_of_who_holds_the_lock_now(releases, take, in_qa):
    # GIVEN a deploy that is about to switch, and whose lock somebody has just broken
    take("mine")
    take("theirs")
    switch = (
        *("ops.release.switch", "--token", "mine", "--expected", releases.blue.version_arn),
        *("--state-machine-version-arn", releases.green.version_arn),
        *("--trigger-version-arn", releases.green.functions["trigger-etl"]),
    )

    # WHEN it switches
    refused = in_qa(*switch)

    # THEN it is told who has the environment, and live is as before
    assert refused.returncode == 1
    holder = f"it is locked by deploy theirs by arn:ann (pid {os.getpid()} on "
    assert f"this command no longer holds qa: {holder}" in refused.stderr
    assert live(releases) == versions(releases.blue)

    # AND with the lock it does what it was to do
    take("mine")
    done = in_qa(*switch)
    assert done.returncode == 0, done.stderr
    assert live(releases) == versions(releases.green) != versions(releases.blue)
