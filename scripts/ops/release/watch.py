"""What speaks against a release while it has part of the traffic: alarms and failed executions."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ops.aws import metric_alarms
from ops.data.runs import RUNNING, SUCCEEDED
from ops.environment import FAILED, Environment

ALARM = "ALARM"
# An execution that somebody aborted says nothing about the release.
FAILURES = ("FAILED", "TIMED_OUT")


class Watch:
    """Watches an environment's alarms and the executions that one version has run.

    An alarm that was in ALARM when the watch began counts once it has been out of it.
    """

    def __init__(self, environment: Environment, version_arn: str):
        self._environment = environment
        self._version_arn = version_arn
        self._states = environment.client("stepfunctions")
        self._cloudwatch = environment.client("cloudwatch")
        self._since: datetime | None = None
        self.counts: Counter[str] = Counter()  # executions of the version by status
        self.alarms_before = set(self._alarms())

    def begin(self, since: datetime) -> None:
        """Count executions from this time of AWS's clock on, unless some are counted already."""
        self._since = self._since or since

    def breaches(self) -> list[str]:
        """Look once; return what speaks against the version, in words, executions first."""
        alarms = self._alarms()
        self.alarms_before &= alarms.keys()
        executions = list(self._executions())
        self.counts = Counter(execution["status"] for execution in executions)
        failed = [execution for execution in executions if execution["status"] in FAILURES]
        return [self._failure(execution) for execution in failed] + [
            f"alarm {name} is in ALARM: {reason}"
            for name, reason in alarms.items()
            if name not in self.alarms_before
        ]

    def summary(self) -> str:
        """Say what was counted at the last look."""
        total = self.counts.total()
        if not total:
            return "it ran no execution"
        failed = sum(self.counts[status] for status in FAILURES)
        return (
            f"it ran {total} execution{'s' if total > 1 else ''}: {self.counts[SUCCEEDED]} "
            f"succeeded, {failed} failed, {self.counts[RUNNING]} still running"
        )

    def _alarms(self) -> dict[str, str]:
        """Return the reason of each alarm that is in ALARM, by its name."""
        alarms = metric_alarms(self._cloudwatch, f"{self._environment.prefix}-")
        return {
            alarm["AlarmName"]: alarm.get("StateReason", "no reason given")
            for alarm in alarms
            if alarm["StateValue"] == ALARM
        }

    def _executions(self) -> Iterator[dict[str, Any]]:
        """Yield the version's executions that traffic has started since the watch began.

        A smoke test names its version; what comes by the alias is traffic.
        """
        pages = self._states.get_paginator("list_executions").paginate(
            stateMachineArn=self._version_arn
        )
        for page in pages:
            for execution in page["executions"]:  # the newest first
                if self._since is None or execution["startDate"] < self._since:
                    return
                if execution.get("stateMachineAliasArn"):
                    yield execution

    def _failure(self, execution: dict[str, Any]) -> str:
        details = self._states.describe_execution(executionArn=execution["executionArn"])
        return (
            f"execution {execution['name']} {execution['status'].lower().replace('_', ' ')}: "
            f"{details.get('error')}: {details.get('cause')} (its files: "
            f"s3://{self._environment.data_bucket}/{FAILED}{execution['name']}/)"
        )
