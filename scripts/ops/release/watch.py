"""What speaks against a release while it has part of the traffic: alarms, failed executions, and
events that its trigger has failed on, which start none.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from ops.aws import metric_alarms
from ops.data.runs import RUNNING, SUCCEEDED
from ops.environment import FAILED, LIVE, Environment
from ops.release.switch import TRIGGER, Versions

ALARM = "ALARM"
PERIOD_SECONDS = 60  # the finest that Lambda publishes
# An execution that somebody aborted says nothing about the release.
FAILURES = ("FAILED", "TIMED_OUT")


class Watch:
    """Watches an environment's alarms, the executions that a release's version has run, and the
    events that its version of the trigger was given (empty: it has none of its own).

    An alarm that was in ALARM when the watch began counts once it has been out of it.
    """

    def __init__(self, environment: Environment, release: Versions):
        self._environment = environment
        self._release = release
        self._states = environment.client("stepfunctions")
        self._cloudwatch = environment.client("cloudwatch")
        self._since: datetime | None = None
        self._executions: list[dict[str, Any]] = []  # of the version, at the last look
        self.alarms_before = set(self._alarms())

    @property
    def counts(self) -> Counter[str]:
        """How many executions of the version had each status at the last look."""
        return Counter(execution["status"] for execution in self._executions)

    @property
    def running(self) -> set[str]:
        """The names of those that ran at the last look."""
        return {one["name"] for one in self._executions if one["status"] == RUNNING}

    def begin(self, since: datetime) -> None:
        """Count executions from this time of AWS's clock on, unless some are counted already."""
        self._since = self._since or since

    def breaches(self) -> list[str]:
        """Look once; return what speaks against the version, in words, executions first."""
        alarms = self._alarms()
        self.alarms_before &= alarms.keys()
        self._executions = list(self._read_executions())
        failed = [execution for execution in self._executions if execution["status"] in FAILURES]
        return [
            *(self._failure(execution) for execution in failed),
            *self._trigger_failures(),
            *(
                f"alarm {name} is in ALARM: {reason}"
                for name, reason in alarms.items()
                if name not in self.alarms_before
            ),
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

    def _trigger_failures(self) -> Iterator[str]:
        """Yield in words how often the release's trigger has failed on what the alias gave it.

        Lambda publishes this of each version while an alias is shared, and a smoke test names its
        version. The minute in which the watch began counts whole.
        """
        if not self._release.trigger or self._since is None:
            return
        function = self._environment.function(TRIGGER)
        dimensions = {
            "FunctionName": function,
            "Resource": f"{function}:{LIVE}",
            "ExecutedVersion": self._release.trigger,
        }
        metric = {
            "Namespace": "AWS/Lambda",
            "MetricName": "Errors",
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        }
        stat = {"Metric": metric, "Period": PERIOD_SECONDS, "Stat": "Sum"}
        pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[{"Id": "errors", "MetricStat": stat}],
            StartTime=self._since.replace(second=0, microsecond=0),
            EndTime=datetime.now(timezone.utc) + timedelta(seconds=PERIOD_SECONDS),
        )
        errors = sum(
            sum(result["Values"]) for page in pages for result in page["MetricDataResults"]
        )
        if errors:
            yield (
                f"its trigger, {function} version {self._release.trigger}, has failed "
                f"{errors:.0f} times, and started no execution "
                f"(why: log group /aws/lambda/{function})"
            )

    def _read_executions(self) -> Iterator[dict[str, Any]]:
        """Yield the version's executions that traffic has started since the watch began.

        A smoke test names its version; what comes by the alias is traffic.
        """
        pages = self._states.get_paginator("list_executions").paginate(
            stateMachineArn=self._release.state_machine
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
