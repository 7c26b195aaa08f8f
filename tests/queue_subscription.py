"""What a topic says, kept in a queue of the tests' own."""

import contextlib
import json
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def subscribed(session, topic_arn: str, queue_name: str) -> Iterator[Callable[[], list[str]]]:
    """Give a function that returns every message that the topic has sent since, the oldest first.

    `session` is a boto3 session of the topic's account.
    """
    sqs, sns = session.client("sqs"), session.client("sns")
    queue = sqs.create_queue(QueueName=queue_name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    queue_arn = attributes["Attributes"]["QueueArn"]
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
    seen: list[str] = []

    def received() -> list[str]:
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                seen.append(json.loads(message["Body"])["Message"])
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return seen

    try:
        yield received
    finally:
        sqs.delete_queue(QueueUrl=queue)
