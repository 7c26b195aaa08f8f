"""The records of deploys: who deployed what, when, from what, how long each phase took, how it
ended.

One JSON object a deploy, deploys/<start>-<version>.json in the environment's artifact bucket.
"""

import argparse
import json
import sys
from typing import Any

from ops.environment import Environment, command

PREFIX = "deploys/"


def record(environment: Environment, deploy: dict[str, Any]) -> str:
    """Write the record of a deploy; return its address."""
    started = deploy["started"].replace("-", "").replace(":", "")
    key = f"{PREFIX}{started}-{deploy['to']}.json"
    environment.client("s3").put_object(
        Bucket=environment.artifact_bucket,
        Key=key,
        Body=json.dumps(deploy).encode() + b"\n",
        ContentType="application/json",
    )
    return f"s3://{environment.artifact_bucket}/{key}"


def recent(environment: Environment, count: int) -> list[dict[str, Any]]:
    """Return the latest deploys, the newest first."""
    client, bucket = environment.client("s3"), environment.artifact_bucket
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
    keys = sorted(
        (item["Key"] for page in pages for item in page.get("Contents", [])), reverse=True
    )
    return [json.load(client.get_object(Bucket=bucket, Key=key)["Body"]) for key in keys[:count]]


def _phase(text: str) -> dict[str, Any]:
    name, seconds = text.split("=")
    return {"phase": name, "seconds": float(seconds)}


@command
def main() -> int:
    """Record one deploy."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.deploys", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--who", required=True, help="the caller's ARN")
    parser.add_argument("--started", required=True, help="UTC, as 2017-01-15T06:30:00Z")
    parser.add_argument("--from", dest="from_", default="", help="the release that was live")
    parser.add_argument("--to", required=True, help="the release that was deployed")
    parser.add_argument("--result", required=True, help="succeeded, or the phase that failed")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("phases", nargs="*", type=_phase, metavar="PHASE=SECONDS")
    arguments = vars(parser.parse_args())
    environment = Environment.load(arguments.pop("env"))
    deploy = {"environment": environment.name} | arguments
    deploy["from"] = deploy.pop("from_")
    print(record(environment, deploy), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
