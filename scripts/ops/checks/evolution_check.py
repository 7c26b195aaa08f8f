"""Holds the datasets' configuration against that of another commit: could the tables of that commit
take what the configuration says now? Needs no account; a deploy asks the tables themselves.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ops.build.version import REPOSITORY
from ops.config import known_environments, load_config, read_config
from ops.data.tables import evolution, tables
from ops.environment import OperationError, command


def faults(before: Path, after: Path) -> list[str]:
    """Return a sentence for each incompatible change between two config folders.

    A table that only one of them has is made or left alone, so it is no fault.
    """
    places: dict[str, list[str]] = {}  # a fault's environments
    for name in known_environments(after):
        if name not in known_environments(before):
            continue
        old = tables(read_config(name, (), before).values)
        new = tables(load_config(name, (), after).values)
        for table in old.keys() & new.keys():
            for fault in evolution(table, old[table], new[table]).faults:
                places.setdefault(fault, []).append(name)
    return sorted(f"{fault} in {', '.join(names)}" for fault, names in places.items())


def base() -> str:
    """Return the commit that this branch left its upstream at; HEAD where it has no upstream."""
    for command_line in (["merge-base", "HEAD", "@{upstream}"], ["rev-parse", "HEAD"]):
        done = _git(*command_line)
        if done.returncode == 0:
            return done.stdout.decode().strip()
    raise OperationError("this folder is no git repository with a commit; give BASE=<commit>")


def extract(commit: str, folder: Path) -> Path:
    """Write a commit's config folder into `folder` and return its path."""
    done = _git("archive", commit, "config")
    if done.returncode:
        raise OperationError(f"BASE={commit}: {done.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", folder], input=done.stdout, check=True)
    return folder / "config"


def _git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, check=False)


@command
def main() -> int:
    """Compare with the commit given by --base or the variable BASE; exit 1 for a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.checks.evolution_check", description=__doc__
    )
    parser.add_argument(
        "--base", default=os.environ.get("BASE", ""), help="default: the upstream's"
    )
    commit = parser.parse_args().base or base()
    with tempfile.TemporaryDirectory() as folder:
        found = faults(extract(commit, Path(folder)), REPOSITORY / "config")
    for fault in found:
        print(f"{fault} (since {commit[:12]})", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
