"""Chooses the release that a rollback points live at; refuses it unless all it calls is there."""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import CALLS_AT_ONCE, is_missing
from ops.environment import LIVE, Environment, OperationError, command
from ops.release.deploys import SUCCEEDED, Record, before, history
from ops.release.live import live_release, routes
from ops.release.pins import pins
from ops.release.switch import TRIGGER


def choose(environment: Environment, version: str) -> Record:
    """Return the record of the release to go back to: `version`, or else the previous one.

    Raises OperationError that names the releases that are kept.
    """
    records = history(environment)
    kept = kept_releases(environment, records)
    if not version:
        version = _previous(environment, records)
        if not version:
            raise OperationError(f"no release was live before the one that is; {_named(kept)}")
    target = next((record for record in kept if record["to"] == version), None)
    if target is None:
        raise OperationError(f"{version} is not kept in {environment.name}; {_named(kept)}")
    return target


def _previous(environment: Environment, records: list[Record]) -> str:
    live = live_release(environment)
    if live and len(routes(environment)) > 1:  # a killed canary: blue is what was before it
        return live.release
    earlier = before(live.release, records) if live else None
    return earlier["to"] if earlier else ""


def _named(kept: list[Record]) -> str:
    return f"kept are: {', '.join(record['to'] for record in kept) or 'none'}"


def kept_releases(environment: Environment, records: list[Record]) -> list[Record]:
    """Return of each release whose state machine version is there the last record, newest first.

    A state machine that was deleted and restored counts its versions anew, so a version of the
    number on record is that release only if it says so.
    """
    there = _releases_of_versions(environment)
    newest: dict[str, Record] = {}
    for record in records:
        if record["result"] == SUCCEEDED and record["to"] not in newest:
            newest[record["to"]] = record
    return [
        record
        for record in newest.values()
        if there.get(record.get("live", {}).get("state_machine_version_arn")) == record["to"]
    ]


def _releases_of_versions(environment: Environment) -> dict[str, str]:
    client, arns = environment.client("stepfunctions"), state_machine_versions(environment)
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        found = pool.map(lambda arn: client.describe_state_machine(stateMachineArn=arn), arns)
        return {arn: version.get("description", "") for arn, version in zip(arns, found)}


def state_machine_versions(environment: Environment) -> list[str]:
    """Return the ARNs of the state machine's versions, the newest first."""
    client, found = environment.client("stepfunctions"), []
    request = {"stateMachineArn": environment.state_machine_arn}
    try:
        while True:
            answer = client.list_state_machine_versions(**request)
            found += [item["stateMachineVersionArn"] for item in answer["stateMachineVersions"]]
            if not answer.get("nextToken"):
                return found
            request["nextToken"] = answer["nextToken"]
    except ClientError as error:
        if not is_missing(error):
            raise
        return []


def lacks(environment: Environment, target: Record) -> list[str]:
    """Return what the release calls and is not there."""
    states, functions, s3, glue = (
        environment.client(name) for name in ("stepfunctions", "lambda", "s3", "glue")
    )
    version = target["live"]["state_machine_version_arn"]
    try:
        definition = states.describe_state_machine(stateMachineArn=version)["definition"]
    except ClientError as error:
        if not is_missing(error):
            raise
        return [f"state machine version {version.rpartition('stateMachine:')[2]}"]
    pinned = pins(definition)
    trigger = target["live"]["trigger_version_arn"]
    checks: list[tuple[str, Callable[..., Any], dict[str, str]]] = [
        (
            f"function version {arn.rpartition('function:')[2]}",
            functions.get_function_configuration,
            {"FunctionName": arn},
        )
        for arn in (*pinned.functions.values(), trigger)
    ]
    alias = {"FunctionName": environment.function(TRIGGER), "Name": LIVE}
    checks.append((f"alias {LIVE} of {environment.function(TRIGGER)}", functions.get_alias, alias))
    checks += [
        (f"s3://{bucket}/{key}", s3.head_object, {"Bucket": bucket, "Key": key})
        for bucket, key in pinned.objects
    ]
    checks += [(f"Glue job {name}", glue.get_job, {"JobName": name}) for name in pinned.jobs]

    def is_there(check: tuple[str, Callable[..., Any], dict[str, str]]) -> bool:
        _, read, arguments = check
        try:
            read(**arguments)
        except ClientError as error:
            if not is_missing(error):
                raise
            return False
        return True

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        return [what for (what, *_), there in zip(checks, pool.map(is_there, checks)) if not there]


def plan(environment: Environment, version: str) -> Record:
    """Return the record to go back to; raise OperationError where a part of it is missing."""
    target = choose(environment, version)
    if absent := lacks(environment, target):
        raise OperationError(
            f"{target['to']} cannot be gone back to by alias: there is no {', no '.join(absent)}. "
            f"Deploy it again instead: make deploy ENV={environment.name} VERSION={target['to']}"
        )
    return target


@command
def main() -> int:
    """Print the release to go back to: name, both versions, the manifest's SHA-256; a line each."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.rollback", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--to", default="", help="default: the previous release")
    arguments = parser.parse_args()
    target = plan(Environment.load(arguments.env), arguments.to)
    live = target["live"]
    print(target["to"], live["state_machine_version_arn"], live["trigger_version_arn"], sep="\n")
    print(target["manifest_sha256"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
