"""Runs archived files again, a month a job run; the table is the same afterwards, hash for hash.

Stopped with Ctrl-C, or with a chunk that failed, the same call goes on where it stopped.
"""

import argparse
import calendar
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import date

from rich.console import Console

from ops.data.archive import ArchivedFile, archived_files, parse_time
from ops.data.chunks import Job, Runner, failures, finish, new_job, open_job
from ops.data.runs import SUCCEEDED
from ops.data.warehouse import LIVE_SCHEMA, Warehouse
from ops.data.watermark import read_watermark
from ops.environment import Environment, OperationError, command

AT_ONCE = 2
MAX_AT_ONCE = 16
DATASET_HELP = "needed where there are several; default: the variable DATASET"


def select(files: list[ArchivedFile], first: date | None, last: date | None) -> list[ArchivedFile]:
    """Return the files of the days from first to last, both included; None is no limit."""
    return [
        file
        for file in files
        if (first is None or file.run_date >= first) and (last is None or file.run_date <= last)
    ]


def since_watermark(environment: Environment, dataset: str) -> Callable[[ArchivedFile], bool]:
    """Return whether a file may not have been loaded: of the watermark's day or later, or arrived
    after it. Raises OperationError where there is no watermark."""
    mark = read_watermark(Warehouse(environment), dataset)
    if mark is None:
        raise OperationError(
            f"{dataset} has no watermark in {environment.name} to go on from; give FROM=YYYY-MM-DD"
        )

    def is_ahead(file: ArchivedFile) -> bool:
        arrived_later = mark.arrived_at and parse_time(file.arrived_at) > parse_time(
            mark.arrived_at
        )
        return file.run_date >= mark.run_date or bool(arrived_later)

    return is_ahead


def plan(
    environment: Environment, dataset: str, first: date | None, last: date | None
) -> tuple[Job, bool]:
    """Return the replay of these days, and whether it goes on where an earlier call stopped."""
    scope = f"{first or 'watermark'}-{last or 'end'}"
    if job := open_job(environment, "replay", dataset, scope):
        return job, True
    files = select(archived_files(environment, dataset), first, last)
    if first is None:
        files = list(filter(since_watermark(environment, dataset), files))
    return new_job("replay", dataset, scope, {"schema": LIVE_SCHEMA}, files), False


def run_chunks(runner: Runner) -> list[str]:
    """Run every chunk with progress on stderr; return a line for each that failed."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    chunks = runner.job.chunks
    started = time.monotonic()
    done = sum(chunk.state == SUCCEEDED for chunk in chunks)
    with console.status(f"{done} of {len(chunks)} chunks"):
        try:
            for chunk in runner.run():
                done += 1
                word = "loaded" if chunk.state == SUCCEEDED else f"FAILED  {chunk.cause}"
                console.print(
                    f"  [{done}/{len(chunks)}] {chunk.title}: {len(chunk.files)} files {word}"
                    f"  ({time.monotonic() - started:.0f} s)",
                    markup=False,
                )
        except KeyboardInterrupt:
            left = sum(chunk.state != SUCCEEDED for chunk in chunks)
            print(
                f"stopped with {left} of {len(chunks)} chunks to do; what runs on AWS goes on. "
                "The same call again goes on from here.",
                file=sys.stderr,
            )
            raise
    return failures(chunks)


def report_failed(tool: str, failed: list[str]) -> None:
    """Say on stderr what failed and what to do about it."""
    for line in failed:
        print(f"{tool}: failed: {line}", file=sys.stderr)
    print(f"{tool}: the same call again tries what failed", file=sys.stderr)


def month_days(month: str) -> tuple[date, date]:
    """Return the first and the last day of YYYY-MM; raise OperationError."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise OperationError(f"MONTH={month}: expected YYYY-MM, such as 2017-01")
    year, number = map(int, month.split("-"))
    return date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1])


def parse_day(name: str, text: str) -> date | None:
    """Return a day, None for no text; raise OperationError."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise OperationError(f"{name}={text}: expected a day as YYYY-MM-DD") from error


def replay(
    environment: Environment, dataset: str, first: date | None, last: date | None, at_once: int
) -> int:
    """Run a replay to its end and print the table's fingerprint; return the exit code."""
    if first and last and first > last:
        raise OperationError(f"FROM={first} is after TO={last}")
    configured, warehouse = environment.dataset(dataset), Warehouse(environment)
    job, goes_on = plan(environment, dataset, first, last)
    number = sum(len(chunk.files) for chunk in job.chunks)
    what = f"{number} files in {len(job.chunks)} chunks"
    print(f"replay: {'goes on with' if goes_on else 'takes'} {what}", file=sys.stderr)
    before = warehouse.fingerprint(LIVE_SCHEMA, configured)
    started = time.monotonic()
    if failed := run_chunks(Runner(environment, job, at_once)):
        report_failed("replay", failed)
        return 1
    finish(environment, job)
    after = warehouse.fingerprint(LIVE_SCHEMA, configured)
    print(f"files    {number}\nseconds  {time.monotonic() - started:.1f}")
    print(f"before   {before}\nafter    {after}")
    print("the table is the same" if before == after else "the table has changed")
    return 0


def parse_at_once(text: str) -> int:
    """Return how many chunks run side by side; raise OperationError."""
    if not text.isdigit() or not 1 <= int(text) <= MAX_AT_ONCE:
        raise OperationError(f"PARALLEL={text}: expected a number from 1 to {MAX_AT_ONCE}")
    return int(text)


def chosen_dataset(environment: Environment, name: str) -> str:
    """Return the name of a dataset; without one, that of the only dataset that there is.

    Raises OperationError with the names of all.
    """
    names = list(environment.config["datasets"])
    if not name and len(names) > 1:
        raise OperationError(f"DATASET is missing: give one of {', '.join(names)}")
    return environment.dataset(name or names[0])["name"]


@command
def main() -> int:
    """Replay the days given by the variables FROM and TO."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.replay", description=__doc__)
    parser.add_argument("--env", required=True)
    for option, variable, meaning in (
        ("--from", "FROM", "first day; default: from the watermark on"),
        ("--to", "TO", "last day; default: the last one archived"),
    ):
        parser.add_argument(option, default=os.environ.get(variable, ""), help=meaning)
    parser.add_argument("--dataset", default=os.environ.get("DATASET", ""), help=DATASET_HELP)
    parser.add_argument("--parallel", default=os.environ.get("PARALLEL") or str(AT_ONCE))
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    dataset = chosen_dataset(environment, arguments.dataset)
    first = parse_day("FROM", getattr(arguments, "from"))
    last = parse_day("TO", arguments.to)
    at_once = parse_at_once(arguments.parallel)
    environment.require_deployed()
    return replay(environment, dataset, first, last, at_once)


if __name__ == "__main__":
    sys.exit(main())
