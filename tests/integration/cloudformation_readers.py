"""Reads resources back through their services' own APIs, in the shape of a template's properties.

A reader returns what the service says, never what the template said: a property that no reader
returns counts as not simulated.
"""

import base64
import hashlib
import json
from collections.abc import Callable

import boto3
from tests.integration.cloudformation_stacks import TAGS, Deployer, Resolver

Properties = dict


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
    alarm = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
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
    return next(alias for alias in aliases if alias["AliasName"] == name)


def read_function(session: boto3.Session, name: str, wanted: Properties) -> Properties:
    found = session.client("lambda").get_function(FunctionName=name)
    settings = found["Configuration"]
    return {
        **settings,
        "Code": _code_place(session, settings["CodeSha256"], wanted["Code"]),
        "Layers": [layer["Arn"] for layer in settings["Layers"]],
        "Tags": _tags(found["Tags"]),
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
    (statement,) = json.loads(policy["Policy"])["Statement"]
    return {
        "Action": statement["Action"],
        "FunctionName": statement["Resource"],
        "Principal": statement["Principal"]["Service"],
        "SourceArn": statement["Condition"]["ArnLike"]["AWS:SourceArn"],
    }


def read_log_group(session: boto3.Session, name: str, _wanted: Properties) -> Properties:
    logs = session.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    group = next(group for group in groups if group["logGroupName"] == name)
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
    encryption = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]
    notification = s3.get_bucket_notification_configuration(Bucket=name)
    return {
        "BucketName": name,
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [
                {
                    "ServerSideEncryptionByDefault": rule["ApplyServerSideEncryptionByDefault"],
                    "BucketKeyEnabled": rule.get("BucketKeyEnabled", False),
                }
                for rule in encryption["Rules"]
            ]
        },
        "LifecycleConfiguration": {
            "Rules": [
                _lifecycle_rule(rule)
                for rule in s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
            ]
        },
        "NotificationConfiguration": {
            "EventBridgeConfiguration": {
                "EventBridgeEnabled": "EventBridgeConfiguration" in notification
            }
        },
        "OwnershipControls": s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"],
        "PublicAccessBlockConfiguration": s3.get_public_access_block(Bucket=name)[
            "PublicAccessBlockConfiguration"
        ],
        "Tags": _tags(s3.get_bucket_tagging(Bucket=name)["TagSet"]),
        "VersioningConfiguration": {"Status": s3.get_bucket_versioning(Bucket=name)["Status"]},
    }


def _lifecycle_rule(rule: dict) -> dict:
    """Return a rule of S3's API as a template spells it."""
    spelled = {**rule, "Id": rule["ID"], "Prefix": rule["Filter"]["Prefix"]}
    if "Expiration" in rule:
        spelled["ExpirationInDays"] = rule["Expiration"]["Days"]
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
    (subscription,) = found["Subscriptions"]
    return subscription


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


def read_back(deployer: Deployer, stack: dict, template: dict) -> list[str]:
    """Return every property of a stack that its service does not confirm."""
    resolver = Resolver(deployer, stack, template)
    faults = []
    for logical_id, resource in template["Resources"].items():
        if not resolver.exists(logical_id):
            assert logical_id not in resolver.resources
            continue
        wanted = resolver.properties(logical_id)
        name = resolver.resources[logical_id]["PhysicalResourceId"]
        found = READERS[resource["Type"]](deployer.session, name, wanted)
        if "Tags" in found:
            own = {tag["Key"] for tag in wanted.get("Tags", [])}
            wanted["Tags"] = wanted.get("Tags", []) + [
                {"Key": key, "Value": value} for key, value in TAGS.items() if key not in own
            ]
        faults += [f"{logical_id}.{fault}" for fault in differences(wanted, found)]
    return faults


def differences(wanted: object, found: object, path: str = "") -> list[str]:
    """Return where ``found`` lacks what is ``wanted``; what it has besides does not matter."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return [f"{path}: wanted {wanted}, found {found!r}"]
        return [
            difference
            for key, value in wanted.items()
            for difference in (
                differences(value, found[key], f"{path}.{key}".lstrip("."))
                if key in found
                else [f"{path}.{key}".lstrip(".") + ": not read back"]
            )
        ]
    if path == "Tags":
        missing = [tag for tag in wanted if tag not in found]
        return [f"Tags: {missing} not in {found}"] if missing else []
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(wanted) != len(found):
            return [f"{path}: wanted {wanted}, found {found!r}"]
        return [
            difference
            for index, pair in enumerate(zip(wanted, found))
            for difference in differences(*pair, f"{path}[{index}]")
        ]
    return (
        [] if _plain(wanted) == _plain(found) else [f"{path}: wanted {wanted!r}, found {found!r}"]
    )


def _plain(value: object) -> str:
    """Return a scalar as text: parameters make text of numbers and booleans, APIs do not."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
