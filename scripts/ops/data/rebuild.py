"""Makes a dataset's table anew from the archive, beside the live one, and swaps it in.

Readers see the old table until the swap and the new one after it. The swap happens only if the new
table holds what the live one holds, or if ACCEPT=1 says that it may differ, as it does when files
were taken out of the archive or the rules have changed. What runs when it compares the two is
waited for. Stopped, the same call goes on.
"""

import argparse
import os
import sys
from typing import Any

from ops.data.archive import archived_files
from ops.data.chunks import Job, Runner, finish, new_job, open_job, split
from ops.data.replay import (
    AT_ONCE,
    DATASET_HELP,
    chosen_dataset,
    parse_at_once,
    report_failed,
    run_chunks,
)
from ops.data.runs import wait_for_running
from ops.data.tables import LOADER, create, dataset_table, found_tables, grant
from ops.data.warehouse import (
    LIVE_SCHEMA,
    Fingerprint,
    Warehouse,
    WarehouseError,
    fingerprint_sql,
    quote,
)
from ops.environment import Environment, OperationError, command

CHANGED = "a load came in between"
MAX_ROUNDS = 5  # each takes in what was loaded during the one before
SHOWN = 10


class Rebuild:
    """One dataset's table, made anew."""

    def __init__(self, environment: Environment, dataset: str):
        self._environment = environment
        self._name = dataset
        self._dataset = environment.dataset(dataset)
        self._warehouse = Warehouse(environment)
        self.live = self._dataset["target"]["table"]
        self.new, self.old = f"{self.live}__rebuild", f"{self.live}__old"

    def begin(self) -> Job:
        """Return the rebuild that was stopped, or a new one with an empty table."""
        files = archived_files(self._environment, self._name)
        job = open_job(self._environment, "rebuild", self._name, "all")
        # Where a file was taken out of the archive since, its rows must not be in the new table.
        is_part = job and {file for chunk in job.chunks for file in chunk.files} <= set(files)
        if is_part and (LIVE_SCHEMA, self.new) in found_tables(self._warehouse):
            print("rebuild: goes on with the table that is there", file=sys.stderr)
            return job
        self._warehouse.run_all(
            [
                f"DROP TABLE IF EXISTS {LIVE_SCHEMA}.{quote(self.new)}",
                f"DROP TABLE IF EXISTS {LIVE_SCHEMA}.{quote(self.old)}",
                *create(LIVE_SCHEMA, self.new, dataset_table(self._dataset)),
                grant(LIVE_SCHEMA, self.new, LOADER.format(**self._environment.config)),
            ]
        )
        target = {"schema": LIVE_SCHEMA, "table": self.new}
        return new_job("rebuild", self._name, "all", target, files)

    def add_arrivals(self, job: Job) -> bool:
        """Add what was archived since the rebuild was planned; return whether there is any."""
        known = {file for chunk in job.chunks for file in chunk.files}
        arrived = [
            file for file in archived_files(self._environment, self._name) if file not in known
        ]
        job.chunks += split(arrived)
        return bool(arrived)

    def fingerprint(self, table: str) -> Fingerprint:
        """Return that of the live or of the new table."""
        return self._warehouse.fingerprint(LIVE_SCHEMA, self._dataset, table=table)

    def loads(self) -> int:
        """Return how often the dataset was loaded."""
        ((number,),) = self._warehouse.run(f"SELECT COUNT(*) {self._history()}").rows
        return number

    def _history(self) -> str:
        return f"FROM {LIVE_SCHEMA}.load_history WHERE dataset = '{self._name}'"

    def differences(self) -> list[str]:
        """Return a line for each file version of which the tables have different rows."""
        counts: dict[tuple[Any, Any], list[int]] = {}
        for place, table in enumerate((self.live, self.new)):
            for file, arrived_at, rows in self._warehouse.run(
                'SELECT "_source_file", "_arrived_at", COUNT(*) '
                f"FROM {LIVE_SCHEMA}.{quote(table)} GROUP BY 1, 2"
            ).rows:
                counts.setdefault((file, arrived_at), [0, 0])[place] = rows
        return [
            f"{file or 'rows of before there was lineage'} of {arrived_at}: {live} rows live, "
            f"{new} in the new table"
            for (file, arrived_at), (live, new) in counts.items()
            if live != new
        ]

    def swap(self, expected: Fingerprint, loads: int) -> None:
        """Put the new table in the live one's place, with the rights that others have on it.

        One transaction. Raises WarehouseError, with nothing changed, where the live table is no
        longer what it was when the two were compared, or was loaded since: a load that leaves the
        same values may leave another lineage.
        """
        live, new = (f"{LIVE_SCHEMA}.{quote(table)}" for table in (self.live, self.new))
        found = fingerprint_sql(LIVE_SCHEMA, self._dataset).replace("SELECT ", "", 1)
        count, content = found.split(" FROM ", 1)[0].split(", ", 1)
        self._warehouse.run_all(
            [
                f"LOCK TABLE {live}, {new}",
                f"SELECT CASE WHEN {count} = {expected.rows} "
                f"AND COALESCE({content}, 0) = {expected.content} "
                f"AND (SELECT COUNT(*) {self._history()}) = {loads} THEN 0 "
                f"ELSE CAST('{CHANGED}' || CAST(COUNT(*) AS VARCHAR(20)) AS INTEGER) END "
                f"FROM {live}",
                *self._rights(),
                f"ALTER TABLE {live} RENAME TO {quote(self.old)}",
                f"ALTER TABLE {new} RENAME TO {quote(self.live)}",
            ]
        )

    def _rights(self) -> list[str]:
        """Return the statements that give the new table the rights granted on the live one."""
        groups = {name for (name,) in self._warehouse.run("SELECT groname FROM pg_group").rows}
        granted = self._warehouse.run(
            "SELECT p.grantee, p.privilege_type FROM information_schema.table_privileges p "
            f"WHERE p.table_schema = '{LIVE_SCHEMA}' AND p.table_name = '{self.live}' "
            "AND p.grantee <> p.grantor"
        ).rows
        return [
            f"GRANT {right} ON {LIVE_SCHEMA}.{quote(self.new)} TO {_grantee(name, groups)}"
            for name, right in granted
        ]

    def drop_old(self) -> None:
        """Drop the table that was live before; raise WarehouseError where views still need it."""
        self._warehouse.run(f"DROP TABLE {LIVE_SCHEMA}.{quote(self.old)}")


