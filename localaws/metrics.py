"""CloudWatch: embedded metrics in logs, queue depths, and alarms evaluated as AWS documents.

ministack evaluates an alarm over all metrics of its name, whatever their dimensions, when a metric
is put, and never again. Here an alarm looks at its own metric, period by period, on every metric
and every few seconds, so that it also returns.
"""

# pylint: disable=protected-access
import json
import logging
import operator
import threading
import time

from ministack.core.responses import request_scope
from ministack.services import cloudwatch, cloudwatch_logs, sqs

from localaws import hooks
from localaws.settings import Settings

logger = logging.getLogger("localaws.metrics")

EVALUATION_SECONDS = 5
_DEPTH_SECONDS = 60  # how often AWS publishes a queue's depth
_COMPARISONS = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}

_stopping = threading.Event()
_depths: dict[tuple, tuple[int, float]] = {}  # queue -> (last depth, when it was published)


def register() -> None:
    """Hook into ministack's logs and alarms."""
    hooks.replace(
        cloudwatch_logs, "_append_log_events", _with_metrics(cloudwatch_logs._append_log_events)
    )
    hooks.replace(cloudwatch, "_evaluate_alarm", evaluate)


def start(_settings: Settings) -> None:
    """Evaluate every account's alarms from now on."""
    _stopping.clear()
    threading.Thread(target=_watch, name="alarms", daemon=True).start()


def stop() -> None:
    """Stop evaluating alarms."""
    _stopping.set()


# ---- metrics ----------------------------------------------------------------------------------


def _with_metrics(append):
    def append_and_measure(stream: dict, events: list[dict]) -> None:
        append(stream, events)
        if any(_store_embedded(event["message"]) for event in events):
            cloudwatch._evaluate_all_alarms()

    return append_and_measure


def _store_embedded(message: str) -> bool:
    """Store the metrics of a line in embedded metric format; return whether it is one."""
    if '"_aws"' not in message:
        return False
    try:
        line = json.loads(message)
        directives = line["_aws"]["CloudWatchMetrics"]
        seconds = line["_aws"]["Timestamp"] / 1000
        for directive in directives:
            for names in directive.get("Dimensions") or [[]]:
                dimensions = {name: str(line[name]) for name in names}
                for metric in directive["Metrics"]:
                    values = line[metric["Name"]]
                    for value in values if isinstance(values, list) else [values]:
                        _store(directive["Namespace"], metric, dimensions, seconds, value)
    except (ValueError, TypeError, KeyError) as error:
        # AWS drops such a line, too, and says so nowhere else.
        logger.warning("not in embedded metric format (%r): %s", error, message)
        return False
    return True


def _store(namespace: str, metric: dict, dimensions: dict, seconds: float, value: float) -> None:
    unit = metric.get("Unit", "None")
    cloudwatch._store_datum(
        namespace, metric["Name"], dimensions, seconds, unit, float(value), None, None, None
    )


def _publish_depths() -> None:
    """Publish the depth of the current account's queues when it changes, and while not empty."""
    now = time.time()
    for queue in list(sqs._queues.values()):
        sqs._refresh_counts(queue)
        arn = queue["attributes"]["QueueArn"]
        depth = int(queue["attributes"]["ApproximateNumberOfMessages"])
        last, published = _depths.get(arn, (0, 0.0))
        if depth != last or (depth and now - published >= _DEPTH_SECONDS):
            _depths[arn] = (depth, now)
            cloudwatch.record_metric(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                depth,
                "Count",
                {"QueueName": arn.rsplit(":", 1)[-1]},
            )


# ---- alarms -----------------------------------------------------------------------------------


def _watch() -> None:
    while not _stopping.wait(EVALUATION_SECONDS):
        for account, region in {key[:2] for key in list(cloudwatch._alarms._data)}:
            with request_scope(account, region):
                _publish_depths()
                cloudwatch._evaluate_all_alarms()


def evaluate(alarm: dict) -> None:
    """Set the alarm's state by its own metric's last periods, the newest ending now."""
    if not alarm.get("MetricName"):
        return
    values = _period_values(alarm)
    state, reason = _state(alarm, values)
    old = alarm["StateValue"]
    if state == old:
        return
    alarm["StateValue"] = state
    alarm["StateReason"] = reason
    alarm["StateUpdatedTimestamp"] = int(time.time())
    cloudwatch._record_history(alarm["AlarmName"], old, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _period_values(alarm: dict) -> list[float | None]:
    """Return the statistic of each evaluated period, newest first; None where it has no data."""
    dimensions = {entry["Name"]: entry["Value"] for entry in alarm.get("Dimensions") or []}
    key = (alarm["Namespace"], alarm["MetricName"], cloudwatch._dims_key(dimensions))
    now, period = time.time(), int(alarm["Period"])
    count = int(alarm["EvaluationPeriods"])
    periods: list[list[dict]] = [[] for _ in range(count)]
    for point in list(cloudwatch._metrics.get(key) or []):
        age = max(0, int((now - point["Timestamp"]) // period))
        if age < count and alarm.get("Unit") in (None, "", point.get("Unit")):
            periods[age].append(point)
    statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"]
    return [
        (
            cloudwatch._stat_value(cloudwatch._calc_stats(points), statistic, points)
            if points
            else None
        )
        for points in periods
    ]


def _state(alarm: dict, values: list[float | None]) -> tuple[str, str]:
    """Return the state, and the reason for it, that AWS documents for these periods."""
    compare = _COMPARISONS[alarm["ComparisonOperator"]]
    threshold = float(alarm["Threshold"])
    missing = alarm.get("TreatMissingData") or "missing"
    verdicts = [None if value is None else compare(value, threshold) for value in values]
    if missing in ("breaching", "notBreaching"):
        verdicts = [missing == "breaching" if verdict is None else verdict for verdict in verdicts]
    known = [verdict for verdict in verdicts if verdict is not None]
    if not known:
        if missing == "ignore":
            return alarm["StateValue"], alarm["StateReason"]
        return "INSUFFICIENT_DATA", f"Insufficient Data: no datapoint in {len(values)} periods"
    wanted = int(alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"])
    state = "ALARM" if sum(known) >= min(wanted, len(known)) else "OK"
    datapoints = ", ".join("missing" if value is None else f"{value:g}" for value in values)
    return state, (
        f"Threshold Crossed: {sum(known)} of the last {len(values)} datapoints [{datapoints}] "
        f"breach {alarm['ComparisonOperator']} {threshold:g}"
    )
