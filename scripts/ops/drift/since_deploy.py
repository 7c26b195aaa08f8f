"""Says whether a deploy would find nothing to do: its release was deployed last, whole, and nothing
was changed by hand since."""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from ops.drift.detect import report
from ops.environment import Environment, command
from ops.release.deploys import DEPLOY, SUCCEEDED, UNCHANGED, Record, history

SOMETHING = 2  # the exit code


def was_last(records: list[Record], version: str, manifest_sha256: str) -> bool:
    """Return whether the last thing done, by the records, the newest first, deployed this release.

    After a rollback the stacks are of another release, after an interrupted deploy who knows.
    """
    last = next((found for found in records if found["result"] != UNCHANGED), None)
    return bool(
        last
        and (last["action"], last["result"]) == (DEPLOY, SUCCEEDED)
        and (last["to"], last["manifest_sha256"]) == (version, manifest_sha256)
    )


@command
def main() -> int:
    """Return 0 where there is nothing to do, 2 where there is; say what, on stderr."""
    parser = argparse.ArgumentParser(prog="python -m ops.drift.since_deploy", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--manifest-sha256", required=True)
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    if not was_last(history(environment), arguments.version, arguments.manifest_sha256):
        print("  it is live, but not what was done last", file=sys.stderr)
        return SOMETHING
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        return SOMETHING if report(environment, Path(folder)) else 0


if __name__ == "__main__":
    sys.exit(main())
