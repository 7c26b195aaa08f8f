"""Shows the rows of a file that could not be loaded: their line, their text and every reason.

They are those of the file's latest run: a corrected file under the same name replaces them. As CSV
on stdout; where the run was, on stderr.
"""

import argparse
import csv
import gzip
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
from botocore.exceptions import ClientError
from pipeline_common.run_names import run_id as run_id_of
from pipeline_common.run_names import safe_names

from ops.aws import is_missing, list_keys
from ops.data.feed import example_file
from ops.data.runs import describe
from ops.datasets import matching
from ops.environment import FAILED, Environment, OperationError, command

RUNS = "data/runs/"
COLUMNS = ("file", "line", "reasons", "text")
# Runs of many files; any other is named after its own.
OF_MANY = ("replay-", "rebuild-", "backfill-")

Place = tuple[int, int]  # the byte where the part of the file begins that was read, and the row


@dataclass(frozen=True)
class FileRun:
    """A run of a file, among others perhaps."""

    run_id: str
    source: dict[str, Any]  # the file, as the execution was given it
    staged_name: str
    reported_at: str


def latest_run(environment: Environment, name: str) -> FileRun:
    """Return the latest run of the latest version of a file; raise OperationError for none."""
    s3, bucket = environment.client("s3"), environment.data_bucket
    # The digest of a run's name is of key and content; what comes before it, of the name.
    stem = run_id_of(name, "")[:-12]
    candidates: set[str] = set()
    for prefix in (stem, *OF_MANY):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=RUNS + prefix, Delimiter="/"
        )
        found = (item["Prefix"] for page in pages for item in page.get("CommonPrefixes", []))
        candidates |= {prefix.removeprefix(RUNS).rstrip("/") for prefix in found}
    runs = [run for candidate in candidates for run in _run_of(environment, candidate, name)]
    if not runs:
        raise OperationError(
            f"no run of {name} has got as far as its rows in {environment.name}; what failed "
            f"before that is in s3://{bucket}/{FAILED}, the reason beside it"
        )
    return max(runs, key=lambda run: (run.source.get("arrived_at", ""), run.reported_at))


def _run_of(environment: Environment, run_id: str, name: str) -> Iterator[FileRun]:
    """Yield the run if it has a report and read the file; of several versions the last."""
    try:
        head = environment.client("s3").head_object(
            Bucket=environment.data_bucket, Key=f"{RUNS}{run_id}/report.json"
        )
    except ClientError as error:
        if not is_missing(error):
            raise
        return
    execution = describe(environment, run_id)
    if execution is None:  # Step Functions keeps them for 90 days, as the bucket keeps runs
        return
    sources = json.loads(execution["input"])["sources"]
    named = zip(sources, safe_names(source["name"] for source in sources))
    versions = [(source, staged) for source, staged in named if source["name"] == name]
    if versions:
        yield FileRun(run_id, *versions[-1], head["LastModified"].isoformat())


def rejected_rows(environment: Environment, run: FileRun) -> dict[Place, dict[str, Any]]:
    """Return the rejected rows of a run's file by their place in it, in the file's order."""
    s3, bucket, found = environment.client("s3"), environment.data_bucket, {}
    for key in list_keys(s3, bucket, f"{RUNS}{run.run_id}/rejected/"):
        if key.endswith(".parquet"):
            body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            for row in pq.read_table(io.BytesIO(body)).to_pylist():
                if row["source_file"] == run.staged_name:
                    found[row["source_block"], row["source_row"]] = row
    return dict(sorted(found.items()))


def open_source(environment: Environment, run: FileRun) -> BinaryIO | None:
    """Return the text of a run's file, unzipped, from the run's own copy or from wherever the run
    has moved it; None where all of them are gone."""
    source = run.source
    bucket = environment.data_bucket
    places: list[dict[str, str]] = [
        {"Key": f"data/staging/{run.run_id}/{run.staged_name}"},
        {"Key": f"{FAILED}{run.run_id}/{source['name']}"},
        {"Key": source["key"], "VersionId": source["version_id"]},
        *_archived(environment, run),
    ]
    for place in places:
        try:
            body = environment.client("s3").get_object(Bucket=bucket, **place)["Body"]
        except ClientError as error:
            if not is_missing(error) and error.response["Error"]["Code"] != "NoSuchVersion":
                raise
            continue
        stream = io.BytesIO(body.read())
        zipped = source["name"].lower().endswith(".gz")
        return gzip.GzipFile(fileobj=stream) if zipped else stream
    return None


