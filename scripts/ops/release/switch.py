"""Points live at a release: the alias of the state machine, then that of the trigger before it.

The state machine's alias is the switch. The trigger only starts executions of it, so between the
two updates the trigger of one release starts executions of another, whole ones.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from datetime import datetime

from ops.aws import or_none
from ops.environment import LIVE, Environment, OperationError, command
from ops.release import lock
from ops.release.live import routes

TRIGGER = "trigger-etl"


@dataclass(frozen=True)
class Versions:
    """What live points at for one release."""

    state_machine: str  # the version's ARN
    trigger: str  # the version's number


def switch(environment: Environment, token: str, expected: str, target: Versions) -> None:
    """Point both aliases at these versions; what is there already stays as it is.

    Raises OperationError when what is live is no longer `expected` (a version's ARN; empty: none),
    and Locked when the lock of this token is somebody else's by now.
    """
    lock.renew(environment, token)
    found = routes(environment)
    live = next(iter(found), "")
    if live != expected:
        raise OperationError(
            f"live is {live or 'nothing'} by now, and was {expected or 'nothing'}: start again"
        )
    if found != {target.state_machine: 100}:
        route_executions(environment, {target.state_machine: 100}, create=not found)
    route_events(environment, target.trigger)


def route_executions(
    environment: Environment, weights: dict[str, int], create: bool = False
) -> datetime:
    """Route executions to state machine versions by percent; return when that was, by AWS."""
    client = environment.client("stepfunctions")
    routing = [
        {"stateMachineVersionArn": version, "weight": weight} for version, weight in weights.items()
    ]
    if create:
        answer = client.create_state_machine_alias(name=LIVE, routingConfiguration=routing)
        return answer["creationDate"]
    return client.update_state_machine_alias(
        stateMachineAliasArn=f"{environment.state_machine_arn}:{LIVE}",
        routingConfiguration=routing,
    )["updateDate"]


def event_routes(environment: Environment) -> tuple[str, dict[str, float]]:
    """Return the trigger's version, and the share that another one has of its events (0 to 1).

    No version where there is no alias, which only a restore finds (ops.backup.restore).
    """
    alias = or_none(
        environment.client("lambda").get_alias,
        FunctionName=environment.function(TRIGGER),
        Name=LIVE,
    )
    if alias is None:
        return "", {}
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights") or {}
    return alias["FunctionVersion"], weights


def route_events(
    environment: Environment, version: str, other: dict[str, float] | None = None
) -> None:
    """Route events to a version of the trigger, all but the share of an `other`."""
    other = other or {}
    found, function = event_routes(environment), environment.function(TRIGGER)
    if not found[0]:
        environment.client("lambda").create_alias(
            FunctionName=function, Name=LIVE, FunctionVersion=version
        )
    elif found != (version, other):
        environment.client("lambda").update_alias(
            FunctionName=function,
            Name=LIVE,
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": other},
        )


@command
def main() -> int:
    """Point live at one release."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.switch", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--token", required=True, help="of the lock that the caller holds")
    parser.add_argument("--expected", required=True, help="the version that is live; empty: none")
    parser.add_argument("--state-machine-version-arn", required=True)
    parser.add_argument("--trigger-version-arn", required=True)
    arguments = parser.parse_args()
    started = time.monotonic()
    target = Versions(
        arguments.state_machine_version_arn, arguments.trigger_version_arn.rpartition(":")[2]
    )
    switch(Environment.load(arguments.env), arguments.token, arguments.expected, target)
    print(f"  switched in {time.monotonic() - started:.2f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
