"""The watermark of each dataset: the latest day that was loaded, and the latest arrival.

A load moves it on in its own transaction, so it never tells of rows that are not there. A file of
an earlier day is late: it is loaded, and load_history says so. `make replay` without FROM goes on
from here, which is what a warehouse needs that was restored from a backup.
"""

import argparse
import csv
import os
import sys
from dataclasses import dataclass
from datetime import date

from ops.data.warehouse import LIVE_SCHEMA, Warehouse
from ops.datasets import WATERMARK
from ops.environment import Environment, OperationError, command

TABLE = f"{LIVE_SCHEMA}.{WATERMARK}"
COLUMNS = ("dataset", "run_date", "arrived_at", "run_id", "changed_at")
SET_BY_HAND = "set by hand"


@dataclass(frozen=True)
class Watermark:
    """How far a dataset is; `arrived_at` is None where a person has set it."""

    run_date: date
    arrived_at: str | None


def read_watermark(warehouse: Warehouse, dataset: str) -> Watermark | None:
    """Return a dataset's watermark, None where it has none."""
    sql = f"SELECT run_date, arrived_at FROM {TABLE} WHERE dataset = '{dataset}'"
    rows = list(warehouse.run(sql).rows)
    return Watermark(date.fromisoformat(rows[0][0]), rows[0][1]) if rows else None


def change(warehouse: Warehouse, dataset: str, day: date | None) -> None:
    """Set a dataset's watermark to a day; None takes it away."""
    statements = [
        f"LOCK TABLE {TABLE}",
        f"DELETE FROM {TABLE} WHERE dataset = '{dataset}'",
    ]
    if day:
        statements.append(
            f"INSERT INTO {TABLE} (dataset, run_date, run_id, changed_at) "
            f"VALUES ('{dataset}', CAST('{day}' AS DATE), '{SET_BY_HAND}', GETDATE())"
        )
    warehouse.run_all(statements)


@command
def main() -> int:
    """Show the watermarks as CSV, after setting or resetting one."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.watermark", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--dataset", default=os.environ.get("DATASET", ""), help="default: all")
    parser.add_argument("--set", default=os.environ.get("WATERMARK", ""), help="a day, YYYY-MM-DD")
    parser.add_argument("--reset", default=os.environ.get("RESET", ""), help="1: take it away")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    if arguments.dataset:
        environment.dataset(arguments.dataset)
    if arguments.set and arguments.reset:
        raise OperationError("SET and RESET: give one of them")
    if (arguments.set or arguments.reset) and not arguments.dataset:
        raise OperationError("DATASET is missing: a watermark is one dataset's")
    if arguments.reset not in ("", "1"):
        raise OperationError(f"RESET={arguments.reset}: RESET=1 takes the watermark away")
    try:
        day = date.fromisoformat(arguments.set) if arguments.set else None
    except ValueError as error:
        raise OperationError(f"SET={arguments.set}: expected a day as YYYY-MM-DD") from error
    warehouse = Warehouse(environment)
    if day or arguments.reset:
        change(warehouse, arguments.dataset, day)
    where = f" WHERE dataset = '{arguments.dataset}'" if arguments.dataset else ""
    shown = warehouse.run(f"SELECT {', '.join(COLUMNS)} FROM {TABLE}{where} ORDER BY dataset")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(shown.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