def _archived(environment: Environment, run: FileRun) -> Iterator[dict[str, str]]:
    """Yield the archived version that the run itself made."""
    s3, bucket = environment.client("s3"), environment.data_bucket
    for page in s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix="data/archive/"
    ):
        for version in page.get("Versions", []):
            if version["Key"].endswith(f"/{run.source['name']}"):
                place = {"Key": version["Key"], "VersionId": version["VersionId"]}
                head = s3.head_object(Bucket=bucket, **place)
                if head["Metadata"].get("run-id") == run.run_id:
                    yield place


# ---- lines ---------------------------------------------------------------------------------------


def find_lines(
    stream: BinaryIO, places: Iterable[Place], multi_line: bool
) -> dict[Place, tuple[int, str]]:
    """Return the line (from 1, the header's) and the text of rows, by their places.

    A row's number counts the rows that are not blank, from the first after the header; in a part
    that begins later in the file, from the first line that begins after its first byte.
    """
    wanted = set(places)
    blocks = sorted({block for block, _ in wanted})
    found: dict[Place, tuple[int, str]] = {}
    passed: dict[int, int] = {}  # of each part, the rows that were seen
    for number, (line, offset, text) in enumerate(_records(stream, multi_line)):
        for block in blocks:
            is_before = offset <= block if block else number == 0
            if is_before:
                continue
            place = (block, passed.setdefault(block, 0))
            passed[block] += 1
            if place in wanted:
                found[place] = (line, text)
    return found


def _records(stream: BinaryIO, multi_line: bool) -> Iterator[tuple[int, int, str]]:
    """Yield each row that is not blank: line, first byte and text. A line break in quotes is part
    of the row where the dataset says so; each quote within quotes is doubled, so counting does."""
    offset = line = start_line = start = 0
    pending = b""
    for physical in stream:
        line += 1
        if not pending:
            start_line, start = line, offset
        offset += len(physical)
        pending += physical
        if multi_line and pending.count(b'"') % 2:
            continue
        text, pending = pending, b""
        # Where rows are lines, Spark passes over those of control characters and spaces as well.
        if text.strip(b"\r\n" if multi_line else bytes(range(33))):
            yield start_line, start, text.rstrip(b"\r\n").decode("utf-8", errors="replace")
    if pending:
        yield start_line, start, pending.rstrip(b"\r\n").decode("utf-8", errors="replace")


@command
def main() -> int:
    """Show the rejected rows of the file given by --file or the variable FILE."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.rejected", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--file", default=os.environ.get("FILE", ""), help="default: FILE")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    name = Path(arguments.file).name
    if not name:
        raise OperationError(
            f"FILE is missing; try: make rejected ENV={environment.name} "
            f"FILE={example_file(environment)}"
        )
    run = latest_run(environment, name)
    rows = rejected_rows(environment, run)
    dataset = dataset_of(environment, name)
    stream = open_source(environment, run) if rows else None
    lines = find_lines(stream, rows, dataset["format"]["multi_line"]) if stream else {}
    print(
        f"rejected: {len(rows)} rows of {name} in its latest run, {run.run_id}"
        + ("" if stream or not rows else "; the file itself is gone, and its lines with it"),
        file=sys.stderr,
    )
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, row in rows.items():
        values = [row.get(column["name"]) or "" for column in dataset["columns"]]
        line, text = lines.get(place, ("", row["row_text"] or ",".join(values)))
        writer.writerow((name, line, " ".join(row["reasons"]), text))
    return 0


def dataset_of(environment: Environment, name: str) -> dict[str, Any]:
    """Return the dataset whose file pattern a name matches; raise OperationError."""
    datasets = environment.config["datasets"]
    if not (names := matching(name, datasets)):
        raise OperationError(f"{name} is not named as a file of any dataset is")
    return datasets[names[0]]


if __name__ == "__main__":
    sys.exit(main())
