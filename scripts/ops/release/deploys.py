"""The records of deploys, rollbacks and restores: who changed what, when, from what, how it ended.

One JSON object each, deploys/<start>-<version>.json in the environment's artifact bucket. It is
written when the lock is taken, with the result "running", and again at the end. Where there was no
end, because the command was killed, "running" stays; it reads as "interrupted" once the lock is no
longer held for it. Where only a part of a deploy was run, `part` says which; one that has come to
its end without switching live has the result "prepared": nothing is gone back to because of it.
"""

import argparse
import json
import sys
from typing import Any

from ops.environment import Environment, command
from ops.release import lock

PREFIX = "deploys/"
RUNNING = "running"
INTERRUPTED = "interrupted"
SUCCEEDED = "succeeded"
UNCHANGED = "unchanged"  # a deploy that found nothing to do
ACTIONS = DEPLOY, ROLLBACK, RESTORE = "deploy", "rollback", "restore"

Record = dict[str, Any]


def record(environment: Environment, deploy: Record) -> str:
    """Write the record of a deploy over what it had before; return its address."""
    started = deploy["started"].replace("-", "").replace(":", "")
    key = f"{PREFIX}{started}-{deploy['to']}.json"
    environment.client("s3").put_object(
        Bucket=environment.artifact_bucket,
        Key=key,
        Body=json.dumps(deploy).encode() + b"\n",
        ContentType="application/json",
    )
    return f"s3://{environment.artifact_bucket}/{key}"


def history(environment: Environment, count: int | None = None) -> list[Record]:
    """Return the latest records, all unless told how many, the newest first."""
    client, bucket = environment.client("s3"), environment.artifact_bucket
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
    keys = sorted(
        (item["Key"] for page in pages for item in page.get("Contents", [])), reverse=True
    )
    records = [json.load(client.get_object(Bucket=bucket, Key=key)["Body"]) for key in keys[:count]]
    if any(found["result"] == RUNNING for found in records):
        held = lock.holder(environment)
        records = [_as_it_is(found, held.token if held else "") for found in records]
    return records


def _as_it_is(found: Record, held_token: str) -> Record:
    """Return a record that says "running" only where its lock is held."""
    if found["result"] == RUNNING and found["lock"] != held_token:
        return found | {"result": INTERRUPTED}
    return found


def before(live: str, records: list[Record]) -> Record | None:
    """Return of these records, the newest first, the one to go back to from the release `live`.

    None where nothing was live before. What a rollback has left behind is not counted: a second
    rollback goes one further back.
    """
    line: list[Record] = []
    for found in reversed(records):
        # A command that was killed after it had switched has no "succeeded", yet what it switched
        # to is live.
        if found["result"] == SUCCEEDED or (found is records[0] and found["to"] == live):
            line = _arrived(line, found)
    names = [found["to"] for found in line]
    if live not in names:  # it was not made live by a command of ours
        return line[-1] if line else None
    last = len(names) - 1 - names[::-1].index(live)
    return line[last - 1] if last else None


def _arrived(line: list[Record], found: Record) -> list[Record]:
    """Return the line of releases after one more: a deploy goes on, a rollback goes back."""
    names = [other["to"] for other in line]
    if names and names[-1] == found["to"]:
        return line[:-1] + [found] if found["result"] == SUCCEEDED else line
    if found["action"] != DEPLOY and found["to"] in names:
        return line[: names.index(found["to"])] + [found]
    return line + [found]


def _phase(text: str) -> dict[str, Any]:
    name, seconds = text.split("=")
    return {"phase": name, "seconds": float(seconds)}


@command
def main() -> int:
    """Write the record of one deploy or rollback."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.deploys", description=__doc__)
    parser.add_argument("--env", dest="environment", required=True)
    parser.add_argument("--action", choices=ACTIONS, required=True)
    parser.add_argument("--part", default="", help="the part of a deploy; empty: all of it")
    parser.add_argument("--strategy", default="", help="how the switch is made")
    parser.add_argument("--who", required=True, help="the caller's ARN")
    parser.add_argument("--started", required=True, help="UTC, as 2017-01-15T06:30:00.000Z")
    parser.add_argument("--from", default="", help="the release that was live")
    parser.add_argument("--to", required=True, help="the release that is to be live")
    parser.add_argument(
        "--result",
        required=True,
        help="running, succeeded, prepared, unchanged, or where it failed",
    )
    parser.add_argument("--reason", default="", help="why it failed")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--lock", default="", help="the token of the lock that it holds")
    parser.add_argument("--state-machine-version-arn", default="", help="live after the switch")
    parser.add_argument("--trigger-version-arn", default="", help="live after the switch")
    parser.add_argument("--manifest-sha256", default="")
    parser.add_argument("--backup", default="", help="the one that was made, or restored")
    parser.add_argument("phases", nargs="*", type=_phase, metavar="PHASE=SECONDS")
    deploy = vars(parser.parse_args())
    names = ("state_machine_version_arn", "trigger_version_arn")
    deploy["live"] = {name: deploy.pop(name) for name in names}
    print(f"  {record(Environment.load(deploy['environment']), deploy)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
