"""EventBridge reaches a Lambda only with permission, and tries again when it fails."""

import json
import uuid

import pytest

from tests.localaws.workshop import Workshop, wait_until


@pytest.fixture(name="workshop", scope="module")
def fixture_workshop(local_aws):
    return Workshop(local_aws.session("dev"))


FAILS = (
    "def handler(event, context):\n    print(context.invoked_function_arn)\n    raise ValueError\n"
)


def inbox(workshop, target, **settings):
    """Make a bucket and a rule that sends its new objects to the target; return both names."""
    bucket = workshop.bucket()
    workshop.session.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    events = workshop.session.client("events")
    rule = f"rule-{uuid.uuid4().hex[:12]}"
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    arn = events.put_rule(Name=rule, EventPattern=json.dumps(pattern))["RuleArn"]
    events.put_targets(Rule=rule, Targets=[{"Id": "function", "Arn": target, **settings}])
    return bucket, arn


def alias(workshop, name):
    version = workshop.lambda_.publish_version(FunctionName=name)["Version"]
    answer = workshop.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    return answer["AliasArn"]


def permit(workshop, name, rule_arn, **settings):
    workshop.lambda_.add_permission(
        FunctionName=name,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule_arn,
        **settings,
    )


def test_a_failing_alias_is_tried_as_its_own_settings_say(workshop):
    name = workshop.function(FAILS)
    live = alias(workshop, name)
    url, queue = workshop.queue()
    workshop.lambda_.put_function_event_invoke_config(
        FunctionName=name,
        Qualifier="live",
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )
    bucket, rule = inbox(workshop, live)
    permit(workshop, name, rule, Qualifier="live")

    workshop.session.client("s3").put_object(Bucket=bucket, Key="file", Body=b"1")

    failure = workshop.receive(url)
    assert failure["requestPayload"]["detail"]["object"]["key"] == "file"
    assert workshop.messages(f"/aws/lambda/{name}").count(live) == 2


@pytest.mark.parametrize("permitted_rule", [None, "arn:aws:events:us-east-1:111111111111:rule/x"])
def test_without_permission_the_event_becomes_a_dead_letter(workshop, permitted_rule):
    name = workshop.function(FAILS)
    url, queue = workshop.queue()
    bucket, rule = inbox(
        workshop,
        f"arn:aws:lambda:us-east-1:111111111111:function:{name}",
        DeadLetterConfig={"Arn": queue},
    )
    if permitted_rule:
        permit(workshop, name, permitted_rule)
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    workshop.session.client("sqs").set_queue_attributes(
        QueueUrl=url,
        Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})},
    )

    workshop.session.client("s3").put_object(Bucket=bucket, Key="file", Body=b"1")

    assert workshop.receive(url)["detail"]["object"]["key"] == "file"
    assert workshop.messages(f"/aws/lambda/{name}") == []


def test_with_permission_the_event_arrives_once(workshop):
    name = workshop.function("def handler(event, context): print(event['detail']['object']['key'])")
    arn = f"arn:aws:lambda:us-east-1:111111111111:function:{name}"
    bucket, rule = inbox(workshop, arn)
    permit(workshop, name, rule)
    workshop.session.client("s3").put_object(Bucket=bucket, Key="a file ü", Body=b"1")
    lines = wait_until(lambda: workshop.messages(f"/aws/lambda/{name}"))
    assert lines.count("a file ü") == 1
