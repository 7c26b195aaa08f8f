"""Roles, functions and queues of the dev account, for the tests of localaws."""

import io
import json
import time
import uuid
import zipfile

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
LOGS = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}


def archive(files: dict[str, str]) -> bytes:
    """Return a zip with these texts."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        for name, text in files.items():
            opened.writestr(name, text)
    return content.getvalue()


def wait_until(found, seconds=10):
    """Return the first true value of ``found()``; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return value


class Workshop:
    """Makes things in one account, each with a name of its own, and calls them."""

    def __init__(self, session):
        self.session = session
        self.iam = session.client("iam")
        self.lambda_ = session.client("lambda")
        self.logs = session.client("logs")

    def role(self, *statements, trust=None) -> str:
        """Make a role with these policy statements (default: logs); return its ARN."""
        name = f"role-{uuid.uuid4().hex[:12]}"
        arn = self.iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps(trust or TRUST)
        )["Role"]["Arn"]
        policy = {"Version": "2012-10-17", "Statement": list(statements) or [LOGS]}
        self.iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
        return arn

    def bucket(self) -> str:
        """Make a bucket; return its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.session.client("s3").create_bucket(Bucket=name)
        return name

    def queue(self, **attributes) -> tuple[str, str]:
        """Make a queue; return its URL and ARN."""
        sqs = self.session.client("sqs")
        name = f"queue-{uuid.uuid4().hex[:12]}"
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, answer["Attributes"]["QueueArn"]

    def receive(self, url: str, seconds=10) -> dict:
        """Wait for one message; return its body, parsed."""
        sqs = self.session.client("sqs")
        (message,) = wait_until(
            lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"), seconds
        )
        return json.loads(message["Body"])

    def function(self, code: str, role=None, **settings) -> str:
        """Make a function whose module app.py has this code; return its name."""
        name = f"function-{uuid.uuid4().hex[:12]}"
        self.lambda_.create_function(
            **{
                "FunctionName": name,
                "Runtime": "python3.11",
                "Handler": "app.handler",
                "Role": role or self.role(),
                "Code": {"ZipFile": archive({"app.py": code})},
                **settings,
            }
        )
        return name

    def invoke(self, name: str, event=None, **settings):
        """Return (the answer, its FunctionError or None)."""
        answer = self.lambda_.invoke(
            FunctionName=name, Payload=json.dumps(event or {}).encode(), **settings
        )
        return json.load(answer["Payload"]), answer.get("FunctionError")

    def messages(self, group: str) -> list[str]:
        """Return all that the log group holds."""
        try:
            events = self.logs.filter_log_events(logGroupName=group)["events"]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in events]
