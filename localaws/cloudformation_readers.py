"""Reads resources back through their services' own APIs, in the shape of a template's properties.

A reader returns what the service says, never what the template said: a property that no reader
returns counts as not simulated. It takes a session, the resource's physical id and the properties
that the template wants (some resources have no id of their own), and raises MissingResource where
there is no such resource. A setting that was taken away is left out.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from botocore.exceptions import ClientError

Properties = dict

_MISSING_CODES = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "EntityNotFoundException",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchEntity",
    "NotFound",
    "NotFoundException",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
    "StateMachineDoesNotExist",
}
_UNSET_CODES = {
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchTagSet",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
}


class MissingResource(LookupError):
    """There is no such resource (any more)."""


def read(session: boto3.Session, type_: str, physical_id: str, wanted: Properties) -> Properties:
    """Return a resource's properties as they are now; raise MissingResource."""
    try:
        return READERS[type_](session, physical_id, wanted)
    except ClientError as error:
        if error.response["Error"]["Code"] in _MISSING_CODES:
            raise MissingResource(f"{type_} {physical_id}") from error
        raise


def _first(found: Iterable) -> Any:
    """Return the first of what was found; raise MissingResource where nothing was."""
    for item in found:
        return item
    raise MissingResource("nothing of that name")


def _unless_unset(read_setting: Callable[..., dict], **request) -> dict:
    """Return a setting's description, empty where it is not set."""
    try:
        return read_setting(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] in _UNSET_CODES:
            return {}
        raise


def _tags(tags: list[dict] | dict) -> list[dict]:
    """Return tags of any spelling as a template's list."""
    pairs = tags.items() if isinstance(tags, dict) else [tuple(tag.values()) for tag in tags]
    return [{"Key": key, "Value": value} for key, value in pairs]


def _initial_upper(value):
    if isinstance(value, dict):
        return {key[0].upper() + key[1:]: _initial_upper(item) for key, item in value.items()}
    return [_initial_upper(item) for item in value] if isinstance(value, list) else value


