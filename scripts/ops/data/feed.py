"""Puts a file in the inbox and follows it to its end: into the warehouse, or to data/failed with
the reason.

Exit code 0 means that its rows are loaded, now or by an earlier run of the same bytes under the
same name.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from botocore.exceptions import ClientError
from pipeline_common.run_names import run_id as run_id_of
from rich.console import Console

from ops.environment import FAILED, INBOX, Environment, OperationError, command
from ops.data.runs import (
    RUNNING,
    SUCCEEDED,
    Account,
    State,
    describe,
    follow,
    read_account,
    report_key,
)
from ops.data.warehouse import LIVE_SCHEMA, Warehouse

LOADED, ALREADY_LOADED, NOT_LOADED = "loaded", "already loaded", "failed"

START_SECONDS = 120  # from the put to the start of its run
RUN_SECONDS = 3600
POLL_SECONDS = 0.3
LARGEST_PUT = 5 * 1024**3


@dataclass(frozen=True)
class Delivery:
    """What became of one file; `seconds` run from the put to the end of its run."""

    outcome: str
    run_id: str
    seconds: float
    account: Account | None = None
    error: str = ""
    cause: str = ""


@dataclass(frozen=True)
class Put:
    """A file put into the inbox, with its SHA-256 and the time by S3's clock, in whole seconds."""

    key: str
    version_id: str
    content_id: str
    at: datetime


def deliver(
    environment: Environment,
    file: Path,
    on_state: Callable[[State], None] = lambda state: None,
    timeout: float = RUN_SECONDS,
) -> Delivery:
    """Put `file` in the inbox and wait for the end of its run.

    Raises OperationError when no run starts or the run takes longer than `timeout` seconds.
    """
    started = time.monotonic()
    key = INBOX + file.name
    put = _put(environment, file, key)
    run_id, is_new = _find_run(environment, put)
    if is_new:
        for state in follow(environment, run_id, timeout):
            on_state(state)
    execution = describe(environment, run_id)
    seconds = time.monotonic() - started
    if execution["status"] == SUCCEEDED:
        outcome = LOADED if is_new else ALREADY_LOADED
        return Delivery(outcome, run_id, seconds, read_account(environment, run_id))
    return Delivery(
        NOT_LOADED,
        run_id,
        seconds,
        error=execution.get("error") or execution["status"],
        cause=execution.get("cause") or "the execution's history says no more",
    )


def _put(environment: Environment, file: Path, key: str) -> Put:
    with file.open("rb") as stream:
        answer = environment.client("s3").put_object(
            Bucket=environment.data_bucket, Key=key, Body=stream, ChecksumAlgorithm="SHA256"
        )
    date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
    return Put(key, answer["VersionId"], answer["ChecksumSHA256"], parsedate_to_datetime(date))


def _find_run(environment: Environment, put: Put) -> tuple[str, bool]:
    """Return the id of the object's run and whether it is a new one.

    The trigger names a run after the object's key and content, and a later run of the same is
    numbered. It takes the object away if it leaves it to an earlier run.
    """
    deadline = time.monotonic() + START_SECONDS
    attempt, loaded_by = 1, None
    while True:
        is_there = _is_there(environment, put)  # first: a run could start and end in between
        while execution := describe(
            environment, run_id := run_id_of(put.key, put.content_id, attempt)
        ):
            if execution["startDate"] >= put.at or execution["status"] == RUNNING:
                return run_id, True
            loaded_by = run_id if execution["status"] == SUCCEEDED else loaded_by
            attempt += 1
        if loaded_by and not is_there:
            return loaded_by, False
        if time.monotonic() > deadline:
            raise OperationError(
                f"no run of {put.key} has started within {START_SECONDS} s; look into the log "
                f"group {environment.log_groups['trigger-etl']} and its dead letters"
            )
        time.sleep(POLL_SECONDS)


def _is_there(environment: Environment, put: Put) -> bool:
    client = environment.client("s3")
    try:
        client.head_object(Bucket=environment.data_bucket, Key=put.key, VersionId=put.version_id)
    except ClientError as error:
        if error.response["Error"]["Code"] == "404":
            return False
        raise
    return True


class Progress:
    """Shows on stderr the states that a run passes through, as they happen."""

    def __init__(self, title: str):
        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status(f"{title}: waiting for its run to start")
        self._title = title

    def __enter__(self) -> "Progress":
        self._status.start()
        return self

    def __exit__(self, *_) -> None:
        self._status.stop()

    def show(self, state: State) -> None:
        """Show a state as the present one, or as done with its seconds."""
        if state.seconds is None:
            self._status.update(f"{self._title}: {state.name}")
        else:
            self._console.print(f"  {state.name:<20} {state.seconds:6.1f} s")


