"""What of a function a backup compares and brings back."""

import base64
import hashlib

import pytest
from ops.backup.functions import UNSET, permission, snapshot
from ops.environment import OperationError

CODE = hashlib.sha256(b"code")
BARE = {
    "CodeSha256": base64.b64encode(CODE.digest()).decode(),
    "Handler": "app.handler",
    "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/app"},
    "MemorySize": 128,
    "Role": "arn:role",
    "Runtime": "python3.11",
    "Timeout": 3,
}


class Contents:
    """Layers that hold what their ARN says."""

    @staticmethod
    def content(arn):
        """Return the content of a layer version."""
        return f"content of {arn}"


def test_what_nobody_set_is_named_so_that_an_update_can_take_it_back():
    found = snapshot(BARE, Contents)
    assert found["code"] == CODE.hexdigest()
    assert found["architectures"] == ["x86_64"]
    assert found["settings"].items() >= UNSET.items()


def test_what_lambda_adds_is_no_setting():
    answered = BARE | {
        "Version": "7",
        "RevisionId": "some",
        "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": ""},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "Environment": {"Variables": {}, "Error": None},
    }
    assert snapshot(answered, Contents) == snapshot(BARE, Contents)


def test_layers_count_by_what_they_hold():
    found = snapshot(BARE | {"Layers": [{"Arn": "arn:layer:1", "CodeSize": 5}]}, Contents)
    assert found["settings"]["Layers"] == ["content of arn:layer:1"]


@pytest.mark.parametrize(
    ("principal", "condition", "arguments"),
    [
        (
            {"Service": "events.amazonaws.com"},
            {"ArnLike": {"AWS:SourceArn": "arn:rule"}},
            {"Principal": "events.amazonaws.com", "SourceArn": "arn:rule"},
        ),
        (
            {"AWS": "arn:aws:iam::123456789012:root"},
            {"StringEquals": {"AWS:SourceAccount": "1", "aws:PrincipalOrgID": "o-1"}},
            {
                "Principal": "arn:aws:iam::123456789012:root",
                "SourceAccount": "1",
                "PrincipalOrgID": "o-1",
            },
        ),
        ("*", {}, {"Principal": "*"}),
    ],
)
def test_a_permission_is_given_again_as_its_statement_has_it(principal, condition, arguments):
    statement = {
        "Sid": "one",
        "Effect": "Allow",
        "Principal": principal,
        "Action": "lambda:InvokeFunction",
        "Resource": "arn:function",
        "Condition": condition,
    }
    expected = {"StatementId": "one", "Action": "lambda:InvokeFunction"} | arguments
    assert permission(statement) == expected


def test_a_permission_that_could_not_be_given_again_is_named():
    statement = {
        "Sid": "one",
        "Principal": "*",
        "Action": "lambda:InvokeFunction",
        "Resource": "arn:function",
        "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    }
    with pytest.raises(OperationError, match="one of arn:function depends on aws:SourceIp"):
        permission(statement)
