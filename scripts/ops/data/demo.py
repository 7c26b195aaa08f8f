"""Seven days of a grocer's purchases, one file at a time, through the pipeline that is live."""

import argparse
import os
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

from rich.table import Table

from ops.environment import Environment, OperationError, command
from ops.data.feed import ALREADY_LOADED, NOT_LOADED, Delivery, Progress, deliver, report
from ops.data.real_feed import FIRST_DAY, PRODUCTS, count_rows
from ops.release.status import console
from ops.data.warehouse import LIVE_SCHEMA, Fingerprint, Warehouse, quote

DATASET = "products"
DEMO_DAYS = 7


def feed_all(environment: Environment, files: list[Path]) -> dict[Path, Delivery]:
    """Feed the files one after another; raise OperationError at the first that is not loaded."""
    deliveries = {}
    for number, file in enumerate(files, start=1):
        print(f"[{number}/{len(files)}] {file.name}", file=sys.stderr)
        with Progress(file.name) as progress:
            delivery = deliver(environment, file, progress.show)
        if delivery.outcome == NOT_LOADED:
            report(environment, file, delivery)
            raise OperationError(f"{file.name} was not loaded; the reason is above")
        if delivery.outcome == ALREADY_LOADED:
            print("  already loaded: nothing new", file=sys.stderr)
        deliveries[file] = delivery
    return deliveries


def account_table(deliveries: dict[Path, Delivery]) -> Table:
    """Return a line a file and the totals."""
    table = Table("file", box=None, pad_edge=False)
    for column in ("rows in", "loaded", "rejected"):
        table.add_column(column, justify="right")
    table.add_column("by reason")
    for column in ("superseded", "seconds"):
        table.add_column(column, justify="right")
    totals = [0, 0, 0, 0]
    for file, delivery in deliveries.items():
        account = delivery.account
        counts = (account.rows_in, account.loaded, account.rejected, account.superseded)
        totals = [total + count for total, count in zip(totals, counts)]
        reasons = ", ".join(f"{rows} {why}" for why, rows in account.rejected_by_reason.items())
        note = " (before)" if delivery.outcome == ALREADY_LOADED else ""
        table.add_row(
            file.name + note,
            *(str(count) for count in counts[:3]),
            reasons,
            str(account.superseded),
            f"{delivery.seconds:.1f}",
        )
    seconds = sum(delivery.seconds for delivery in deliveries.values())
    cells = [str(total) for total in totals]
    table.add_section()
    table.add_row("total", *cells[:3], "", cells[3], f"{seconds:.1f}", style="bold")
    return table


def unaccounted(
    deliveries: dict[Path, Delivery], warehouse_rows: int, repeated_keys: int
) -> list[str]:
    """Return what does not add up, counted in the files and the warehouse, not by the pipeline."""
    faults = []
    for file, delivery in deliveries.items():
        rows = count_rows(file)
        if delivery.account.rows_in != rows:
            faults.append(f"{file.name} has {rows} rows; its run saw {delivery.account.rows_in}")
        if not delivery.account.adds_up:
            faults.append(f"{file.name}: loaded, rejected and superseded are not all of its rows")
    loaded = sum(delivery.account.loaded for delivery in deliveries.values())
    # More is no fault: a file of your own may add to the same days.
    if warehouse_rows < loaded:
        faults.append(f"{loaded} rows were loaded; the warehouse has {warehouse_rows} of them")
    if repeated_keys:
        faults.append(f"{repeated_keys} upsert keys are more than once in the warehouse")
    return faults


def repeated_keys_sql(dataset: dict) -> str:
    """Return the query that counts the upsert keys which more than one row has."""
    keys = ", ".join(quote(key) for key in dataset["upsert_keys"])
    table = f"{LIVE_SCHEMA}.{quote(dataset['target']['table'])}"
    repeated = f"SELECT 1 FROM {table} GROUP BY {keys} HAVING COUNT(*) > 1"
    return f"SELECT COUNT(*) FROM ({repeated}) AS repeated"


def in_warehouse(
    warehouse: Warehouse, dataset: dict[str, Any], wanted: list[date]
) -> tuple[int, int]:
    """Return how many rows of these days there are, and how many keys more than one row has."""
    these_days = f"CAST(\"time\" AS DATE) BETWEEN '{wanted[0]}' AND '{wanted[-1]}'"
    (repeated_keys,) = warehouse.one(repeated_keys_sql(dataset))
    return warehouse.fingerprint(LIVE_SCHEMA, dataset, these_days).rows, repeated_keys


def closing_lines(environment: Environment, total: Fingerprint, next_file: str) -> list[str]:
    """Return what there is now and where to look next; `next_file` is one more that can be fed."""
    return [
        f"warehouse  {LIVE_SCHEMA}.{DATASET}: {total}",
        f"reports    s3://{environment.data_bucket}/data/runs/<run>/report.html, rejected/ beside",
        f"files      s3://{environment.data_bucket}/data/archive/{DATASET}/",
        f"logs       {environment.log_groups['executions']}, /aws/lambda/{environment.prefix}-*, "
        f"{environment.log_groups['glue output']} and /error",
        "",
        "Try next:",
        f'  make query ENV={environment.name} SQL="select department, sum(price * quantity)'
        ' from products group by 1 order by 2 desc"',
        f"  make feed ENV={environment.name} FILE={shlex.quote(next_file)}",
        f"  make status ENV={environment.name}",
    ]


@command
def main() -> int:
    """Feed seven days and show what became of every row."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.demo", description=__doc__)
    parser.add_argument("--env", default="dev")
    environment = Environment.load(parser.parse_args().env)
    environment.require_deployed()
    *wanted, next_day = PRODUCTS.dates(FIRST_DAY, DEMO_DAYS + 1)
    *files, next_file = PRODUCTS.files([*wanted, next_day])
    deliveries = feed_all(environment, files)

    warehouse = Warehouse(environment)
    dataset = environment.config["datasets"][DATASET]
    total = warehouse.fingerprint(LIVE_SCHEMA, dataset)

    out = console()
    out.print("", account_table(deliveries), "", sep="\n")
    if all(delivery.outcome == ALREADY_LOADED for delivery in deliveries.values()):
        out.print("All of it was already loaded: nothing new.\n")
    lines = closing_lines(environment, total, os.path.relpath(next_file))
    out.print("\n".join(lines), soft_wrap=True)

    faults = unaccounted(deliveries, *in_warehouse(warehouse, dataset, wanted))
    for fault in faults:
        print(f"demo: unaccounted: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