def read_alarm(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    cloudwatch = session.client("cloudwatch")
    alarm = _first(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"])
    tags = cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
    return {**alarm, "Tags": _tags(tags)}


def read_rule(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    events = session.client("events")
    rule = events.describe_rule(Name=name)
    return {
        **rule,
        "EventPattern": json.loads(rule["EventPattern"]),
        "Targets": events.list_targets_by_rule(Rule=name)["Targets"],
        "Tags": _tags(events.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]),
    }


def read_database(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    found = session.client("glue").get_database(Name=name)["Database"]
    taken = {key: value for key, value in found.items() if key not in ("CatalogId", "CreateTime")}
    return {"CatalogId": found["CatalogId"], "DatabaseInput": taken}


def read_job(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    glue = session.client("glue")
    account = session.client("sts").get_caller_identity()["Account"]
    tags = glue.get_tags(ResourceArn=f"arn:aws:glue:us-east-1:{account}:job/{name}")["Tags"]
    return {**glue.get_job(JobName=name)["Job"], "Tags": _tags(tags)}


def read_role(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    iam = session.client("iam")
    role = iam.get_role(RoleName=name)["Role"]
    names = iam.list_role_policies(RoleName=name)["PolicyNames"]
    return {
        **role,
        "Policies": [
            {
                "PolicyName": policy,
                "PolicyDocument": iam.get_role_policy(RoleName=name, PolicyName=policy)[
                    "PolicyDocument"
                ],
            }
            for policy in names
        ],
        "Tags": _tags(iam.list_role_tags(RoleName=name)["Tags"]),
    }


def read_key(session: boto3.Session, key_id: str, _wanted: Properties) -> Properties:
    kms = session.client("kms")
    policy = kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"]
    return {
        "Description": kms.describe_key(KeyId=key_id)["KeyMetadata"]["Description"],
        "EnableKeyRotation": kms.get_key_rotation_status(KeyId=key_id)["KeyRotationEnabled"],
        "KeyPolicy": json.loads(policy),
        "Tags": _tags(kms.list_resource_tags(KeyId=key_id)["Tags"]),
    }


def read_key_alias(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    aliases = session.client("kms").list_aliases()["Aliases"]
    return _first(alias for alias in aliases if alias["AliasName"] == name)


def read_function(session: boto3.Session, name: str, wanted: Properties) -> Properties:
    found = session.client("lambda").get_function(FunctionName=name)
    settings = found["Configuration"]
    return {
        **settings,
        "Code": _code_place(session, settings["CodeSha256"], wanted["Code"]),
        "Layers": [layer["Arn"] for layer in settings.get("Layers", [])],
        "Tags": _tags(found.get("Tags", {})),
    }


def read_layer(session: boto3.Session, arn: str, wanted: Properties) -> Properties:
    layer = session.client("lambda").get_layer_version_by_arn(Arn=arn)
    return {
        **layer,
        "LayerName": layer["LayerArn"].rsplit(":", 1)[-1],
        "Content": _code_place(session, layer["Content"]["CodeSha256"], wanted["Content"]),
    }


def _code_place(session: boto3.Session, sha256: str, wanted: dict) -> dict:
    """Return the wanted S3 place if its bytes are the deployed ones: Lambda keeps no S3 key."""
    source = session.client("s3").get_object(Bucket=wanted["S3Bucket"], Key=wanted["S3Key"])
    actual = base64.b64encode(hashlib.sha256(source["Body"].read()).digest()).decode()
    return wanted if actual == sha256 else {"S3Bucket": "other bytes", "S3Key": "other bytes"}


def read_alias(session: boto3.Session, arn: str, _wanted: Properties) -> Properties:
    function, name = arn.split(":")[6:]
    alias = session.client("lambda").get_alias(FunctionName=function, Name=name)
    return {**alias, "FunctionName": function}


def read_invoke_config(session: boto3.Session, _id: str, wanted: Properties) -> Properties:
    config = session.client("lambda").get_function_event_invoke_config(
        FunctionName=wanted["FunctionName"], Qualifier=wanted["Qualifier"]
    )
    function, qualifier = config["FunctionArn"].split(":")[6:]
    return {**config, "FunctionName": function, "Qualifier": qualifier}


def read_permission(session: boto3.Session, _id: str, wanted: Properties) -> Properties:
    function, qualifier = wanted["FunctionName"].split(":")[6:]
    policy = session.client("lambda").get_policy(FunctionName=function, Qualifier=qualifier)
    statement = _first(
        statement
        for statement in json.loads(policy["Policy"])["Statement"]
        if statement["Condition"]["ArnLike"]["AWS:SourceArn"] == wanted["SourceArn"]
    )
    return {
        "Action": statement["Action"],
        "FunctionName": statement["Resource"],
        "Principal": statement["Principal"]["Service"],
        "SourceArn": statement["Condition"]["ArnLike"]["AWS:SourceArn"],
    }


def read_log_group(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    logs = session.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    group = _first(group for group in groups if group["logGroupName"] == name)
    tags = logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*"))["tags"]
    return {**_initial_upper(group), "Tags": _tags(tags)}


def read_namespace(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    redshift = session.client("redshift-serverless")
    namespace = redshift.get_namespace(namespaceName=name)["namespace"]
    tags = redshift.list_tags_for_resource(resourceArn=namespace["namespaceArn"])["tags"]
    return {
        **_initial_upper(namespace),
        "ManageAdminPassword": bool(namespace.get("adminPasswordSecretArn")),
        "IamRoles": [role.split("iamRoleArn=")[-1].strip("() ") for role in namespace["iamRoles"]],
        "Tags": _tags(tags),
    }


def read_workgroup(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    redshift = session.client("redshift-serverless")
    workgroup = redshift.get_workgroup(workgroupName=name)["workgroup"]
    tags = redshift.list_tags_for_resource(resourceArn=workgroup["workgroupArn"])["tags"]
    return {**_initial_upper(workgroup), "Tags": _tags(tags)}


def read_bucket(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    s3 = session.client("s3")
    s3.head_bucket(Bucket=name)
    encryption = _unless_unset(s3.get_bucket_encryption, Bucket=name)
    lifecycle = _unless_unset(s3.get_bucket_lifecycle_configuration, Bucket=name)
    versioning = s3.get_bucket_versioning(Bucket=name)
    properties = {
        "BucketName": name,
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {
                    "ServerSideEncryptionByDefault": rule["ApplyServerSideEncryptionByDefault"],
                    "BucketKeyEnabled": rule.get("BucketKeyEnabled", False),
                }
                for rule in encryption.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
            ]
        },
        "LifecycleConfiguration": {
            "Rules": [_lifecycle_rule(rule) for rule in lifecycle.get("Rules", [])]
        },
        "NotificationConfiguration": _notification(
            s3.get_bucket_notification_configuration(Bucket=name)
        ),
        "Tags": _tags(_unless_unset(s3.get_bucket_tagging, Bucket=name).get("TagSet", [])),
        "VersioningConfiguration": {"Status": versioning.get("Status", "Suspended")},
    }
    for key, setting in (
        ("OwnershipControls", s3.get_bucket_ownership_controls),
        ("PublicAccessBlockConfiguration", s3.get_public_access_block),
    ):
        properties |= {
            name: value
            for name, value in _unless_unset(setting, Bucket=name).items()
            if name == key
        }
    return properties


def _notification(found: dict) -> dict:
    """Return S3's notifications as a template has them; those that it has no word for too."""
    others = {
        key: value
        for key, value in found.items()
        if key not in ("EventBridgeConfiguration", "ResponseMetadata")
    }
    enabled = "EventBridgeConfiguration" in found
    return {"EventBridgeConfiguration": {"EventBridgeEnabled": enabled}, **others}


def _lifecycle_rule(rule: dict) -> dict:
    """Return a rule of S3's API as a template spells it."""
    spelled = {key: rule[key] for key in rule if key not in ("ID", "Filter", "Expiration")}
    spelled |= {"Id": rule.get("ID", ""), "Prefix": rule.get("Filter", rule).get("Prefix", "")}
    if "Expiration" in rule:
        spelled["ExpirationInDays"] = rule["Expiration"].get("Days", rule["Expiration"])
    if "Transitions" in rule:
        spelled["Transitions"] = [
            {"StorageClass": step["StorageClass"], "TransitionInDays": step["Days"]}
            for step in rule["Transitions"]
        ]
    return spelled


def read_bucket_policy(session: boto3.Session, _id: str, wanted: Properties) -> Properties:
    policy = session.client("s3").get_bucket_policy(Bucket=wanted["Bucket"])["Policy"]
    return {"Bucket": wanted["Bucket"], "PolicyDocument": json.loads(policy)}


def read_subscription(session: boto3.Session, _id: str, wanted: Properties) -> Properties:
    found = session.client("sns").list_subscriptions_by_topic(TopicArn=wanted["TopicArn"])
    return _first(
        subscription
        for subscription in found["Subscriptions"]
        if subscription["Endpoint"] == wanted["Endpoint"]
    )


def read_topic(session: boto3.Session, arn: str, _wanted: Properties) -> Properties:
    sns = session.client("sns")
    return {
        **sns.get_topic_attributes(TopicArn=arn)["Attributes"],
        "TopicName": arn.rsplit(":", 1)[-1],
        "Tags": _tags(sns.list_tags_for_resource(ResourceArn=arn)["Tags"]),
    }


def read_topic_policy(session: boto3.Session, _id: str, wanted: Properties) -> Properties:
    (topic,) = wanted["Topics"]
    policy = session.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    return {"PolicyDocument": json.loads(policy), "Topics": [topic]}


def read_queue(session: boto3.Session, url: str, _wanted: Properties) -> Properties:
    sqs = session.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return {
        **attributes,
        "QueueName": attributes["QueueArn"].rsplit(":", 1)[-1],
        "Tags": _tags(sqs.list_queue_tags(QueueUrl=url)["Tags"]),
    }


def read_queue_policy(session: boto3.Session, _id: str, wanted: Properties) -> Properties:
    (url,) = wanted["Queues"]
    found = session.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
    return {"PolicyDocument": json.loads(found["Attributes"]["Policy"]), "Queues": [url]}


def read_state_machine(session: boto3.Session, arn: str, _wanted: Properties) -> Properties:
    states = session.client("stepfunctions")
    machine = states.describe_state_machine(stateMachineArn=arn)
    tags = states.list_tags_for_resource(resourceArn=arn)["tags"]
    return {
        "Definition": json.loads(machine["definition"]),
        "LoggingConfiguration": _initial_upper(machine["loggingConfiguration"]),
        "RoleArn": machine["roleArn"],
        "StateMachineName": machine["name"],
        "StateMachineType": machine["type"],
        "Tags": _tags(tags),
        "TracingConfiguration": _initial_upper(machine["tracingConfiguration"]),
    }


READERS: dict[str, Callable[[boto3.Session, str, Properties], Properties]] = {
    "AWS::CloudWatch::Alarm": read_alarm,
    "AWS::Events::Rule": read_rule,
    "AWS::Glue::Database": read_database,
    "AWS::Glue::Job": read_job,
    "AWS::IAM::Role": read_role,
    "AWS::KMS::Alias": read_key_alias,
    "AWS::KMS::Key": read_key,
    "AWS::Lambda::Alias": read_alias,
    "AWS::Lambda::EventInvokeConfig": read_invoke_config,
    "AWS::Lambda::Function": read_function,
    "AWS::Lambda::LayerVersion": read_layer,
    "AWS::Lambda::Permission": read_permission,
    "AWS::Logs::LogGroup": read_log_group,
    "AWS::RedshiftServerless::Namespace": read_namespace,
    "AWS::RedshiftServerless::Workgroup": read_workgroup,
    "AWS::S3::Bucket": read_bucket,
    "AWS::S3::BucketPolicy": read_bucket_policy,
    "AWS::SNS::Subscription": read_subscription,
    "AWS::SNS::Topic": read_topic,
    "AWS::SNS::TopicPolicy": read_topic_policy,
    "AWS::SQS::Queue": read_queue,
    "AWS::SQS::QueuePolicy": read_queue_policy,
    "AWS::StepFunctions::StateMachine": read_state_machine,
}
