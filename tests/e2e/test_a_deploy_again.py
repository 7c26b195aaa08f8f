"""Deploying what is live changes nothing; each deploy leaves a record."""

import json

STATE_MACHINE = "arn:aws:states:us-east-1:111111111111:stateMachine:retail-pipeline-dev-etl"
ARTIFACTS = "retail-pipeline-dev-artifacts-111111111111"


def versions(project) -> dict[str, int]:
    """Return how many versions the state machine, the trigger and the release's objects have."""
    machine = project.client("stepfunctions").list_state_machine_versions(
        stateMachineArn=STATE_MACHINE
    )
    trigger = project.client("lambda").list_versions_by_function(
        FunctionName="retail-pipeline-dev-trigger-etl"
    )
    objects = project.client("s3").list_object_versions(Bucket=ARTIFACTS, Prefix="releases/")
    return {
        "state machine": len(machine["stateMachineVersions"]),
        "trigger": len(trigger["Versions"]),
        "objects": len(objects["Versions"]),
    }


def deploys(project) -> list[dict]:
    """Return the records of all deploys, the oldest first."""
    s3 = project.client("s3")
    listed = s3.list_objects_v2(Bucket=ARTIFACTS, Prefix="deploys/")["Contents"]
    return [json.load(s3.get_object(Bucket=ARTIFACTS, Key=item["Key"])["Body"]) for item in listed]


def test_deploying_what_is_live_changes_nothing_and_is_recorded(project):
    live, before, recorded = project.live_version(), versions(project), len(deploys(project))

    done = project.make("deploy", "ENV=dev")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == live == project.live_version()
    assert versions(project) == before
    assert "deploy: nothing to do" in done.stderr
    record = deploys(project)[-1]
    assert len(deploys(project)) == recorded + 1
    assert record["result"] == "unchanged"
    assert record["from"] == record["to"]
    assert record["who"] == "arn:aws:iam::111111111111:user/admin"
    assert [phase["phase"] for phase in record["phases"]][0] == "check_target"
    assert "switch_live" not in [phase["phase"] for phase in record["phases"]]


def test_status_shows_the_live_release_and_its_deploy(project):
    shown = project.make("status", "ENV=dev")
    assert shown.returncode == 0, shown.stderr
    assert f"live       {deploys(project)[-1]['to']}, version" in shown.stdout
