"""Everything that people change by hand in an environment, done to one, through boto3."""

import io
import json
import zipfile

from tests.e2e.changes.deployed import ACCOUNT, PREFIX, Checkout

MACHINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{PREFIX}-etl"
DATA, ARTIFACTS = f"{PREFIX}-data-{ACCOUNT}", f"{PREFIX}-artifacts-{ACCOUNT}"
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/made-by-hand"


def wreck(checkout: Checkout, release: str) -> None:
    """Change one thing of every kind."""
    # First: an update mends what was changed by hand in the resources that it touches.
    _stacks(checkout.client("cloudformation"))
    _functions(checkout.client("lambda"))
    _job(checkout.client("glue"))
    _state_machine(checkout.client("stepfunctions"), checkout.client("iam"))
    _buckets(checkout.client("s3"), release)
    _resources(checkout)


def _functions(client) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("load_warehouse.py", "def handler(event, context):\n    return 1\n")
    client.update_function_code(FunctionName=f"{PREFIX}-load-warehouse", ZipFile=archive.getvalue())
    client.update_function_configuration(
        FunctionName=f"{PREFIX}-validate-input",
        MemorySize=1024,
        Timeout=77,
        Role=f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-check-quality",
        Layers=[],
        Environment={"Variables": {"DEBUG": "1"}},
    )
    trigger = f"{PREFIX}-trigger-etl"
    client.put_function_concurrency(FunctionName=trigger, ReservedConcurrentExecutions=1)
    # A version made by hand, and most events sent to it.
    live = client.get_alias(FunctionName=trigger, Name="live")["FunctionVersion"]
    client.update_function_configuration(FunctionName=trigger, MemorySize=320)
    version = client.publish_version(FunctionName=trigger)["Version"]
    client.update_alias(
        FunctionName=trigger,
        Name="live",
        FunctionVersion=version,
        RoutingConfig={"AdditionalVersionWeights": {live: 0.1}},
    )
    client.delete_function(FunctionName=f"{PREFIX}-check-quality")


def _job(client) -> None:
    job = client.get_job(JobName=f"{PREFIX}-etl")["Job"]
    client.update_job(
        JobName=job["Name"],
        JobUpdate={
            "Description": job["Description"],  # what is left out is emptied
            "Role": job["Role"],
            "Command": job["Command"] | {"ScriptLocation": "s3://elsewhere/etl_main.py"},
            "WorkerType": "G.2X",
            "NumberOfWorkers": job["NumberOfWorkers"],
            "GlueVersion": job["GlueVersion"],
            "Timeout": 99,
            "MaxRetries": job["MaxRetries"],
            "ExecutionProperty": job["ExecutionProperty"],
            "ExecutionClass": job["ExecutionClass"],
            "DefaultArguments": job["DefaultArguments"] | {"--job-bookmark-option": "on"},
        },
    )


def _state_machine(client, iam) -> None:
    trust = iam.get_role(RoleName=f"{PREFIX}-etl-states")["Role"]["AssumeRolePolicyDocument"]
    iam.create_role(RoleName="made-by-hand", AssumeRolePolicyDocument=json.dumps(trust))
    alias = f"{MACHINE}:live"
    (live,) = client.describe_state_machine_alias(stateMachineAliasArn=alias)[
        "routingConfiguration"
    ]
    released = json.loads(client.describe_state_machine(stateMachineArn=MACHINE)["definition"])
    by_hand = released | {"TimeoutSeconds": 60}
    version = client.update_state_machine(
        stateMachineArn=MACHINE, definition=json.dumps(by_hand), publish=True
    )["stateMachineVersionArn"]
    client.update_state_machine_alias(
        stateMachineAliasArn=alias,
        routingConfiguration=[
            {"stateMachineVersionArn": version, "weight": 90},
            {"stateMachineVersionArn": live["stateMachineVersionArn"], "weight": 10},
        ],
    )
    client.update_state_machine(
        stateMachineArn=MACHINE,
        definition=json.dumps(released | {"Comment": "changed in the console"}),
        roleArn=OTHER_ROLE,
        loggingConfiguration={"level": "OFF", "includeExecutionData": False},
    )


