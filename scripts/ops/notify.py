"""Tells those who get an environment's alarms what a person should know."""

import argparse
import os
import sys

from ops.environment import Environment, OperationError, command

TOPIC = "alarms"
MAX_SUBJECT = 100  # characters that SNS takes, of one line


@command
def main() -> int:
    """Publish the message given by --message or the variable MESSAGE."""
    parser = argparse.ArgumentParser(prog="python -m ops.notify", description=__doc__)
    parser.add_argument("--env", required=True)
    # From the environment, so that whatever it quotes need not survive another shell.
    parser.add_argument(
        "--message", default=os.environ.get("MESSAGE", ""), help="default: the variable MESSAGE"
    )
    arguments = parser.parse_args()
    message = arguments.message.strip()
    if not message:
        raise OperationError(
            f'MESSAGE is missing; try: make notify ENV={arguments.env} MESSAGE="..."'
        )
    environment = Environment.load(arguments.env)
    topic = (
        f"arn:aws:sns:{environment.region}:{environment.account_id}:{environment.prefix}-{TOPIC}"
    )
    client = environment.client("sns")
    try:
        client.publish(
            TopicArn=topic,
            Subject=f"{environment.prefix}: {message.splitlines()[0]}"[:MAX_SUBJECT],
            Message=message,
        )
    except client.exceptions.NotFoundException as error:
        raise OperationError(
            f"nobody can be told: there is no topic {topic}; make deploy ENV={environment.name} "
            "makes it"
        ) from error
    print(f"notify: told {topic}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
