"""Redshift Serverless: namespaces and workgroups, as templates and scripts use them."""

# pylint: disable=redefined-outer-name  # pytest's way of asking for fixtures

import contextlib
import json
import uuid
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from tests.localaws.redshift_warehouse import make_role


@pytest.fixture(scope="module")
def client(local_aws):
    return local_aws.session("staging").client("redshift-serverless")


@contextlib.contextmanager
def new_name(client) -> Iterator[str]:
    """Give a name for a namespace and a workgroup, which are deleted afterwards."""
    made = f"wh-{uuid.uuid4().hex[:8]}"
    try:
        yield made
    finally:
        delete_both(client, made)


def delete_both(client, made: str) -> None:
    for delete, argument in (
        (client.delete_workgroup, "workgroupName"),
        (client.delete_namespace, "namespaceName"),
    ):
        try:
            delete(**{argument: made})
        except client.exceptions.ResourceNotFoundException:
            pass


@pytest.fixture
def name(client):
    with new_name(client) as made:
        yield made


@pytest.fixture(scope="module")
def taken(client):
    """The name of a namespace and of its workgroup."""
    with new_name(client) as made:
        client.create_namespace(namespaceName=made)
        client.create_workgroup(workgroupName=made, namespaceName=made)
        yield made


def code(error: pytest.ExceptionInfo) -> tuple[str, str]:
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def test_a_namespace_keeps_its_settings(client, name):
    given = {
        "namespaceName": name,
        "dbName": "sales",
        "adminUsername": "boss",
        "iamRoles": ["arn:aws:iam::333333333333:role/a", "arn:aws:iam::333333333333:role/b"],
        "defaultIamRoleArn": "arn:aws:iam::333333333333:role/b",
        "kmsKeyId": "arn:aws:kms:us-east-1:333333333333:key/k",
        "logExports": ["userlog", "connectionlog"],
    }
    created = client.create_namespace(
        **given, adminUserPassword="Passw0rd", tags=[{"key": "a", "value": "1"}]
    )["namespace"]
    found = client.get_namespace(namespaceName=name)["namespace"]
    assert found == created
    assert found["status"] == "AVAILABLE"
    assert found["namespaceArn"].endswith(f":333333333333:namespace/{found['namespaceId']}")
    assert {key: found[key] for key in given} == given
    assert "adminUserPassword" not in found
    assert found in client.list_namespaces()["namespaces"]
    updated = client.update_namespace(namespaceName=name, iamRoles=given["iamRoles"][1:])
    assert updated["namespace"]["iamRoles"] == given["iamRoles"][1:]
    arn = found["namespaceArn"]
    client.tag_resource(resourceArn=arn, tags=[{"key": "b", "value": "2"}])
    client.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "b", "value": "2"}]


def test_a_managed_password_is_a_secret(client, name, local_aws):
    secrets = local_aws.session("staging").client("secretsmanager")
    arn = client.create_namespace(
        namespaceName=name, adminUsername="boss", manageAdminPassword=True
    )["namespace"]["adminPasswordSecretArn"]
    content = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
    assert content["username"] == "boss" and len(content["password"]) >= 8
    assert arn.rpartition("-")[0].endswith(f"secret:redshift!{name}-boss")
    client.delete_namespace(namespaceName=name)
    with pytest.raises(ClientError):
        secrets.get_secret_value(SecretId=arn)


def test_a_workgroup_keeps_its_settings(client, name):
    client.create_namespace(namespaceName=name)
    given = {
        "workgroupName": name,
        "namespaceName": name,
        "baseCapacity": 8,
        "maxCapacity": 16,
        "publiclyAccessible": False,
        "enhancedVpcRouting": True,
        "subnetIds": ["subnet-1"],
        "securityGroupIds": ["sg-1"],
        "configParameters": [{"parameterKey": "require_ssl", "parameterValue": "true"}],
    }
    created = client.create_workgroup(**given)["workgroup"]
    found = client.get_workgroup(workgroupName=name)["workgroup"]
    assert found == created
    assert {key: found[key] for key in given} == given
    assert found["status"] == "AVAILABLE" and found["endpoint"]["port"] == 5439
    assert found in client.list_workgroups()["workgroups"]
    updated = client.update_workgroup(workgroupName=name, maxCapacity=32)["workgroup"]
    assert (updated["baseCapacity"], updated["maxCapacity"]) == (8, 32)


