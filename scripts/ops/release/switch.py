"""Points live at a release: the alias of the state machine, then that of the trigger before it.

The state machine's alias is the switch. The trigger only starts executions of it, so between the
two updates the trigger of one release starts executions of another, whole ones. A deploy's switch
that fails gives everything back to what was live before, and so does a canary.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
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


class Returned(OperationError):
    """Everything goes to what was live before, again."""

    exit_code = 3  # scripts/lib/operation.sh knows it


def switch(
    environment: Environment,
    token: str,
    expected: str,
    target: Versions,
    or_give_back: bool = False,
) -> None:
    """Point both aliases at these versions; what is there already stays as it is.

    Raises OperationError when what is live is no longer `expected` (a version's ARN; empty: none),
    and Locked when the lock of this token is somebody else's by now.
    With `or_give_back` whatever else goes wrong, a Ctrl-C too, ends in Returned: else executions
    could stay switched and events not.
    """
    lock.renew(environment, token)
    found, trigger = routes(environment), event_routes(environment)[0]
    live = next(iter(found), "")
    if live != expected:
        raise OperationError(
            f"live is {live or 'nothing'} by now, and was {expected or 'nothing'}: start again"
        )
    try:
        if found != {target.state_machine: 100}:
            route_executions(environment, {target.state_machine: 100}, create=not found)
        route_events(environment, target.trigger)
    except (Exception, KeyboardInterrupt) as error:  # pylint: disable=broad-exception-caught
        if not or_give_back or not (live and trigger):
            raise
        reason = f"the switch was not made: {type(error).__name__}: {error}"
        permit = functools.partial(lock.renew, environment, token)
        give_back(environment, Versions(live, trigger), reason, permit)


def give_back(
    environment: Environment,
    before: Versions,
    reason: str,
    permit: Callable[[], None] = lambda: None,
) -> None:
    """Give everything back to what was live before; raise Returned with the reason for it.

    Raises OperationError where that fails. `permit` is asked first; where it raises Locked, the
    environment is somebody else's, and nothing is touched.
    """
    try:
        permit()
        return_to(environment, before)
    except lock.Locked:
        raise
    except Exception as error:
        raise OperationError(
            f"{reason}\nlive could NOT be returned ({type(error).__name__}: {error}): go back by: "
            f"make rollback ENV={environment.name}"
        ) from error
    raise Returned(f"{reason}\nreturned: everything goes to what was live before")


def return_to(environment: Environment, before: Versions) -> None:
    """Point both aliases at what was live before, events first (ops.release.canary says why)."""
    route_events(environment, before.trigger)
    if routes(environment) != {before.state_machine: 100}:
        route_executions(environment, {before.state_machine: 100})


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
    parser.add_argument("--or-give-back", action="store_true", help="where the switch fails")
    arguments = parser.parse_args()
    started = time.monotonic()
    target = Versions(
        arguments.state_machine_version_arn, arguments.trigger_version_arn.rpartition(":")[2]
    )
    environment = Environment.load(arguments.env)
    switch(environment, arguments.token, arguments.expected, target, arguments.or_give_back)
    print(f"  switched in {time.monotonic() - started:.2f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