def report(environment: Environment, file: Path, delivery: Delivery) -> int:
    """Print the account on stdout, or on stderr where file and reason lie; return the exit code."""
    if delivery.outcome == NOT_LOADED:
        place = f"s3://{environment.data_bucket}/{FAILED}{delivery.run_id}/{file.name}"
        print(
            f"feed: {file.name} was not loaded.\n"
            f"  {delivery.error}: {delivery.cause}\n"
            f"  file    {place}\n"
            f"  reason  {place}.reason.json\n"
            f"  run     {delivery.run_id}\n"
            f"{_report_line(environment, delivery.run_id)}"
            f"  logs    {environment.log_groups['executions']}",
            file=sys.stderr,
        )
        return 1
    if delivery.outcome == ALREADY_LOADED:
        print(
            f"feed: {file.name} was loaded before, the same bytes; its rows in that run:",
            file=sys.stderr,
        )
    print(f"file        {file.name}\nrun         {delivery.run_id}")
    for line in delivery.account.lines():
        print(line)
    print(f"seconds     {delivery.seconds:>9.1f}")
    print(f"report      s3://{environment.data_bucket}/{report_key(delivery.run_id)}")
    for warning in delivery.account.warnings():
        print(f"feed: warning: {warning}", file=sys.stderr)
    if not delivery.account.adds_up:
        print("feed: the rows do not add up: some are unaccounted for", file=sys.stderr)
        return 1
    return 0


def lateness(environment: Environment, run_id: str) -> str:
    """Return what the warehouse says of a run that came late, empty for one that did not."""
    sql = f"SELECT is_late, rows_late FROM {LIVE_SCHEMA}.load_history WHERE run_id = '{run_id}'"
    for is_late, rows in Warehouse(environment).run(sql).rows:
        if rows:
            return f"{rows} of the loaded rows are older than what the table has, which stays"
        if is_late:
            return "its day is before the watermark's; no row is older than what the table has"
    return ""


def _report_line(environment: Environment, run_id: str) -> str:
    """Return where a failed run's report lies; nothing where it came to none."""
    key = report_key(run_id)
    found = environment.client("s3").list_objects_v2(Bucket=environment.data_bucket, Prefix=key)
    return f"  report  s3://{environment.data_bucket}/{key}\n" if found["KeyCount"] else ""


def example_file(environment: Environment) -> str:
    """Return how a file may be called, for those who have named none."""
    return next(iter(environment.config["datasets"].values()))["example_file"]


def check_file(environment: Environment, name: str, dataset: str) -> Path:
    """Return the path of a file that can be put; raise OperationError with what is wrong."""
    if not name:
        raise OperationError(
            f"FILE is missing; try: make feed ENV={environment.name} "
            f"FILE={example_file(environment)}"
        )
    file = Path(name).expanduser()  # not every shell expands FILE=~/...
    if not file.exists():
        raise OperationError(f"{file}: there is no such file (looked in {Path.cwd()})")
    if not file.is_file():
        raise OperationError(f"{file} is not a file; feed takes one file at a time")
    if not os.access(file, os.R_OK):
        raise OperationError(f"{file} cannot be read; check its permissions")
    if file.stat().st_size > LARGEST_PUT:
        raise OperationError(f"{file} is larger than 5 GB, the most that one put takes; split it")
    if dataset:
        pattern = environment.dataset(dataset)["file_pattern"]
        if not re.fullmatch(pattern, file.name):
            raise OperationError(
                f"{file.name} is not named as {dataset} expects ({pattern}); rename it"
            )
    return file


@command
def main() -> int:
    """Feed the file given by --file or the variable FILE."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.feed", description=__doc__)
    parser.add_argument("--env", required=True)
    # From the environment, so that spaces and quotes in a name need not survive another shell.
    parser.add_argument("--file", default=os.environ.get("FILE", ""), help="default: FILE")
    parser.add_argument(
        "--dataset",
        default=os.environ.get("DATASET", ""),
        help="check first that the name is one of this dataset's; default: DATASET",
    )
    parser.add_argument("--timeout", type=float, default=RUN_SECONDS, help="seconds to wait")
    arguments = parser.parse_args()

    environment = Environment.load(arguments.env)
    file = check_file(environment, arguments.file, arguments.dataset)
    environment.require_deployed()
    with Progress(file.name) as progress:
        delivery = deliver(environment, file, progress.show, arguments.timeout)
    code = report(environment, file, delivery)
    if delivery.outcome == LOADED and (late := lateness(environment, delivery.run_id)):
        print(f"feed: {file.name} is late: {late}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
