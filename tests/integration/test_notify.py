"""make notify reaches those who get the alarms, word for word; make live names what there is."""

import subprocess

import pytest
from tests.conftest import REPOSITORY
from tests.queue_subscription import subscribed

TOPIC = "retail-pipeline-qa-alarms"


def run(aws, module, **variables):
    return subprocess.run(
        [REPOSITORY / ".venv/dev/bin/python", "-m", module, "--env", "qa"],
        env=aws.env | {"AWS_PROFILE": "qa"} | variables,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_the_message_arrives_as_it_was_written(local_aws):
    session = local_aws.session("qa")
    topic = session.client("sns").create_topic(Name=TOPIC)["TopicArn"]
    message = 'v1 failed: "it\'s" $(HOME) `x`\n' + "the second line " * 20
    try:
        with subscribed(session, topic, "notify-test") as told:
            done = run(local_aws, "ops.notify", MESSAGE=message)
            assert done.returncode == 0, done.stderr
            assert told() == [message.strip()]
    finally:
        session.client("sns").delete_topic(TopicArn=topic)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("", "MESSAGE is missing"),
        ("hello", f"there is no topic arn:aws:sns:us-east-1:222222222222:{TOPIC}"),
    ],
)
def test_what_tells_nobody_fails(local_aws, message, says):
    done = run(local_aws, "ops.notify", MESSAGE=message)
    assert done.returncode == 1
    assert says in done.stderr


def test_nothing_is_live_before_the_first_deploy(local_aws):
    done = run(local_aws, "ops.release.live")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
