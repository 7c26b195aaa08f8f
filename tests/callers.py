"""Callers of the Makefile with AWS settings of their own, as with TARGET=aws, and with rights that
were chosen: here they reach local AWS."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from ops.environment import Environment
from ops.release.caller_permissions import needs_of

from tests.conftest import ACCOUNTS, REPOSITORY

KEPT = ("HOME", "PATH", "LANG", "CI")


def make_as(settings: dict[str, str], aws, *arguments: str) -> subprocess.CompletedProcess:
    """Run make ENV=dev TARGET=aws with AWS settings of the caller's own."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return subprocess.run(
        ["make", "--silent", *arguments, "ENV=dev", "TARGET=aws"],
        cwd=REPOSITORY,
        env=kept | {"AWS_ENDPOINT_URL": aws.url, "NO_PROXY": "127.0.0.1"} | settings,
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


def settings_of(credentials: dict[str, str], region: str = "us-east-1") -> dict[str, str]:
    """Return credentials as a terminal has them; no profile of this machine gets in between."""
    settings = {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    if token := credentials.get("SessionToken"):
        settings["AWS_SESSION_TOKEN"] = token
    return settings


def profile_settings(aws, profile: str, region: str = "us-east-1") -> dict[str, str]:
    """Return the settings of somebody who uses a profile."""
    files = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
    return {name: aws.env[name] for name in files} | {
        "AWS_PROFILE": profile,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }


def asked_for(action: str = "deploy") -> list[dict]:
    """Return the statements that allow what an action asks IAM for, and nothing else."""
    own = {
        "Effect": "Allow",
        "Action": "iam:SimulatePrincipalPolicy",
        "Resource": f"arn:aws:iam::{ACCOUNTS['dev']}:user/*",
    }
    return [own] + [
        {
            "Effect": "Allow",
            "Action": list(need.actions),
            "Resource": need.resource,
            **({"Condition": {"StringEquals": need.context}} if need.context else {}),
        }
        for need in needs_of(Environment.load("dev"), action)
    ]


def needed_for(action: str) -> list[dict]:
    """Return the statements that an action needs: what it asks for, of every object, version and
    execution, where it asks for an example; and what has a name that AWS chose."""
    statements = [
        statement | {"Resource": _of_all(statement["Resource"])} for statement in asked_for(action)
    ]
    unnamed = [
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "redshift-data:BatchExecuteStatement",
        "redshift-data:DescribeStatement",
        "redshift-data:ExecuteStatement",
        "redshift-data:GetStatementResult",
        "secretsmanager:GetSecretValue",
    ]
    # Versions are deleted by s3:DeleteObjectVersion; for several at once local AWS asks for this.
    several = {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::*-data-*"}
    return [*statements, {"Effect": "Allow", "Action": unnamed, "Resource": "*"}, several]


def _of_all(resource: str) -> str:
    return f"{resource[:-1]}*" if resource.endswith(("/x", ":x", ":1")) else resource


@contextmanager
def user_with(iam, statements: list[dict]) -> Iterator[dict[str, str]]:
    """Give the settings of a user with these statements, until the end of the block."""
    name = f"caller-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    policy = {"Version": "2012-10-17", "Statement": statements}
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        yield settings_of(key)
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="own")
        iam.delete_user(UserName=name)
