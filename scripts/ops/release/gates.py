"""What an environment demands of a release before it may be deployed there."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.build.manifest import read
from ops.environment import Environment, OperationError, command


def faults(environment: Environment, manifest: dict[str, Any]) -> Iterator[str]:
    """Yield why a release must not be deployed in the environment, each with what to do."""
    gates = environment.config["gates"]
    if manifest["dirty"] and not gates["dirty"]:
        yield (
            f"{manifest['version']} was built from changed sources, which {environment.name} does "
            "not take (gates.dirty): commit the changes and build again"
        )


@command
def main() -> int:
    """Refuse a release that its environment does not take, with all there is to say against it."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.gates", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("root", type=Path, help="the release's folder")
    arguments = parser.parse_args()
    found = list(faults(Environment.load(arguments.env), read(arguments.root)))
    if found:
        raise OperationError("\n".join(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
