"""Shows how an environment came to be what it is, and where it can go back to."""

import argparse
import sys
from collections.abc import Iterator

from rich.table import Table

from ops.environment import Environment, command
from ops.release.deploys import Record, before, history
from ops.release.live import live_release
from ops.release.rollback import kept_releases
from ops.release.status import console

SHOWN_DEPLOYS = 15


def deploys_table(records: list[Record]) -> Table:
    """Return the latest deploys and rollbacks, the newest first."""
    table = Table("started (UTC)", "action", "from", "to", "result", box=None, pad_edge=False)
    table.add_column("seconds", justify="right")
    table.add_column("by")
    for record in records[:SHOWN_DEPLOYS]:
        table.add_row(
            record["started"],
            " ".join(filter(None, (record.get(key) for key in ("action", "part", "strategy")))),
            record["from"],
            record["to"],
            record["result"],
            str(record["seconds"]),
            record["who"].rpartition(":")[2],
        )
    return table


def releases_table(environment: Environment, records: list[Record]) -> Table:
    """Return the releases that live can be pointed at, the one that was live last first."""
    live = live_release(environment)
    earlier = before(live.release, records) if live else None
    table = Table("release", "state machine", "trigger", "", box=None, pad_edge=False)
    for record in kept_releases(environment, records):
        marks = {live.release: "live"} if live else {}
        if earlier:
            marks.setdefault(earlier["to"], "previous")
        table.add_row(
            record["to"],
            record["live"]["state_machine_version_arn"].rpartition(":")[2],
            record["live"]["trigger_version_arn"].rpartition(":")[2],
            marks.get(record["to"], ""),
        )
    return table


def sections(environment: Environment) -> Iterator[tuple[str, Table]]:
    """Yield each table under its heading."""
    records = history(environment)
    yield "deploys", deploys_table(records)
    yield f"kept releases: make rollback ENV={environment.name} TO=<release>", releases_table(
        environment, records
    )


@command
def main() -> int:
    """Show one environment's history on stdout."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.history", description=__doc__)
    parser.add_argument("--env", required=True)
    environment = Environment.load(parser.parse_args().env)
    environment.require_deployed()
    out = console()
    for heading, table in sections(environment):
        out.print(heading, table, "", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
