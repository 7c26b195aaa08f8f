"""The state machine's definitions and roles: of the version that is live, and the current ones."""

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import is_missing
from ops.drift.baseline import Baseline
from ops.drift.findings import Finding, compare, missing
from ops.environment import Environment
from ops.release.definition import PINNED, definition
from ops.release.live import routes, version_number
from ops.release.pins import pins
from ops.release.rollback import state_machine_versions


def findings(
    environment: Environment, baseline: Baseline, expected: dict[str, Any]
) -> Iterator[Finding]:
    """Yield where a definition or a role is not the release's.

    `expected` has the properties that the stack gives the state machine, as far as they are known.
    """
    live = next(iter(routes(environment)), baseline.state_machine_version_arn)
    yield from _live(environment, baseline, live, expected)
    yield from _current(environment)


def _live(
    environment: Environment, baseline: Baseline, arn: str, expected: dict[str, Any]
) -> Iterator[Finding]:
    where = f"state machine {environment.prefix}-etl version {version_number(arn)}, which is live"
    version = _describe(environment, arn)
    if version is None:
        yield missing(where)
        return
    yield from compare(f"{where}: release", baseline.release, version.get("description", ""))
    if "RoleArn" in expected:
        yield from compare(f"{where}: role", expected["RoleArn"], version["roleArn"])
    if baseline.live_root:
        # Which versions of functions it pins is for ops.drift.functions to judge, by their code.
        pinned = pins(version["definition"]).functions
        functions = {name: pinned.get(_function(environment, name), "none") for name in PINNED}
        released = definition(environment, baseline.live_root, functions)
        yield from compare(
            f"{where}: definition", json.loads(released), json.loads(version["definition"])
        )


def _current(environment: Environment) -> Iterator[Finding]:
    """The current definition is what the last deploy published: that of the newest version."""
    where = f"state machine {environment.prefix}-etl, current"
    current = _describe(environment, environment.state_machine_arn)
    newest = next(iter(state_machine_versions(environment)), None)
    if current is None or newest is None:
        return  # CloudFormation misses the one, the live version is missed above
    version = _describe(environment, newest)
    yield from compare(
        f"{where} definition", json.loads(version["definition"]), json.loads(current["definition"])
    )
    yield from compare(f"{where} role", version["roleArn"], current["roleArn"])


def _function(environment: Environment, name: str) -> str:
    return environment.function(name.replace("_", "-"))


def _describe(environment: Environment, arn: str) -> dict[str, Any] | None:
    try:
        return environment.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    except ClientError as error:
        if not is_missing(error):
            raise
        return None
