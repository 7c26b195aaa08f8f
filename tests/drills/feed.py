"""Small files that keep coming, a few in flight at a time, and what became of each."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from ops.data.smoke import SMOKE_RUN

from tests.e2e.one_row import a_file
from tests.e2e.project import DATA_BUCKET, STATE_MACHINE, Project

IN_FLIGHT = 3
ROWS = 3
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 900  # until what a file or a count waits for must have happened


@dataclass
class Sent:
    """A file in the inbox: its day as a number, and the version that its execution started on."""

    file: Path
    day: int
    started_on: str = ""


class Feed(threading.Thread):
    """Puts files until it is told to stop, never more than IN_FLIGHT ahead of those that ended."""

    def __init__(self, project: Project, folder: Path, first: date):
        super().__init__(name="feed")
        self._project, self._folder, self._first = project, folder, first
        self._before = {execution["name"] for execution in project.executions()}
        self._stopped = threading.Event()
        self.sent: dict[str, Sent] = {}  # by the file's stem
        self.error: Exception | None = None

    def run(self) -> None:
        """Put a file whenever fewer than IN_FLIGHT are on their way."""
        try:
            while not self._stopped.is_set():
                executions = self.executions()
                ended = sum(execution["status"] != "RUNNING" for execution in executions)
                for _ in range(IN_FLIGHT - (len(self.sent) - ended)):
                    self._put()
                self._stopped.wait(POLL_SECONDS)
        except Exception as error:  # pylint: disable=broad-exception-caught  # wait_for() raises it
            self.error = error

    def stop(self) -> None:
        """Put no more; return once every file's execution has ended."""
        self._stopped.set()
        self.join()
        self.wait_for(
            lambda: sum(e["status"] != "RUNNING" for e in self.executions()) >= len(self.sent),
            "the last files to end",
        )

    def executions(self) -> list[dict]:
        """Return the executions that files have started; note what each started on."""
        found = [
            execution
            for execution in self._project.executions()
            if execution["name"] not in self._before
            and not execution["name"].startswith(SMOKE_RUN)  # a rollback's, through live as well
            and execution.get("stateMachineAliasArn") == f"{STATE_MACHINE}:live"
        ]
        for execution in found:
            sent = self.sent.get(stem_of(execution))
            if sent and not sent.started_on:
                sent.started_on = execution["stateMachineVersionArn"]
        return found

    def by_version(self) -> Counter[str]:
        """Return how many executions have succeeded on each version."""
        return Counter(
            execution["stateMachineVersionArn"]
            for execution in self.executions()
            if execution["status"] == "SUCCEEDED"
        )

    def wait_for(self, enough: Callable[[], bool], what: str) -> None:
        """Wait; raise what the feed has failed with, or TimeoutError."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not enough():
            if self.error:
                raise self.error
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {PATIENCE_SECONDS} s in vain for {what}")
            time.sleep(POLL_SECONDS)

    def _put(self) -> None:
        day = int(f"{self._first + timedelta(days=len(self.sent)):%Y%m%d}")
        file = a_file(self._folder, day, ROWS)
        self.sent[file.stem] = Sent(file, day)
        self._project.client("s3").put_object(
            Bucket=DATA_BUCKET,
            Key=f"data/in/{file.name}",
            Body=file.read_bytes(),
            ChecksumAlgorithm="SHA256",
        )


def stem_of(execution: dict) -> str:
    """Return the stem of the file that an execution is for: its name begins with it."""
    return execution["name"].rpartition("-")[0]
