"""What Step Functions tells CloudWatch: each event in the machine's log group, a metric per end."""

# pylint: disable=protected-access
import json
import logging
import time
from datetime import datetime

from ministack.services import cloudwatch, cloudwatch_logs

_METRICS = {
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "TIMED_OUT": "ExecutionsTimedOut",
    "ABORTED": "ExecutionsAborted",
}
# The types of event that each level writes, by how the type's name ends.
_ERRORS = ("Failed", "TimedOut", "Aborted", "FailStateEntered")
_FATAL = ("ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted")
# What includeExecutionData=false leaves out.
_DATA = ("input", "output", "parameters")

logger = logging.getLogger("localaws.stepfunctions")


class ExecutionLog:
    """The log stream of one execution, as its machine's LoggingConfiguration wants it."""

    def __init__(self, record: dict):
        configuration = record.get("loggingConfiguration") or {}
        destinations = configuration.get("destinations") or []
        self._level = configuration.get("level", "OFF") if destinations else "OFF"
        self._with_data = bool(configuration.get("includeExecutionData"))
        self._arn = record["executionArn"]
        if self._level != "OFF":
            arn = destinations[0]["cloudWatchLogsLogGroup"]["logGroupArn"]
            self._group = arn.split(":log-group:")[1].removesuffix(":*")
            machine = record["stateMachineArn"].rsplit(":", 1)[-1]
            minute = datetime.fromisoformat(record["startDate"]).strftime("%Y-%m-%d-%H-%M")
            self._stream = f"states/{machine}/{minute}/{record['name'][-8:]}"

    def write(self, event: dict) -> None:
        """Write one event of the history as a line of JSON, if the level has it."""
        kind = event["type"]
        wanted = {
            "OFF": False,
            "ALL": True,
            "ERROR": kind.endswith(_ERRORS),
            "FATAL": kind in _FATAL,
        }
        if not wanted[self._level]:
            return
        details = next((value for key, value in event.items() if key.endswith("Details")), {})
        if not self._with_data:
            details = {key: value for key, value in details.items() if key not in _DATA}
        milliseconds = int(datetime.fromisoformat(event["timestamp"]).timestamp() * 1000)
        line = {
            "id": str(event["id"]),
            "type": kind,
            "details": details,
            "previous_event_id": str(event["previousEventId"]),
            "event_timestamp": str(milliseconds),
            "execution_arn": self._arn,
        }
        target = {"logGroupName": self._group, "logStreamName": self._stream}
        if self._group in cloudwatch_logs._log_groups:
            # Answers an error where the stream is there, which is as well.
            cloudwatch_logs._create_log_stream(target)
        entry = {"timestamp": milliseconds, "message": json.dumps(line, ensure_ascii=False)}
        status, _, body = cloudwatch_logs._put_log_events({**target, "logEvents": [entry]})
        if status != 200:
            logger.error("cannot write the log of %s: %r", self._arn, body)


def record_start(record: dict) -> None:
    """Count an execution that starts."""
    _record(record, "ExecutionsStarted", 1, "Count")


def record_end(record: dict) -> None:
    """Count an execution that has ended, and how long it ran."""
    begun = datetime.fromisoformat(record["startDate"]).timestamp()
    _record(record, "ExecutionTime", (time.time() - begun) * 1000, "Milliseconds")
    _record(record, _METRICS[record["status"]], 1, "Count")


def _record(record: dict, name: str, value: float, unit: str) -> None:
    machine = record["stateMachineArn"]
    sets = [{"StateMachineArn": machine}]
    for key, dimension in (
        ("stateMachineVersionArn", "Version"),
        ("stateMachineAliasArn", "Alias"),
    ):
        if record.get(key):
            sets.append({"StateMachineArn": machine, dimension: record[key].rsplit(":", 1)[-1]})
    for dimensions in sets:
        cloudwatch.record_metric("AWS/States", name, value, unit, dimensions)
