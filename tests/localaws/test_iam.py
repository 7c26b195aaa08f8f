"""IAM is enforced over HTTP: no root keys, least privilege, TLS-only bucket policies."""

import json
import uuid

import boto3
import pytest
import requests
from botocore.exceptions import ClientError


def client_with_key(aws, service, key, secret="secret"):
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=aws.url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


@pytest.fixture(name="bucket")
def fixture_bucket(local_aws):
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    local_aws.session("dev").client("s3").create_bucket(Bucket=name)
    return name


@pytest.mark.parametrize("key", ["test", "111111111111", "AKIAAAAAAAAAAAAAAAAA"])
def test_keys_that_iam_did_not_issue_are_refused(local_aws, key):
    with pytest.raises(ClientError) as error:
        client_with_key(local_aws, "sns", key).list_topics()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_wrong_secret_is_refused(local_aws):
    key = local_aws.session("dev").get_credentials().access_key
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client_with_key(local_aws, "sts", key, "wrong").get_caller_identity()


def test_an_unsigned_request_does_not_read_a_bucket(local_aws, bucket):
    response = requests.get(f"{local_aws.url}/{bucket}", timeout=10)
    assert response.status_code == 403, response.text


def test_a_user_may_do_what_its_policy_allows_and_no_more(local_aws, bucket):
    session = local_aws.session("dev")
    iam = session.client("iam")
    user = f"reader-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=user)
    statement = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    iam.put_user_policy(
        UserName=user,
        PolicyName="read",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    key = iam.create_access_key(UserName=user)["AccessKey"]
    session.client("s3").put_object(Bucket=bucket, Key="file", Body=b"content")

    reader = client_with_key(local_aws, "s3", key["AccessKeyId"], key["SecretAccessKey"])
    assert reader.get_object(Bucket=bucket, Key="file")["Body"].read() == b"content"
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.put_object(Bucket=bucket, Key="file", Body=b"other")


@pytest.mark.parametrize(
    ("action", "call", "more"),
    [
        ("GetAlias", "get_alias", {}),
        ("UpdateAlias", "update_alias", {"FunctionVersion": "1"}),
        ("DeleteAlias", "delete_alias", {}),
    ],
)
def test_what_is_done_with_an_alias_of_a_function_is_an_action_of_its_own(
    local_aws, action, call, more
):
    # GIVEN a user that may do this alone, with a function that is not there
    iam, user = local_aws.session("dev").client("iam"), f"switcher-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=user)
    place = "arn:aws:lambda:us-east-1:111111111111:function:none"
    statement = {"Effect": "Allow", "Action": f"lambda:{action}", "Resource": place}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=user, PolicyName="own", PolicyDocument=document)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    functions = client_with_key(local_aws, "lambda", key["AccessKeyId"], key["SecretAccessKey"])

    # THEN it is let through, and what it may not do is denied
    with pytest.raises(ClientError, match="ResourceNotFound"):
        getattr(functions, call)(FunctionName="none", Name="live", **more)
    with pytest.raises(ClientError, match="AccessDenied"):
        functions.list_aliases(FunctionName="none")


def test_a_tls_only_bucket_serves_https_and_denies_plain_http(local_aws, bucket):
    s3 = local_aws.session("dev").client("s3")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    s3.put_object(Bucket=bucket, Key="file", Body=b"content")

    s3.meta.events.register(
        "before-sign.s3.*",
        lambda request, **_: request.headers.add_header("x-forwarded-proto", "http"),
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket=bucket, Key="file")


# ---- SimulatePrincipalPolicy ---------------------------------------------------------------------


@pytest.fixture(name="simulate")
def fixture_simulate(local_aws):
    """A function that asks what a role with these statements is allowed: one decision a pair."""
    iam = local_aws.session("dev").client("iam")
    name = f"role-{uuid.uuid4().hex[:12]}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]

    def simulate(statements, actions, resources, **context):
        policy = {"Version": "2012-10-17", "Statement": statements}
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
        answers = iam.simulate_principal_policy(
            PolicySourceArn=role,
            ActionNames=actions,
            ResourceArns=resources,
            ContextEntries=[
                {
                    "ContextKeyName": key.replace("_", ":", 1),
                    "ContextKeyValues": [value],
                    "ContextKeyType": "string",
                }
                for key, value in context.items()
            ],
        )["EvaluationResults"]
        return {(a["EvalActionName"], a["EvalResourceName"]): a["EvalDecision"] for a in answers}

    yield simulate
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    iam.delete_role(RoleName=name)


def test_a_simulation_decides_for_each_action_and_each_resource(simulate):
    statements = [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"},
        {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::data/secret"},
    ]
    public, secret = "arn:aws:s3:::data/public", "arn:aws:s3:::data/secret"
    assert simulate(statements, ["s3:GetObject", "s3:PutObject"], [public, secret]) == {
        ("s3:GetObject", public): "allowed",
        ("s3:GetObject", secret): "explicitDeny",
        ("s3:PutObject", public): "implicitDeny",
        ("s3:PutObject", secret): "explicitDeny",
    }


def test_a_simulation_knows_the_conditions_that_it_is_told(simulate):
    statements = [
        {
            "Effect": "Allow",
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {"StringEquals": {"cloudwatch:namespace": "Glue"}},
        }
    ]
    asked = (statements, ["cloudwatch:PutMetricData"], ["*"])
    key = ("cloudwatch:PutMetricData", "*")
    assert simulate(*asked)[key] == "implicitDeny"
    assert simulate(*asked, cloudwatch_namespace="Other")[key] == "implicitDeny"
    assert simulate(*asked, cloudwatch_namespace="Glue")[key] == "allowed"


@pytest.mark.parametrize("account", ["111111111111", "222222222222"])
def test_a_simulation_of_a_role_that_is_not_there_is_an_error(local_aws, account):
    iam = local_aws.session("dev").client("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.simulate_principal_policy(
            PolicySourceArn=f"arn:aws:iam::{account}:role/no-such-role",
            ActionNames=["s3:GetObject"],
        )
