"""Points live at a release: the alias of the state machine, then that of the trigger before it.

The state machine's alias is the switch. The trigger only starts executions of it, so between the
two updates the trigger of one release starts executions of another, whole ones.
"""

import argparse
import sys
import time

from ops.environment import LIVE, Environment, OperationError, command
from ops.release.live import routes

TRIGGER = "trigger-etl"


def switch(environment: Environment, expected: str, state_machine: str, trigger: str) -> None:
    """Point both aliases at these versions; what is there already stays as it is.

    Raises OperationError when what is live is no longer `expected` (a version's ARN; empty: none).
    """
    found = routes(environment)
    live = next(iter(found), "")
    if live != expected:
        raise OperationError(
            f"live is {live or 'nothing'} by now, and was {expected or 'nothing'}: start again"
        )
    if found != {state_machine: 100}:
        _route(environment, {state_machine: 100}, create=not found)
    _point_trigger(environment, trigger.rpartition(":")[2])


def _route(environment: Environment, weights: dict[str, int], create: bool) -> None:
    client = environment.client("stepfunctions")
    routing = [
        {"stateMachineVersionArn": version, "weight": weight} for version, weight in weights.items()
    ]
    if create:
        client.create_state_machine_alias(name=LIVE, routingConfiguration=routing)
    else:
        client.update_state_machine_alias(
            stateMachineAliasArn=f"{environment.state_machine_arn}:{LIVE}",
            routingConfiguration=routing,
        )


def _point_trigger(environment: Environment, version: str) -> None:
    client, function = environment.client("lambda"), environment.function(TRIGGER)
    alias = client.get_alias(FunctionName=function, Name=LIVE)
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights")
    if alias["FunctionVersion"] != version or weights:
        client.update_alias(
            FunctionName=function,
            Name=LIVE,
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": {}},
        )


@command
def main() -> int:
    """Point live at one release."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.switch", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--expected", required=True, help="the version that is live; empty: none")
    parser.add_argument("--state-machine-version-arn", required=True)
    parser.add_argument("--trigger-version-arn", required=True)
    arguments = parser.parse_args()
    started = time.monotonic()
    switch(
        Environment.load(arguments.env),
        arguments.expected,
        arguments.state_machine_version_arn,
        arguments.trigger_version_arn,
    )
    print(f"  switched in {time.monotonic() - started:.2f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
