"""Sends the files that lie in the inbox to the trigger again: those whose event reached nobody, and
those whose run was stopped or ran out of time.

While the trigger's function or its alias is missing, EventBridge cannot deliver: it puts the event
into the dead-letter queue and does not try again, and what Lambda had queued for the function is
lost. Where the trigger that was live has failed on an event, Lambda leaves it there, too. A run
that is stopped from outside moves no file. The files themselves stay in the inbox. A run is known
by its file's content, so that a file whose run has begun meanwhile is not processed twice.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ops.environment import INBOX, LIVE, Environment, OperationError, command
from ops.release.switch import TRIGGER

SENT_AT_ONCE = 4
RECEIVED_AT_ONCE = 10  # the most that SQS takes
HIDDEN_SECONDS = 60

FileVersion = tuple[str, str]  # key, version id


def waiting(environment: Environment) -> list[FileVersion]:
    """Return every version of a file in the inbox, the oldest first: a run removes its own."""
    pages = environment.client("s3").get_paginator("list_object_versions")
    found = [
        version
        for page in pages.paginate(Bucket=environment.data_bucket, Prefix=INBOX)
        for version in page.get("Versions", [])
        if not version["Key"].endswith("/")
    ]
    found.sort(key=lambda version: version["LastModified"])
    return [(version["Key"], version["VersionId"]) for version in found]


def send(environment: Environment, file: FileVersion) -> str:
    """Give the trigger the event of a file; return the outcome. Raises OperationError."""
    key, version = file
    detail = {
        "bucket": {"name": environment.data_bucket},
        "object": {"key": key, "version-id": version},
    }
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    answer = environment.client("lambda").invoke(
        FunctionName=f"{environment.function(TRIGGER)}:{LIVE}", Payload=json.dumps(event).encode()
    )
    outcome = json.load(answer["Payload"])
    if "FunctionError" in answer:
        raise OperationError(f"s3://{environment.data_bucket}/{key}: {json.dumps(outcome)}")
    return outcome["outcome"]


def file_of(message: str) -> FileVersion | None:
    """Return the file that a dead letter is about; None where it is about none.

    EventBridge leaves the event itself there, Lambda a report with the event in it.
    """
    try:
        body = json.loads(message)
        created = body.get("requestPayload", body)["detail"]["object"]
        return created["key"], created["version-id"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def clear_dead_letters(environment: Environment, sent: set[FileVersion]) -> int:
    """Remove the dead letters about files that were sent; return how many. Others stay."""
    sqs = environment.client("sqs")
    queue = sqs.get_queue_url(QueueName=f"{environment.prefix}-trigger-dead-letters")["QueueUrl"]
    others: list[str] = []
    removed = 0
    for message in _received(sqs, queue):
        if file_of(message["Body"]) in sent:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            removed += 1
        else:
            others.append(message["ReceiptHandle"])
    for receipt in others:
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=0)
    return removed


def _received(sqs, queue: str) -> Iterator[dict[str, Any]]:
    while messages := sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=RECEIVED_AT_ONCE, VisibilityTimeout=HIDDEN_SECONDS
    ).get("Messages"):
        yield from messages


@command
def main() -> int:
    """Send what waits in the inbox of one environment; say what became of it."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.inbox", description=__doc__)
    parser.add_argument("--env", required=True)
    environment = Environment.load(parser.parse_args().env)
    files = waiting(environment)
    with ThreadPoolExecutor(SENT_AT_ONCE) as pool:
        outcomes = Counter(pool.map(lambda file: send(environment, file), files))
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(f"  files in the inbox: {told or 'none'}", file=sys.stderr)
    if removed := clear_dead_letters(environment, set(files)):
        print(f"  dead letters about them, removed: {removed}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
