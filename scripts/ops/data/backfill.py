"""Loads a month of files that never came through the inbox, as one run; or, without a folder, runs
the archived files of that month again.

The files lie in a local folder, named as the dataset's files are. They count as arriving now. The
same files again start nothing.
"""

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ops.data.archive import copy_source
from ops.data.chunks import MAX_BYTES, MAX_FILES
from ops.data.feed import Progress
from ops.data.replay import AT_ONCE, DATASET_HELP, chosen_dataset, month_days, parse_at_once, replay
from ops.data.runs import RUNNING, SUCCEEDED, describe, follow, read_account
from ops.environment import FAILED, LIVE, Environment, OperationError, command

BACKFILL = "data/backfill/"
TARGET = {"schema": "public", "archive_prefix": "data/archive/", "failed_prefix": FAILED}
MAX_ATTEMPTS = 50
RUN_SECONDS = 4 * 3600


def month_files(folder: Path, pattern: str, first: date, last: date) -> list[Path]:
    """Return a folder's files of the days from first to last, by day; raise OperationError."""
    if not folder.is_dir():
        raise OperationError(f"FOLDER={folder}: there is no such folder (looked in {Path.cwd()})")
    found = []
    for file in folder.iterdir():
        if file.is_file() and (match := re.fullmatch(pattern, file.name)):
            day = _day(file, match["run_date"])
            if first <= day <= last:
                found.append((day, file))
    if not found:
        raise OperationError(f"{folder} has no file from {first} to {last} that matches {pattern}")
    return [file for _, file in sorted(found)]


def _day(file: Path, digits: str) -> date:
    try:
        return datetime.strptime(digits, "%Y%m%d").date()
    except ValueError as error:
        raise OperationError(f"{file}: {digits} is not a date (YYYYMMDD)") from error


def groups(files: list[Path]) -> Iterator[list[Path]]:
    """Yield files as one run takes them, all of a usual month at once."""
    group: list[Path] = []
    for file in files:
        size = sum(other.stat().st_size for other in group) + file.stat().st_size
        if group and (len(group) == MAX_FILES or size > MAX_BYTES):
            yield group
            group = []
        group.append(file)
    yield group


class Backfill:
    """One run of local files."""

    def __init__(self, environment: Environment, dataset: str, month: str, files: list[Path]):
        self._environment, self._dataset, self._files = environment, dataset, files
        content = "".join(f"{file.name} {_sha256(file)}\n" for file in files)
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        self._name = f"backfill-{dataset[:20]}-{month.replace('-', '')}-{digest}"

    def run(self) -> int:
        """Load the files unless they are; print the account and return the exit code."""
        run_id = self._find()
        earlier = describe(self._environment, run_id)
        if earlier is None:
            self._start(run_id)
        with Progress(f"{len(self._files)} files") as progress:
            for state in follow(self._environment, run_id, RUN_SECONDS):
                progress.show(state)
        ended = describe(self._environment, run_id)
        if ended["status"] != SUCCEEDED:
            print(
                f"backfill: not loaded: {ended.get('error')}: {ended.get('cause')}\n"
                f"  files  s3://{self._environment.data_bucket}/{FAILED}{run_id}/",
                file=sys.stderr,
            )
            return 1
        if earlier and earlier["status"] == SUCCEEDED:
            print("backfill: these files were loaded before: nothing new", file=sys.stderr)
        print(f"files       {len(self._files):>9}\nrun         {run_id}")
        print("\n".join(read_account(self._environment, run_id).lines()))
        return 0

    def _find(self) -> str:
        """Return the run that has these files, or the first name for one that none has."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            run_id = f"{self._name}-{attempt}" if attempt > 1 else self._name
            execution = describe(self._environment, run_id)
            if execution is None or execution["status"] in (RUNNING, SUCCEEDED):
                return run_id
        raise OperationError(f"{self._name} has failed {MAX_ATTEMPTS} times: correct its files")

    def _start(self, run_id: str) -> None:
        sources = [self._put(run_id, file) for file in self._files]
        execution_input = {"run_id": run_id, "sources": sources, "target": TARGET}
        self._environment.client("stepfunctions").start_execution(
            stateMachineArn=f"{self._environment.state_machine_arn}:{LIVE}",
            name=run_id,
            input=json.dumps(execution_input),
        )

    def _put(self, run_id: str, file: Path) -> dict[str, Any]:
        bucket = self._environment.data_bucket
        key = f"{BACKFILL}{run_id}/{self._dataset}/{file.name}"
        with file.open("rb") as stream:
            put = self._environment.client("s3").put_object(
                Bucket=bucket, Key=key, Body=stream, ChecksumAlgorithm="SHA256"
            )
        return {
            "bucket": bucket,
            "key": key,
            "version_id": put["VersionId"],
            "content_id": put["ChecksumSHA256"],
            "arrived_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "size": file.stat().st_size,
            "name": file.name,
            "copy_source": copy_source(bucket, key, put["VersionId"]),
        }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@command
def main() -> int:
    """Backfill the month given by the variable MONTH."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.backfill", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--month", default=os.environ.get("MONTH", ""), help="YYYY-MM")
    parser.add_argument("--folder", default=os.environ.get("FOLDER", ""), help="of local files")
    parser.add_argument("--dataset", default=os.environ.get("DATASET", ""), help=DATASET_HELP)
    parser.add_argument("--parallel", default=os.environ.get("PARALLEL") or str(AT_ONCE))
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    dataset = chosen_dataset(environment, arguments.dataset)
    first, last = month_days(arguments.month)
    at_once = parse_at_once(arguments.parallel)
    if not arguments.folder:
        environment.require_deployed()
        return replay(environment, dataset, first, last, at_once)
    folder = Path(arguments.folder).expanduser()
    pattern = environment.dataset(dataset)["file_pattern"]
    files = month_files(folder, pattern, first, last)
    environment.require_deployed()
    codes = [
        Backfill(environment, dataset, arguments.month, group).run() for group in groups(files)
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
