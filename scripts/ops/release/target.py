"""What an operation must know before it starts: where it goes, as whom, and what is live there.

Refuses credentials of another account and another region than the environment's, and a caller who
would be refused something on the way.
"""

import argparse
import sys

import boto3

from ops.environment import Environment, OperationError, command
from ops.release.caller_permissions import require_permissions
from ops.release.canary import leftover
from ops.release.deploys import ACTIONS
from ops.release.live import live_release


def caller(environment: Environment) -> str:
    """Return the caller's ARN; raise OperationError for one of another account or region."""
    region = boto3.Session().region_name
    if region != environment.region:
        raise OperationError(
            f"the region is {region or 'not set'}; {environment.name} is configured for "
            f"{environment.region}"
        )
    return environment.caller()


@command
def main() -> int:
    """Print prefix, account, region, caller, strategy, live version, live release and what a killed
    canary has left, a line each."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.target", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument(
        "--to",
        choices=ACTIONS,
        help="what the caller must be allowed; default: to look is enough",
    )
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    who = caller(environment)
    if arguments.to:
        require_permissions(environment, who, arguments.to)
    live = live_release(environment)
    print(environment.prefix, environment.account_id, environment.region, who, sep="\n")
    print(environment.config["release"]["strategy"])
    print(live.version_arn if live else "", live.release if live else "", sep="\n")
    print(leftover(environment))
    return 0


if __name__ == "__main__":
    sys.exit(main())
