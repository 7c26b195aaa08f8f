"""Archived files in chunks, each one job run: started a few at a time, followed, on record in S3.

The record is what makes a stop harmless: a later call finds the chunks that are done, follows those
that still run, tries those that failed once more, and starts the others.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import is_missing
from ops.data.archive import ArchivedFile
from ops.data.runs import RUNNING, SUCCEEDED, describe
from ops.environment import LIVE, Environment, OperationError

RECORDS = "data/replays/"
# An execution passes its files from state to state, 256 KB at most, and a file takes up to 1.5 KB.
MAX_FILES = 100
MAX_BYTES = 2 * 1024**3
POLL_SECONDS = 0.5
WAITING = "waiting"


@dataclass
class Chunk:
    """Files of one month and the run that loads them; `attempt` counts its runs from 1."""

    files: list[ArchivedFile]
    attempt: int = 1
    state: str = WAITING  # or an execution's status
    cause: str = ""

    @property
    def title(self) -> str:
        """The days that it covers."""
        first, last = self.files[0].run_date, self.files[-1].run_date
        return f"{first}" if first == last else f"{first} to {last}"


@dataclass
class Job:
    """A piece of work of many chunks: what it is called, where its rows go, and how far it is."""

    kind: str  # replay or rebuild
    dataset: str
    scope: str  # what it covers: the same again is the same piece of work, until it is done
    target: dict[str, str]
    started_at: str
    chunks: list[Chunk] = field(default_factory=list)
    finished: bool = False

    @property
    def key(self) -> str:
        """Where its record lies."""
        return record_key(self.kind, self.dataset, self.scope)

    def run_id(self, number: int) -> str:
        """Return the id of a chunk's run: no other run has it, and the same chunk always has."""
        chunk = self.chunks[number]
        first, last = (f"{file.run_date:%Y%m%d}" for file in (chunk.files[0], chunk.files[-1]))
        identity = f"{self.key} {self.started_at} {number} {chunk.attempt}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        return f"{self.kind}-{self.dataset[:20]}-{first}-{last}-{digest}"


def record_key(kind: str, dataset: str, scope: str) -> str:
    """Return the key of a piece of work's record."""
    return f"{RECORDS}{kind}-{dataset}-{re.sub('[^a-z0-9-]', '-', scope)}.json"


def split(files: Sequence[ArchivedFile]) -> list[Chunk]:
    """Return files, which are in order, in chunks: a month, or less of a month with much in it."""
    chunks: list[Chunk] = []
    size = 0
    for file in files:
        month = (file.run_date.year, file.run_date.month)
        last = chunks[-1].files if chunks else []
        same_month = last and (last[0].run_date.year, last[0].run_date.month) == month
        if not same_month or len(last) == MAX_FILES or size + file.size > MAX_BYTES:
            chunks.append(Chunk([]))
            size = 0
        chunks[-1].files.append(file)
        size += file.size
    return chunks


class Runner:
    """Runs a Job's chunks through the state machine that is live, `at_once` of them side by side.

    Side by side is safe: of the rows of a key the newest stays, in whatever order they are loaded.
    """

    def __init__(self, environment: Environment, job: Job, at_once: int):
        self._environment = environment
        self._states = environment.client("stepfunctions")
        self.job = job
        self._at_once = at_once

    def run(self) -> Iterator[Chunk]:
        """Start and follow every chunk that is not done; yield each when it ends.

        A failed chunk does not stop the others. Stopped in between, runs on AWS go on.
        """
        job = self.job
        for chunk in job.chunks:
            if chunk.state not in (WAITING, RUNNING, SUCCEEDED):
                chunk.attempt, chunk.state, chunk.cause = chunk.attempt + 1, WAITING, ""
        save(self._environment, job)
        todo = [number for number, chunk in enumerate(job.chunks) if chunk.state != SUCCEEDED]
        # What runs already comes first: it takes its place anyway.
        todo.sort(key=lambda number: (job.chunks[number].state != RUNNING, number))
        running: list[int] = []
        while todo or running:
            while todo and len(running) < self._at_once:
                running.append(number := todo.pop(0))
                self._start(number)
            for number in list(running):
                if self._has_ended(number):
                    running.remove(number)
                    save(self._environment, job)
                    yield job.chunks[number]
            time.sleep(POLL_SECONDS)

    def _start(self, number: int) -> None:
        chunk, run_id = self.job.chunks[number], self.job.run_id(number)
        bucket = self._environment.data_bucket
        execution_input = {
            "run_id": run_id,
            "sources": [file.source(bucket) for file in chunk.files],
            "target": self.job.target,
        }
        chunk.state = RUNNING
        save(self._environment, self.job)
        try:
            self._states.start_execution(
                stateMachineArn=f"{self._environment.state_machine_arn}:{LIVE}",
                name=run_id,
                input=json.dumps(execution_input),
            )
        except ClientError as error:
            # It was started before the stop that this call goes on from.
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise

    def _has_ended(self, number: int) -> bool:
        execution = describe(self._environment, self.job.run_id(number))
        if execution is None or execution["status"] == RUNNING:
            return False
        chunk = self.job.chunks[number]
        chunk.state = execution["status"]
        if chunk.state != SUCCEEDED:
            chunk.cause = f"{execution.get('error')}: {execution.get('cause')}"
        return True


# ---- records -------------------------------------------------------------------------------------


def open_job(environment: Environment, kind: str, dataset: str, scope: str) -> Job | None:
    """Return the piece of work that was begun and not finished, None when there is none."""
    key = record_key(kind, dataset, scope)
    try:
        body = environment.client("s3").get_object(Bucket=environment.data_bucket, Key=key)["Body"]
    except ClientError as error:
        if not is_missing(error):
            raise
        return None
    record = json.load(body)
    if record["finished"]:
        return None
    chunks = [
        Chunk(**{**chunk, "files": [_file(file) for file in chunk["files"]]})
        for chunk in record.pop("chunks")
    ]
    return Job(**record, chunks=chunks)


def new_job(
    kind: str, dataset: str, scope: str, target: dict[str, str], files: Sequence[ArchivedFile]
) -> Job:
    """Return a new piece of work on files that are in order; raise OperationError for none."""
    if not files:
        raise OperationError(f"the archive has no files of {dataset} for {scope}")
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return Job(kind, dataset, scope, target, now, split(files))


def finish(environment: Environment, job: Job) -> None:
    """Put on record that nothing is left to do: the same call again is a new piece of work."""
    job.finished = True
    save(environment, job)


def save(environment: Environment, job: Job) -> None:
    """Write the record."""
    body = json.dumps(asdict(job), default=str).encode()
    environment.client("s3").put_object(Bucket=environment.data_bucket, Key=job.key, Body=body)


def _file(record: dict[str, Any]) -> ArchivedFile:
    run_date = datetime.fromisoformat(record["run_date"]).date()
    return ArchivedFile(**{**record, "run_date": run_date})


def failures(chunks: Iterable[Chunk]) -> list[str]:
    """Return a line for each chunk that did not end well."""
    return [f"{chunk.title}: {chunk.cause}" for chunk in chunks if chunk.state != SUCCEEDED]
