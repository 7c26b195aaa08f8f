"""One deployed environment for all end-to-end tests."""

import json
from collections.abc import Iterator

import pytest

from tests.checkout import copy_checkout
from tests.conftest import REPOSITORY
from tests.e2e.project import PREFIX, Project


@pytest.fixture(scope="session")
def project(local_aws) -> Project:
    """The checkout under test, deployed to dev."""
    project = Project(REPOSITORY, local_aws)
    deployed = project.make("deploy", "ENV=dev")
    assert deployed.returncode == 0, deployed.stderr
    return project


@pytest.fixture(scope="session")
def notifications(project) -> Iterator:
    """A function that returns every notification sent so far, as parsed JSON."""
    sqs, sns = project.client("sqs"), project.client("sns")
    queue = sqs.create_queue(QueueName="e2e-notifications")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    queue_arn = attributes["Attributes"]["QueueArn"]
    topic_arn = f"arn:aws:sns:us-east-1:111111111111:{PREFIX}-notifications"
    # Without it SNS drops every message, here as on AWS, and says so nowhere.
    topic_may_send = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
        },
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(topic_may_send)})
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn)
    seen: list[dict] = []

    def received() -> list[dict]:
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                seen.append(json.loads(json.loads(message["Body"])["Message"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return seen

    yield received
    sqs.delete_queue(QueueUrl=queue)


@pytest.fixture
def broken_copy(project, tmp_path) -> Project:
    """A clone of the checkout, with what is not committed, to break; against the same local AWS."""
    return Project(copy_checkout(tmp_path / "copy"), project.aws)
