"""What a deploy removes at its end, and what must stay however old it is."""

import pytest

from tests.releases.release_history import Releases

KEPT = 5  # release.keep_releases of config/common/settings.yaml


@pytest.fixture(name="releases")
def fixture_releases(local_aws):
    releases = Releases(local_aws.session("qa"))
    yield releases
    releases.remove()


@pytest.fixture(name="prune")
def fixture_prune(in_qa):
    """A function that prunes qa and returns what it says."""

    def prune():
        done = in_qa("ops.release.prune")
        assert done.returncode == 0, done.stderr
        return done.stderr

    return prune


def stay(releases, expected):
    assert releases.versions() == {release.version_arn for release in expected}
    for function in ("trigger-etl", "validate-input"):
        wanted = {release.functions[function] for release in expected}
        assert releases.function_versions(function) == wanted
    assert releases.uploaded() == {release.name for release in expected}


def test_the_last_releases_stay_and_the_older_ones_go_with_all_that_is_theirs(releases, prune):
    deployed = [releases.deploy(f"v{number}") for number in range(1, KEPT + 3)]

    said = prune()

    stay(releases, deployed[-KEPT:])
    for gone in deployed[:2]:
        assert f"({gone.name})" in said and f"releases/{gone.name}/" in said
    assert "nothing to remove" in prune()


def test_what_a_running_execution_works_with_stays(releases, prune):
    old = releases.deploy("running", wait=True)
    execution = releases.start()
    later = [releases.deploy(f"v{number}") for number in range(1, KEPT + 2)]

    prune()

    # Its own functions and objects too; the trigger has done its part.
    assert old.version_arn in releases.versions()
    assert old.functions["validate-input"] in releases.function_versions("validate-input")
    assert old.name in releases.uploaded()
    assert later[0].version_arn not in releases.versions()

    releases.states.stop_execution(executionArn=execution)
    prune()
    stay(releases, later[-KEPT:])


def test_what_is_live_and_what_was_before_stay_after_rollbacks(releases, prune):
    first, second = releases.deploy("first"), releases.deploy("second")
    later = [releases.deploy(f"v{number}") for number in range(1, KEPT + 2)]
    releases.states.update_state_machine_alias(
        stateMachineAliasArn=f"{second.version_arn.rpartition(':')[0]}:live",
        routingConfiguration=[{"stateMachineVersionArn": second.version_arn, "weight": 100}],
    )
    trigger = second.functions["trigger-etl"]
    releases.functions.update_alias(
        FunctionName=trigger.rpartition(":")[0],
        Name="live",
        FunctionVersion=trigger.rpartition(":")[2],
    )
    releases.record(second.name, second.version_arn, trigger, action="rollback")

    prune()

    there = releases.versions()
    assert {first.version_arn, second.version_arn} < there
    assert {first.name, second.name} < releases.uploaded()
    assert later[0].version_arn not in there
