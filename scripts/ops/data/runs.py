"""Runs of the state machine: following one to its end, and the account of its rows."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from ops.environment import Environment, OperationError

POLL_SECONDS = 0.5
RUNNING = "RUNNING"
SUCCEEDED = "SUCCEEDED"

# Choices and short waits are how a definition is written, not what a run does.
SHOWN_STATES = ("TaskStateExited", "MapStateExited", "ParallelStateExited")
# What happens inside these is theirs: a run shows them as one state.
CONTAINERS_ENTERED = ("MapStateEntered", "ParallelStateEntered")
CONTAINERS_LEFT = ("MapStateExited", "ParallelStateExited")


@dataclass(frozen=True)
class Account:
    """What became of a run's rows, and of its rules; `seconds` is the job's own time."""

    rows_in: int
    loaded: int
    rejected: int
    superseded: int
    rejected_by_reason: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    rules: list[dict[str, Any]] = field(default_factory=list)

    @property
    def with_reason(self) -> int:
        """Rejected rows that a reason is given for."""
        return sum(self.rejected_by_reason.values())

    @property
    def adds_up(self) -> bool:
        """Whether every row that came in is accounted for, and every rejected one has a reason."""
        return (
            self.rows_in == self.loaded + self.rejected + self.superseded
            and self.with_reason == self.rejected
        )

    def lines(self) -> Iterator[str]:
        """Yield the account as aligned lines of text."""
        yield f"rows in     {self.rows_in:>9}"
        yield f"loaded      {self.loaded:>9}"
        yield f"rejected    {self.rejected:>9}"
        for reason, rows in sorted(self.rejected_by_reason.items(), key=lambda item: -item[1]):
            yield f"            {rows:>9}  {reason}"
        yield f"superseded  {self.superseded:>9}"

    def warnings(self) -> Iterator[str]:
        """Yield the rules that are broken though the rows may be loaded."""
        for rule in self.rules:
            if rule["success"] is False and rule["severity"] == "warning":
                yield f"{rule['rule']}: expected {rule['expected']}; observed {rule['observed']}"


def report_key(run_id: str, suffix: str = "html") -> str:
    """Return where a run's report lies in the data bucket: as a page, or as JSON."""
    return f"data/runs/{run_id}/report.{suffix}"


def read_account(environment: Environment, run_id: str) -> Account:
    """Return the account from a run's report; raise OperationError when it wrote none."""
    key = report_key(run_id, "json")
    try:
        body = environment.client("s3").get_object(Bucket=environment.data_bucket, Key=key)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
            raise
        raise OperationError(
            f"run {run_id} left no s3://{environment.data_bucket}/{key}"
        ) from error
    report = json.load(body)
    return Account(**{name: report[name] for name in (item.name for item in fields(Account))})


@dataclass(frozen=True)
class State:
    """A state that a run has entered or left; `seconds` is None as long as it is in it."""

    name: str
    seconds: float | None = None


def describe(environment: Environment, run_id: str) -> dict[str, Any] | None:
    """Return the execution of a run, or None as long as there is none."""
    try:
        return environment.client("stepfunctions").describe_execution(
            executionArn=environment.execution_arn(run_id)
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return None
        raise


def wait_for_running(environment: Environment, tool: str) -> None:
    """Wait until every run that is on its way now has ended; say on stderr if there is one."""
    client = environment.client("stepfunctions")
    pages = client.get_paginator("list_executions").paginate(
        stateMachineArn=environment.state_machine_arn, statusFilter=RUNNING
    )
    running = [item["executionArn"] for page in pages for item in page["executions"]]
    if running:
        print(f"{tool}: waits for {len(running)} runs that are on their way", file=sys.stderr)
    for arn in running:
        while client.describe_execution(executionArn=arn)["status"] == RUNNING:
            time.sleep(POLL_SECONDS)


def follow(environment: Environment, run_id: str, timeout: float) -> Iterator[State]:
    """Yield each state once when the run enters it and once when it leaves it, until the run ends.

    Raises OperationError when that takes longer than `timeout` seconds; the run goes on.
    """
    client = environment.client("stepfunctions")
    arn = environment.execution_arn(run_id)
    entered: dict[str, datetime] = {}
    left: set[str] = set()
    last_event = depth = 0
    deadline = time.monotonic() + timeout
    while True:
        # The status is read before the history, so that the last round sees the whole of it.
        status = client.describe_execution(executionArn=arn)["status"]
        for event in _history(client, arn):
            if event["id"] <= last_event:
                continue
            last_event = event["id"]
            depth -= event["type"] in CONTAINERS_LEFT
            if name := event.get("stateEnteredEventDetails", {}).get("name"):
                if depth == 0 and name not in entered:
                    yield State(name)
                entered.setdefault(name, event["timestamp"])
            elif name := event.get("stateExitedEventDetails", {}).get("name"):
                if depth == 0 and event["type"] in SHOWN_STATES and name not in left:
                    left.add(name)
                    yield State(name, (event["timestamp"] - entered[name]).total_seconds())
            depth += event["type"] in CONTAINERS_ENTERED
        if status != RUNNING:
            return
        if time.monotonic() > deadline:
            raise OperationError(
                f"run {run_id} has not ended within {timeout:.0f} s and goes on; "
                f"look again with: make status ENV={environment.name}"
            )
        time.sleep(POLL_SECONDS)


def _history(client, arn: str) -> Iterator[dict[str, Any]]:
    pages = client.get_paginator("get_execution_history").paginate(
        executionArn=arn, includeExecutionData=False
    )
    for page in pages:
        yield from page["events"]
