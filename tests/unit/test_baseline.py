"""ops.drift.baseline: which record says what should be live."""

import pytest
from ops.drift import baseline
from ops.environment import OperationError
from ops.release.live import LiveRelease


def record(release: str, result: str, version: str = "", trigger: str = "") -> dict:
    return {
        "to": release,
        "result": result,
        "live": {"state_machine_version_arn": version, "trigger_version_arn": trigger},
    }


@pytest.fixture(name="switched")
def fixture_switched(monkeypatch):
    """A function that gives the record that counts, where a version of a release is live."""

    class Dev:
        """An environment's name is all that is asked of it."""

        name = "dev"

    def switched(live: str, version: str, *records: dict):
        found = LiveRelease(live, version, []) if live else None
        monkeypatch.setattr(baseline, "live_release", lambda environment: found)
        return baseline.switched(Dev(), list(records))

    return switched


OLD = record("old", "succeeded", "m:1", "t:1")


def test_the_last_success_counts(switched):
    new = record("new", "succeeded", "m:2", "t:2")
    assert switched("new", "m:2", new, OLD) == new


def test_a_deploy_that_failed_before_its_switch_does_not_count(switched):
    assert switched("old", "m:1", record("new", "failed in smoke_test"), OLD) == OLD


def test_a_rollback_that_failed_after_its_switch_counts(switched):
    back = record("old", "failed in smoke_test", "m:1", "t:1")
    assert switched("old", "m:1", back, record("new", "succeeded", "m:2", "t:2")) == back


@pytest.mark.parametrize("result", ["interrupted", "failed in switch_live", "running"])
def test_an_interrupted_switch_counts_where_it_was_made(switched, result):
    found = switched("new", "m:2", record("new", result), OLD)
    assert found["to"] == "new"
    assert found["live"] == {"state_machine_version_arn": "m:2", "trigger_version_arn": ""}


@pytest.mark.parametrize("result", ["failed in smoke_test", "prepared"])
def test_a_release_that_never_came_to_its_switch_is_not_live_by_right(switched, result):
    assert switched("new", "m:2", record("new", result), OLD) == OLD


def test_an_alias_moved_by_hand_does_not_change_what_counts(switched):
    assert switched("", "m:7", OLD) == OLD
    assert switched("another", "m:7", OLD) == OLD


def test_without_any_record_there_is_nothing_to_compare_with(switched):
    with pytest.raises(OperationError, match="make deploy ENV=dev"):
        switched("", "")
