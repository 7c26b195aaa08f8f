"""The release scripts against local AWS: what they refuse, leave alone and mend."""

import json
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STACK = "release-scripts-test"
BUCKET = "release-scripts-test-111111111111"


def bucket(name=BUCKET, **properties):
    properties |= {"BucketName": name}
    return {"Type": "AWS::S3::Bucket", "Properties": properties}


def function_without_code():
    """A resource whose creation fails: its code lies nowhere."""
    code = {"S3Bucket": "no-such-bucket-111111111111", "S3Key": "code.zip"}
    properties = {"Code": code, "Runtime": "python3.11", "Handler": "a.b"}
    role = "arn:aws:iam::111111111111:role/no-such-role"
    return {"Type": "AWS::Lambda::Function", "Properties": properties | {"Role": role}}


def run(aws, *command, profile="dev", **env):
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=aws.env | {"AWS_PROFILE": profile, "STACK_POLL_SECONDS": "0.2"} | env,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(name="deploy_stack")
def fixture_deploy_stack(local_aws, tmp_path):
    """A function that brings the test's stack to a template of the given resources."""

    def deploy(resources, **parameters):
        declared = {name: {"Type": "String"} for name in parameters} or {
            "Unused": {"Type": "String", "Default": ""}
        }
        template, request = tmp_path / "template.json", tmp_path / "request.json"
        template.write_text(json.dumps({"Parameters": declared, "Resources": resources}))
        values = [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()]
        request.write_text(json.dumps({"Parameters": values, "Tags": []}))
        script = (
            "set -euo pipefail; source scripts/lib/common.sh; source scripts/lib/stacks.sh; "
            f"deploy_stack {STACK} {template} {request}"
        )
        return run(local_aws, "bash", "-c", script)

    yield deploy
    client = local_aws.session().client("cloudformation")
    client.delete_stack(StackName=STACK)
    client.get_waiter("stack_delete_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})


def stack_status(aws):
    (stack,) = aws.session().client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return stack["StackStatus"]


def test_stack_is_created_updated_and_left_alone_with_its_changes_shown(local_aws, deploy_stack):
    created = deploy_stack({"Data": bucket()})
    assert created.returncode == 0, created.stderr
    assert "CREATE" in created.stderr and "Add     Data" in created.stderr
    assert stack_status(local_aws) == "CREATE_COMPLETE"

    updated = deploy_stack({"Data": bucket(VersioningConfiguration={"Status": "Enabled"})})
    assert updated.returncode == 0, updated.stderr
    assert "Modify  Data" in updated.stderr
    versioning = local_aws.session().client("s3").get_bucket_versioning(Bucket=BUCKET)
    assert versioning["Status"] == "Enabled"

    again = deploy_stack({"Data": bucket(VersioningConfiguration={"Status": "Enabled"})})
    assert again.returncode == 0, again.stderr
    assert f"{STACK}: no changes" in again.stderr
    changes = local_aws.session().client("cloudformation").list_change_sets(StackName=STACK)
    statuses = {change_set["Status"] for change_set in changes["Summaries"]}
    assert "FAILED" not in statuses, "a change set without changes was left behind"


def test_failed_creation_names_the_resource_and_the_next_deploy_mends_it(local_aws, deploy_stack):
    failed = deploy_stack({"Data": bucket(), "Bad": function_without_code()})
    assert failed.returncode == 1
    assert "Bad (AWS::Lambda::Function)" in failed.stderr
    assert stack_status(local_aws) == "ROLLBACK_COMPLETE"

    mended = deploy_stack({"Data": bucket()})
    assert mended.returncode == 0, mended.stderr
    assert stack_status(local_aws) == "CREATE_COMPLETE"


def test_name_that_is_taken_is_named(local_aws, deploy_stack):
    local_aws.session().client("s3").create_bucket(Bucket=BUCKET)
    failed = deploy_stack({"Data": bucket()})
    assert failed.returncode == 1
    assert "Data (AWS::S3::Bucket)" in failed.stderr and "already exists" in failed.stderr
    local_aws.session().client("s3").delete_bucket(Bucket=BUCKET)


def test_failed_update_is_rolled_back_and_named(deploy_stack):
    deploy_stack({"Data": bucket()})
    failed = deploy_stack({"Data": bucket(), "Bad": function_without_code()})
    assert failed.returncode == 1
    assert f"{STACK} is UPDATE_ROLLBACK_COMPLETE:\n    Bad (AWS::Lambda::Function)" in failed.stderr
    assert deploy_stack({"Data": bucket()}).returncode == 0


def test_unreachable_aws_is_said_so(local_aws, tmp_path):
    config = tmp_path / "config"
    config.write_text("[profile dev]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:9\n")
    done = run(local_aws, "scripts/deploy.sh", "--env", "dev", AWS_CONFIG_FILE=str(config))
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr and "make up" in done.stderr


def test_version_that_was_never_built_is_refused(local_aws):
    done = run(
        local_aws,
        "scripts/deploy.sh",
        "--env",
        "staging",
        "--version",
        "no-such",
        profile="staging",
    )
    assert done.returncode == 1
    assert "FAILED in phase verify_release" in done.stderr