def _grantee(name: str, groups: set[str]) -> str:
    if name == "PUBLIC":
        return name
    return f"GROUP {quote(name)}" if name in groups else quote(name)


def rebuild(environment: Environment, dataset: str, at_once: int, accept: bool) -> int:
    """Rebuild a dataset's table and swap it in; return the exit code."""
    work = Rebuild(environment, dataset)
    job = work.begin()
    for _ in range(MAX_ROUNDS):
        if failed := run_chunks(Runner(environment, job, at_once)):
            report_failed("rebuild", failed)
            print("rebuild: the live table is as it was", file=sys.stderr)
            return 1
        loads, live = work.loads(), work.fingerprint(work.live)
        # A run's rows are in the live table before its files are in the archive: to look there
        # once all such runs have ended finds every file of this fingerprint.
        wait_for_running(environment, "rebuild")
        if work.add_arrivals(job):
            continue
        new = work.fingerprint(work.new)
        if live != new:
            _tell_differences(work, live, new, accept)
            if not accept:
                return 1
        try:
            work.swap(live, loads)
            break
        except WarehouseError as error:
            if CHANGED not in str(error):
                raise
            wait_for_running(environment, "rebuild")
            work.add_arrivals(job)
    else:
        raise OperationError(f"{work.live} was loaded in each of {MAX_ROUNDS} rounds; try later")
    finish(environment, job)
    try:
        work.drop_old()
    except WarehouseError as error:
        print(f"rebuild: {work.old} stays, as something needs it: {error}", file=sys.stderr)
    print(f"before  {live}\nafter   {new}")
    return 0


def _tell_differences(work: Rebuild, live: Fingerprint, new: Fingerprint, accept: bool) -> None:
    verdict = "accepted" if accept else "not swapped in"
    print(f"rebuild: {verdict}: {work.new} differs from {work.live}", file=sys.stderr)
    print(f"  live  {live}\n  new   {new}", file=sys.stderr)
    lines = work.differences()
    for line in lines[:SHOWN]:
        print(f"  {line}", file=sys.stderr)
    if len(lines) > SHOWN:
        print(f"  and {len(lines) - SHOWN} more", file=sys.stderr)
    if not accept:
        print("Where that is right, the same call with ACCEPT=1 swaps it in.", file=sys.stderr)


@command
def main() -> int:
    """Rebuild one dataset's table."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.rebuild", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--dataset", default=os.environ.get("DATASET", ""), help=DATASET_HELP)
    parser.add_argument("--parallel", default=os.environ.get("PARALLEL") or str(AT_ONCE))
    parser.add_argument(
        "--accept", default=os.environ.get("ACCEPT", ""), help="1: swap a table that differs"
    )
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    dataset = chosen_dataset(environment, arguments.dataset)
    at_once = parse_at_once(arguments.parallel)
    if arguments.accept not in ("", "1"):
        raise OperationError(f"ACCEPT={arguments.accept}: ACCEPT=1 swaps in a table that differs")
    environment.require_deployed()
    return rebuild(environment, dataset, at_once, arguments.accept == "1")


if __name__ == "__main__":
    sys.exit(main())
