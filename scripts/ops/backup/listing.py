"""The backups of an environment: shown, or pruned to as many as release.keep_backups says.

The one that the last deploy made always stays: it is the way back from it.
"""

import argparse
import sys

from rich.table import Table

from ops.backup import store
from ops.backup.store import Index
from ops.environment import Environment, command
from ops.release.deploys import DEPLOY, Record, history
from ops.release.status import console


def table(indexes: list[Index]) -> Table:
    """Return the backups, the newest first."""
    shown = Table(box=None, pad_edge=False)
    # An id that is cut cannot be typed.
    shown.add_column("backup", min_width=max((len(index.id) for index in indexes), default=0))
    shown.add_column("made (UTC)", min_width=len("2017-01-15 06:30"))
    for heading in ("release", "for"):
        shown.add_column(heading, overflow="fold")
    shown.add_column("by", min_width=len("user/admin"), overflow="fold")
    shown.add_column("bytes", justify="right", min_width=len("1000000"))
    for index in indexes:
        shown.add_row(
            index.id,
            index.made[:16].replace("T", " "),
            index.release,
            index.command,
            index.who.rpartition(":")[2],
            str(index.size),
        )
    return shown


def doomed(indexes: list[Index], records: list[Record], keep: int) -> list[str]:
    """Return of these backups, the newest first, the ids that go.

    Those that lack something are not counted: as many whole ones stay as are to be kept.
    """
    whole = [index.id for index in indexes if not index.lacks]
    last_deploys = next(
        (
            record["backup"]
            for record in records
            if record.get("action") == DEPLOY and record.get("backup")
        ),
        "",
    )
    kept = {*whole[:keep], last_deploys}
    oldest = min(whole[:keep], default="")
    # One that lacks something stays as long as it is newer than the oldest of the kept.
    return [index.id for index in indexes if index.id not in kept and index.id < oldest]


def prune(environment: Environment) -> list[str]:
    """Remove the backups that are too many; return their ids."""
    keep = environment.config["release"]["keep_backups"]
    gone = doomed(store.indexes(environment)[0], history(environment), keep)
    for backup_id in gone:
        store.remove(environment, backup_id)
    return gone


@command
def main() -> int:
    """Show the backups of one environment on stdout, or prune them."""
    parser = argparse.ArgumentParser(prog="python -m ops.backup.listing", description=__doc__)
    parser.add_argument("action", choices=("show", "prune"))
    parser.add_argument("--env", required=True)
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    environment.require_deployed()
    if arguments.action == "show":
        found, faults = store.indexes(environment)
        out = console()
        out.print(table(found))
        for index in found:
            if index.lacks:
                out.print(f"{index.id} is not whole: it lacks {', '.join(index.lacks)}")
        print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
        return 0
    for backup_id in prune(environment):
        print(f"  backup {backup_id} removed", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