@pytest.mark.parametrize(
    ("operation", "arguments", "expected"),
    [
        (
            "create_namespace",
            {"namespaceName": "{name}"},
            ("ConflictException", "Namespace {name} already exists."),
        ),
        (
            "create_workgroup",
            {"workgroupName": "{name}", "namespaceName": "{name}"},
            ("ConflictException", "Workgroup {name} already exists."),
        ),
        (
            "create_workgroup",
            {"workgroupName": "second", "namespaceName": "{name}"},
            ("ConflictException", "Namespace {name} already has the workgroup {name}."),
        ),
        (
            "create_workgroup",
            {"workgroupName": "other", "namespaceName": "none"},
            ("ResourceNotFoundException", "Namespace none not found."),
        ),
        (
            "get_workgroup",
            {"workgroupName": "none"},
            ("ResourceNotFoundException", "Workgroup none not found."),
        ),
        (
            "delete_namespace",
            {"namespaceName": "{name}"},
            (
                "ConflictException",
                "There is an existing workgroup {name} associated with the namespace {name}.",
            ),
        ),
        (
            "update_workgroup",
            {"workgroupName": "{name}", "maxCapacity": 4},
            ("ValidationException", "maxCapacity 4 is less than baseCapacity 128."),
        ),
        (
            "create_namespace",
            {"namespaceName": "new", "defaultIamRoleArn": "arn:x"},
            ("ValidationException", "The default IAM role arn:x is not one of iamRoles."),
        ),
        (
            "create_namespace",
            {"namespaceName": "new", "logExports": ["nonsense"]},
            (
                "ValidationException",
                "1 validation error detected: Value 'nonsense' at 'logExports.1.member' failed to "
                "satisfy constraint: "
                "Member must satisfy enum value set: [useractivitylog, userlog, connectionlog]",
            ),
        ),
        (
            "create_namespace",
            {"namespaceName": "Bad_Name"},
            (
                "ValidationException",
                "1 validation error detected: Value 'Bad_Name' at 'namespaceName' failed to "
                "satisfy constraint: "
                "Member must satisfy regular expression pattern: ^[a-z0-9-]+$",
            ),
        ),
        (
            "list_tags_for_resource",
            {"resourceArn": "arn:x"},
            ("ResourceNotFoundException", "Resource arn:x not found."),
        ),
    ],
)
def test_a_bad_request_gets_awss_error(client, taken, operation, arguments, expected):
    arguments = {
        key: value.format(name=taken) if isinstance(value, str) else value
        for key, value in arguments.items()
    }
    with pytest.raises(ClientError) as error:
        getattr(client, operation)(**arguments)
    assert code(error) == (expected[0], expected[1].format(name=taken))


def test_deleting_takes_the_data_along(client, name, local_aws):
    data = local_aws.session("staging").client("redshift-data")
    target = {"WorkgroupName": name, "Database": "dev", "WaitTimeSeconds": 10}
    for _ in range(2):
        client.create_namespace(namespaceName=name)
        client.create_workgroup(workgroupName=name, namespaceName=name)
        made = data.execute_statement(Sql="CREATE TABLE t (a INT)", **target)
        assert made["Status"] == "FINISHED"
        client.delete_workgroup(workgroupName=name)
        client.delete_namespace(namespaceName=name)


def test_policies_name_the_workgroup(client, taken, local_aws):
    arn = client.get_workgroup(workgroupName=taken)["workgroup"]["workgroupArn"]
    role = make_role(
        local_aws,
        "staging",
        {"AWS": "arn:aws:iam::333333333333:root"},
        [{"Effect": "Allow", "Action": "redshift-serverless:GetWorkgroup", "Resource": arn}],
    )
    session = local_aws.session("staging")
    keys = session.client("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    limited = session.client(
        "redshift-serverless",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    assert limited.get_workgroup(workgroupName=taken)["workgroup"]["workgroupName"] == taken
    with pytest.raises(ClientError) as error:
        limited.get_namespace(namespaceName=taken)
    assert code(error)[0] == "AccessDeniedException"
