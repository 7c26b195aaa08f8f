"""With TARGET=aws, who may not deploy or go back is told so, and what to do; nothing is touched.

The caller's own settings decide where it goes: here to local accounts that do not match.
"""

import time
from contextlib import ExitStack

import boto3
import pytest
from botocore.config import Config

from tests.callers import asked_for, make_as, profile_settings, settings_of, user_with
from tests.conftest import ACCOUNTS

# The first phase after the target was checked refuses it, and touches nothing either.
DEPLOY = ("deploy", "VERSION=no-such-version")
ROLLBACK = ("rollback", "TO=no-such-version")
RESTORE = ("rollback", "BACKUP=20260101T000000000Z-none")


def everything(aws) -> dict[str, list]:
    """Return what there is in all accounts that a deploy could make or change."""
    found: dict[str, list] = {}
    for profile in ACCOUNTS:
        session = aws.session(profile)
        s3, states, functions = (session.client(name) for name in ("s3", "stepfunctions", "lambda"))
        stacks = session.client("cloudformation").describe_stacks()["Stacks"]
        found[f"{profile} stacks"] = sorted(
            (stack["StackName"], stack["StackStatus"], str(stack.get("LastUpdatedTime")))
            for stack in stacks
        )
        found[f"{profile} objects"] = sorted(
            (bucket["Name"], item["Key"], item["VersionId"])
            for bucket in s3.list_buckets()["Buckets"]
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket["Name"])
            for item in page.get("Versions", []) + page.get("DeleteMarkers", [])
        )
        found[f"{profile} functions"] = sorted(
            (version["FunctionArn"], version["CodeSha256"])
            for page in functions.get_paginator("list_functions").paginate(FunctionVersion="ALL")
            for version in page["Functions"]
        )
        found[f"{profile} machines"] = sorted(
            version["stateMachineVersionArn"]
            for machine in states.list_state_machines()["stateMachines"]
            for version in states.list_state_machine_versions(
                stateMachineArn=machine["stateMachineArn"]
            )["stateMachineVersions"]
        )
        roles = session.client("iam").list_roles()["Roles"]
        found[f"{profile} roles"] = sorted(role["Arn"] for role in roles)
    return found


@pytest.fixture(name="refused")
def fixture_refused(local_aws):
    """A function that deploys, or does what else it is told, and returns what it says: it must be
    refused at once, and all of the accounts must be as before."""

    def refused(settings, *command) -> str:
        before = everything(local_aws)
        done = make_as(settings, local_aws, *(command or DEPLOY))
        assert done.returncode != 0 and done.stdout == ""
        assert "FAILED in phase check_target" in done.stderr, done.stderr
        assert done.stderr.count("==> ") == 1
        assert ": remedy: choose credentials of the right account" in done.stderr
        assert everything(local_aws) == before
        return done.stderr

    return refused


@pytest.fixture(name="user")
def fixture_user(local_aws):
    """A function that makes a user of account dev with these statements; returns its settings."""
    with ExitStack() as stack:
        iam = local_aws.session("dev").client("iam")
        yield lambda *statements: stack.enter_context(user_with(iam, list(statements)))


def deny(action) -> dict:
    return {"Effect": "Deny", "Action": action, "Resource": "*"}


@pytest.mark.parametrize("command", [DEPLOY, ROLLBACK, RESTORE], ids=" ".join)
def test_another_account_is_refused(local_aws, refused, command):
    said = refused(profile_settings(local_aws, "qa"), *command)
    assert "account 222222222222; dev is configured for account 111111111111" in said


def test_another_region_is_refused(local_aws, refused):
    said = refused(profile_settings(local_aws, "dev", region="eu-west-1"))
    assert "the region is eu-west-1; dev is configured for us-east-1" in said


def test_expired_credentials_are_refused(local_aws, refused):
    # A session of one second: botocore refuses to ask for less than AWS gives, so it is not asked.
    lenient = Config(parameter_validation=False)
    sts = local_aws.session("dev").client("sts", config=lenient)
    credentials = sts.get_session_token(DurationSeconds=1)["Credentials"]
    mine = boto3.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=local_aws.url,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            mine.get_caller_identity()
        except mine.exceptions.ClientError as error:
            assert "Expired" in error.response["Error"]["Code"]
            break
        assert time.monotonic() < deadline, "the session does not expire"
        time.sleep(0.2)

    said = refused(settings_of(credentials))
    assert "the credentials have expired" in said
    assert "get new ones where yours come from" in said


def test_credentials_that_nobody_has_issued_are_refused(refused):
    unknown = {"AccessKeyId": "AKIAAAAAAAAAAAAAAAAA", "SecretAccessKey": "x" * 40}
    assert "the credentials are unknown to AWS" in refused(settings_of(unknown))


@pytest.mark.parametrize(
    "action",
    [
        "cloudformation:ExecuteChangeSet",
        "iam:PassRole",
        "lambda:PublishVersion",
        "s3:PutObject",
        "states:UpdateStateMachineAlias",
    ],
)
def test_a_missing_permission_is_named(user, refused, action):
    said = refused(user(*asked_for(), deny(action)))
    assert f"is not allowed {action} on arn:aws:" in said and "explicitDeny" in said


def test_all_that_is_missing_is_named_at_once(user, refused):
    policy = [one for one in asked_for() if "lambda:CreateAlias" not in one["Action"]]
    said = refused(user(*policy))
    for function in ("trigger-etl", "validate-input", "check-quality", "load-warehouse"):
        for action in ("lambda:PublishVersion", "lambda:UpdateAlias"):
            function_arn = f"function:retail-pipeline-dev-{function} (implicitDeny)"
            assert any(
                f"is not allowed {action} on " in line and line.endswith(function_arn)
                for line in said.splitlines()
            ), said


def test_who_may_not_ask_is_told_what_it_needs(user, refused):
    policy = [one for one in asked_for() if one["Action"] != "iam:SimulatePrincipalPolicy"]
    assert "allow it iam:SimulatePrincipalPolicy" in refused(user(*policy))


@pytest.mark.parametrize(
    ("command", "action", "denied"),
    [
        (ROLLBACK, "rollback", "lambda:UpdateAlias"),
        (ROLLBACK, "rollback", "states:StartExecution"),
        (RESTORE, "restore", "lambda:CreateFunction"),
    ],
)
def test_going_back_names_a_missing_permission(user, refused, command, action, denied):
    said = refused(user(*asked_for(action), deny(denied)), *command)
    assert f"is not allowed {denied} on arn:aws:" in said and "explicitDeny" in said


@pytest.mark.parametrize(
    ("command", "action", "phase"),
    [
        (DEPLOY, "deploy", "verify_release"),
        (ROLLBACK, "rollback", "choose_release"),
        (RESTORE, "restore", "choose_backup"),
    ],
)
def test_who_may_do_it_gets_past_the_target(local_aws, user, command, action, phase):
    """What is refused above is refused for its own reason: with the right settings it goes on."""
    for settings in (profile_settings(local_aws, "dev"), user(*asked_for(action))):
        done = make_as(settings, local_aws, *command)
        assert f"FAILED in phase {phase}" in done.stderr, done.stderr
