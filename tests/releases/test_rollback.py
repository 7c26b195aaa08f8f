"""What a rollback points live at, and what it refuses before it touches anything."""

import pytest

from tests.releases.release_history import BUCKET, MACHINE, PREFIX, Releases


@pytest.fixture(name="releases", scope="module")
def fixture_releases(local_aws):
    releases = Releases(local_aws.session("qa"))
    releases.deployed = {name: releases.deploy(name) for name in ("first", "second", "third")}
    yield releases
    releases.remove()


@pytest.fixture(name="choose")
def fixture_choose(in_qa, releases):  # pylint: disable=unused-argument  # there is a history
    """A function that runs the choice and returns its exit code, its lines and its complaint."""

    def choose(*options):
        done = in_qa("ops.release.rollback", *options)
        return done.returncode, done.stdout.splitlines(), done.stderr

    return choose


def lines(release):
    trigger = release.functions["trigger-etl"]
    return [release.name, release.version_arn, trigger, f"sha256 of {release.name}"]


def test_the_release_that_was_live_before_is_the_default(releases, choose):
    assert choose()[:2] == (0, lines(releases.deployed["second"]))


def test_any_kept_release_can_be_named(releases, choose):
    assert choose("--to", "first")[:2] == (0, lines(releases.deployed["first"]))


def test_a_release_that_is_not_kept_is_answered_with_those_that_are(choose):
    code, out, complaint = choose("--to", "zeroth")
    assert (code, out) == (1, [])
    assert "zeroth is not kept in qa; kept are: third, second, first" in complaint


def test_a_failed_deploy_is_nothing_to_go_back_to(releases, choose):
    third = releases.deployed["third"]
    releases.record(
        "broken", third.version_arn, third.functions["trigger-etl"], result="failed in smoke_test"
    )
    code, _, complaint = choose("--to", "broken")
    assert code == 1 and "broken is not kept" in complaint
    assert choose()[:2] == (0, lines(releases.deployed["second"]))


def test_a_release_with_a_part_missing_is_refused_by_the_parts_name(releases, choose):
    first = releases.deployed["first"]
    number = first.functions["validate-input"].rpartition(":")[2]
    releases.functions.delete_function(FunctionName=f"{PREFIX}-validate-input", Qualifier=number)
    releases.s3.delete_object(Bucket=BUCKET, Key="releases/first/config/first.json")

    code, out, complaint = choose("--to", "first")

    assert (code, out) == (1, [])
    assert f"function version {PREFIX}-validate-input:{number}" in complaint
    assert f"s3://{BUCKET}/releases/first/config/first.json" in complaint
    assert "make deploy ENV=qa VERSION=first" in complaint


def test_a_version_that_has_another_releases_number_is_not_taken_for_it(releases, choose):
    # GIVEN a state machine that was deleted and made again: its versions count anew
    third = releases.deployed["third"]
    releases.states.delete_state_machine(stateMachineArn=MACHINE)
    releases.create_machine_again("third", third.functions["validate-input"])
    first = releases.deployed["first"].version_arn
    assert releases.versions() == {first}

    # WHEN somebody wants to go to the release that had the number
    code, out, complaint = choose("--to", "first")

    # THEN that is refused, and what the version really is can be gone to
    assert (code, out) == (1, [])
    assert "first is not kept in qa; kept are: none" in complaint
    releases.record("third", first, third.functions["trigger-etl"], action="restore")
    assert choose("--to", "third")[1][1] == first