def _buckets(client, release: str) -> None:
    client.put_bucket_versioning(Bucket=DATA, VersioningConfiguration={"Status": "Suspended"})
    client.put_bucket_encryption(
        Bucket=DATA,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    client.delete_public_access_block(Bucket=DATA)
    rules = client.get_bucket_lifecycle_configuration(Bucket=DATA)["Rules"]
    client.put_bucket_lifecycle_configuration(
        Bucket=DATA,
        LifecycleConfiguration={"Rules": [r for r in rules if r["ID"] != "expire-runs"]},
    )
    client.put_bucket_notification_configuration(Bucket=DATA, NotificationConfiguration={})
    client.put_bucket_notification_configuration(
        Bucket=ARTIFACTS, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    client.delete_bucket_policy(Bucket=ARTIFACTS)
    policy = json.loads(client.get_bucket_policy(Bucket=DATA)["Policy"])
    policy["Statement"][0]["Effect"] = "Allow"
    client.put_bucket_policy(Bucket=DATA, Policy=json.dumps(policy))
    client.put_bucket_encryption(
        Bucket=ARTIFACTS,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    )
    # The bytes that the live release runs, written over; and some that are gone.
    prefix = f"releases/{release}"
    client.put_object(Bucket=ARTIFACTS, Key=f"{prefix}/glue/etl_main.py", Body=b"print()")
    client.delete_object(Bucket=ARTIFACTS, Key=f"{prefix}/config/prod.json")


def _resources(checkout: Checkout) -> None:
    alarms = checkout.client("cloudwatch")
    alarms.disable_alarm_actions(AlarmNames=[f"{PREFIX}-executions-failed"])
    alarms.delete_alarms(AlarmNames=[f"{PREFIX}-dead-letters"])
    (rejected,) = alarms.describe_alarms(AlarmNames=[f"{PREFIX}-rejected-rows"])["MetricAlarms"]
    kept = ("AlarmName", "AlarmDescription", "Namespace", "MetricName", "Dimensions", "Statistic")
    kept += ("Period", "EvaluationPeriods", "ComparisonOperator", "TreatMissingData")
    kept += ("AlarmActions", "OKActions")
    alarms.put_metric_alarm(**{key: rejected[key] for key in kept}, Threshold=95)

    topics = checkout.client("sns")
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{PREFIX}"
    topics.set_topic_attributes(
        TopicArn=f"{topic}-alarms", AttributeName="DisplayName", AttributeValue="hello"
    )
    attributes = topics.get_topic_attributes(TopicArn=f"{topic}-notifications")["Attributes"]
    policy = json.loads(attributes["Policy"])
    policy["Statement"][0]["Principal"] = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    topics.set_topic_attributes(
        TopicArn=f"{topic}-notifications", AttributeName="Policy", AttributeValue=json.dumps(policy)
    )

    checkout.client("events").disable_rule(Name=f"{PREFIX}-inbox")
    logs = checkout.client("logs")
    logs.delete_log_group(logGroupName=f"/aws-glue/jobs/{PREFIX}-etl/error")
    logs.put_retention_policy(logGroupName=f"/aws-glue/jobs/{PREFIX}-etl/output", retentionInDays=1)
    iam = checkout.client("iam")
    role = {"RoleName": f"{PREFIX}-trigger-etl", "PolicyName": "trigger-etl"}
    policy = iam.get_role_policy(**role)["PolicyDocument"]
    policy["Statement"][0]["Action"] = "logs:*"
    iam.put_role_policy(**role, PolicyDocument=json.dumps(policy))
    key = checkout.client("kms").describe_key(KeyId=f"alias/{PREFIX}-data")["KeyMetadata"]["KeyId"]
    checkout.client("kms").disable_key_rotation(KeyId=key)
    checkout.client("redshift-serverless").update_workgroup(workgroupName=PREFIX, maxCapacity=64)
    queues = checkout.client("sqs")
    url = queues.get_queue_url(QueueName=f"{PREFIX}-trigger-dead-letters")["QueueUrl"]
    queues.set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "60"})


def _stacks(client) -> None:
    stack = f"{PREFIX}-monitoring"
    (found,) = client.describe_stacks(StackName=stack)["Stacks"]
    body = client.get_template(StackName=stack)["TemplateBody"]
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in found["Parameters"]}
    parameters["AlarmEmail"] = "someone@example.com"
    client.update_stack(
        StackName=stack,
        TemplateBody=body.replace("alarms that say", "alarms that shout"),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ],
        Tags=[tag for tag in found["Tags"] if tag["Key"] != "Owner"],
    )
    client.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
