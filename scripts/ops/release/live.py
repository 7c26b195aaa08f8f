"""What is live: where the state machine's alias routes executions."""

import argparse
import sys
from dataclasses import dataclass

from botocore.exceptions import ClientError

from ops.environment import LIVE, Environment, command
from ops.release.pins import pins

# What a version is that somebody has published by hand, without a release's name.
NO_RELEASE = "no-release"


@dataclass(frozen=True)
class LiveRelease:
    """A release that the alias routes to, its state machine version and the code it pins."""

    release: str
    version_arn: str
    functions: list[str]  # name:version


def routes(environment: Environment) -> dict[str, int]:
    """Return the percentage of executions that each version gets, what is live before a canary.

    The canary of a release has half at most; where both have half, the older version is live.
    Empty where there is no alias yet.
    """
    try:
        alias = environment.client("stepfunctions").describe_state_machine_alias(
            stateMachineAliasArn=f"{environment.state_machine_arn}:{LIVE}"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ResourceNotFound", "StateMachineDoesNotExist"):
            raise
        return {}
    weights = {
        route["stateMachineVersionArn"]: route["weight"]
        for route in alias["routingConfiguration"]
        if route["weight"]
    }
    return dict(sorted(weights.items(), key=lambda route: (-route[1], version_number(route[0]))))


def version_number(version_arn: str) -> int:
    """Return the number at the end of a version's ARN."""
    return int(version_arn.rpartition(":")[2])


def describe(environment: Environment, version_arn: str) -> LiveRelease:
    """Return the release that a version of the state machine is."""
    machine = environment.client("stepfunctions").describe_state_machine(
        stateMachineArn=version_arn
    )
    functions = [
        f"{name.removeprefix(environment.prefix + '-')}:{version_number(arn)}"
        for name, arn in pins(machine["definition"]).functions.items()
    ]
    return LiveRelease(machine.get("description") or NO_RELEASE, version_arn, functions)


def live_release(environment: Environment) -> LiveRelease | None:
    """Return the live release, None where there is none yet."""
    versions = list(routes(environment))
    return describe(environment, versions[0]) if versions else None


@command
def main() -> int:
    """Print the names of the releases that have traffic, a line each: what is live, then its
    canary; nothing where none is live yet."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.live", description=__doc__)
    parser.add_argument("--env", required=True)
    environment = Environment.load(parser.parse_args().env)
    for version in routes(environment):
        print(describe(environment, version).release)
    return 0


if __name__ == "__main__":
    sys.exit(main())
