"""Metrics in log lines, queue depths, and alarms that look at their own metric only."""

import json
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest

from tests.localaws.workshop import Workshop, wait_until


@pytest.fixture(name="workshop", scope="module")
def fixture_workshop(local_aws):
    return Workshop(local_aws.session("dev"))


@pytest.fixture(name="cloudwatch", scope="module")
def fixture_cloudwatch(local_aws):
    return local_aws.session("dev").client("cloudwatch")


def as_dimensions(names):
    return [{"Name": name, "Value": value} for name, value in names.items()]


def statistics(cloudwatch, namespace, metric, **dimensions):
    now = datetime.now(timezone.utc)
    points = cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=as_dimensions(dimensions),
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum", "Maximum", "SampleCount"],
    )["Datapoints"]
    return [(point["Sum"], point["Maximum"], point["SampleCount"]) for point in points]


def embedded(namespace, **values):
    return json.dumps(
        {
            "_aws": {
                "Timestamp": int(time.time() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": namespace,
                        "Dimensions": [["Environment"], ["Environment", "Dataset"]],
                        "Metrics": [{"Name": "Rejected", "Unit": "Count"}],
                    }
                ],
            },
            "Environment": "dev",
            "Dataset": "products",
            **values,
        }
    )


def new_namespace():
    return f"Test/{uuid.uuid4().hex[:12]}"


def state(cloudwatch, name):
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return alarm["StateValue"]


def make_alarm(cloudwatch, namespace, **settings):
    name = f"alarm-{uuid.uuid4().hex[:12]}"
    cloudwatch.put_metric_alarm(
        **{
            "AlarmName": name,
            "Namespace": namespace,
            "MetricName": "Rejected",
            "Dimensions": as_dimensions({"Environment": "dev"}),
            "Statistic": "Maximum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 5,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            **settings,
        }
    )
    return name


def test_an_embedded_metric_that_a_lambda_prints_can_be_read(workshop, cloudwatch):
    namespace = new_namespace()
    name = workshop.function("def handler(event, context): print(event)")
    workshop.invoke(name, embedded(namespace, Rejected=[7, 3]))
    assert statistics(cloudwatch, namespace, "Rejected", Environment="dev") == [(10, 7, 2)]
    both = {"Environment": "dev", "Dataset": "products"}
    assert statistics(cloudwatch, namespace, "Rejected", **both) == [(10, 7, 2)]
    assert not statistics(cloudwatch, namespace, "Rejected", Dataset="products")


def test_an_embedded_metric_put_into_any_log_group_can_be_read(workshop, cloudwatch):
    namespace, group = new_namespace(), f"/group/{uuid.uuid4().hex}"
    workshop.logs.create_log_group(logGroupName=group)
    workshop.logs.create_log_stream(logGroupName=group, logStreamName="stream")
    lines = ['{"_aws": 1}', embedded(namespace), "no metric", embedded(namespace, Rejected=2)]
    now = int(time.time() * 1000)
    workshop.logs.put_log_events(
        logGroupName=group,
        logStreamName="stream",
        logEvents=[{"timestamp": now, "message": line} for line in lines],
    )
    assert statistics(cloudwatch, namespace, "Rejected", Environment="dev") == [(2, 2, 1)]
    data = cloudwatch.get_metric_data(
        StartTime=datetime.now(timezone.utc) - timedelta(minutes=5),
        EndTime=datetime.now(timezone.utc) + timedelta(minutes=1),
        MetricDataQueries=[
            {
                "Id": "m",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": "Rejected",
                        "Dimensions": as_dimensions({"Environment": "dev"}),
                    },
                    "Period": 3600,
                    "Stat": "Sum",
                },
            }
        ],
    )
    assert data["MetricDataResults"][0]["Values"] == [2]


def test_an_alarm_follows_an_embedded_metric_and_tells_its_topic(workshop, cloudwatch):
    namespace = new_namespace()
    sns = workshop.session.client("sns")
    topic = sns.create_topic(Name=f"topic-{uuid.uuid4().hex[:12]}")["TopicArn"]
    url, queue = workshop.queue()
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    workshop.session.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    name = make_alarm(cloudwatch, namespace, AlarmActions=[topic])
    assert state(cloudwatch, name) == "OK"
    function = workshop.function("def handler(event, context): print(event)")

    workshop.invoke(function, embedded(namespace, Rejected=6))

    assert state(cloudwatch, name) == "ALARM"
    message = json.loads(workshop.receive(url)["Message"])
    assert (message["AlarmName"], message["NewStateValue"]) == (name, "ALARM")


def test_an_alarm_looks_at_its_own_dimensions_only(cloudwatch):
    namespace = new_namespace()
    name = make_alarm(cloudwatch, namespace)

    def put(environment):
        datum = {"MetricName": "Rejected", "Value": 9, "Dimensions": as_dimensions(environment)}
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])

    put({"Environment": "qa"})
    put({})
    put({"Environment": "dev", "Dataset": "products"})
    assert state(cloudwatch, name) == "OK"
    put({"Environment": "dev"})
    assert state(cloudwatch, name) == "ALARM"


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        # values: one a period, newest first; None: no datapoint
        ([9], {}, "ALARM"),
        ([5], {}, "OK"),
        ([None], {}, "OK"),
        ([None], {"TreatMissingData": "missing"}, "INSUFFICIENT_DATA"),
        ([None], {"TreatMissingData": "breaching"}, "ALARM"),
        ([9, 1, 9], {"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, "ALARM"),
        ([9, 1, 1], {"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, "OK"),
        ([9, None, 9], {"EvaluationPeriods": 3}, "OK"),
        ([9, None, 9], {"EvaluationPeriods": 3, "TreatMissingData": "missing"}, "ALARM"),
        ([1, 9], {}, "OK"),
        ([4], {"ComparisonOperator": "LessThanThreshold"}, "ALARM"),
    ],
)
def test_an_alarm_counts_periods_as_aws_does(cloudwatch, values, settings, expected):
    namespace = new_namespace()
    now = time.time()
    for age, value in enumerate(values):
        if value is not None:
            datum = {
                "MetricName": "Rejected",
                "Value": value,
                "Dimensions": as_dimensions({"Environment": "dev"}),
                "Timestamp": now - 60 * age - 5,
            }
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])
    assert state(cloudwatch, make_alarm(cloudwatch, namespace, **settings)) == expected


def test_an_alarm_returns_without_another_datapoint(cloudwatch):
    namespace = new_namespace()
    name = make_alarm(cloudwatch, namespace)
    datum = {
        "MetricName": "Rejected",
        "Value": 9,
        "Dimensions": as_dimensions({"Environment": "dev"}),
        "Timestamp": time.time() - 57,
    }
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])
    assert state(cloudwatch, name) == "ALARM"
    wait_until(lambda: state(cloudwatch, name) == "OK", 15)


def test_a_message_in_a_queue_raises_its_alarm(workshop, cloudwatch):
    url, arn = workshop.queue()
    name = make_alarm(
        cloudwatch,
        "AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Dimensions=as_dimensions({"QueueName": arn.rsplit(":", 1)[-1]}),
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    workshop.session.client("sqs").send_message(QueueUrl=url, MessageBody="x")
    wait_until(lambda: state(cloudwatch, name) == "ALARM", 15)
