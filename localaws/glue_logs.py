"""A run's output in CloudWatch Logs while it runs, if its role may write there."""

# pylint: disable=protected-access
import logging
import threading
import time

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import cloudwatch_logs

from localaws.credentials import role_allows

DEFAULT_PREFIX = "/aws-glue/jobs"
# Standard output and standard error; on AWS Glue 5 writes the driver's there too.
_STREAMS = ("output", "error")
_BATCH_SECONDS = 0.5

logger = logging.getLogger("localaws.glue")


class RunLogs:
    """The two log streams of a run, named after it; lines are written in batches.

    The groups are ``<prefix>/output`` and ``<prefix>/error``: --custom-logGroup-prefix of Glue 5.
    """

    def __init__(self, run_id: str, role_arn: str, prefix: str = DEFAULT_PREFIX):
        self._run_id = run_id
        self._account, self._region = get_account_id(), get_region()
        self._lock = threading.Lock()
        self._lines: dict[str, list[dict]] = {name: [] for name in _STREAMS}
        self._timer: threading.Timer | None = None
        groups = {name: f"{prefix}/{name}" for name in _STREAMS}
        # Where the role may not write, there is no group.
        self._groups = {
            name: group for name, group in groups.items() if self._may_write(role_arn, group)
        }

    def write(self, name: str, line: str) -> None:
        """Add one line to ``output`` or ``error``; it is to be read half a second later."""
        if not line or name not in self._groups:
            return
        with self._lock:
            self._lines[name].append({"timestamp": int(time.time() * 1000), "message": line})
            if self._timer is None:
                self._timer = threading.Timer(_BATCH_SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write what has come in."""
        with self._lock, request_scope(self._account, self._region):
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            for name, events in self._lines.items():
                if events:
                    self._put(self._groups[name], events)
                self._lines[name] = []

    def _put(self, group: str, events: list[dict]) -> None:
        stream = {"logGroupName": group, "logStreamName": self._run_id}
        # Each answers an error where the group or stream is there, which is as well.
        cloudwatch_logs._create_log_group(stream)
        cloudwatch_logs._create_log_stream(stream)
        status, _, body = cloudwatch_logs._put_log_events({**stream, "logEvents": events})
        if status != 200:
            logger.error("cannot write the log of %s: %r", self._run_id, body)

    def _may_write(self, role_arn: str, group: str) -> bool:
        arn = f"arn:aws:logs:{self._region}:{self._account}:log-group:{group}"
        needed = [
            ("logs:CreateLogStream", f"{arn}:log-stream:{self._run_id}"),
            ("logs:PutLogEvents", f"{arn}:log-stream:{self._run_id}"),
        ]
        if group not in cloudwatch_logs._log_groups:
            needed.append(("logs:CreateLogGroup", arn))
        denied = [
            action for action, resource in needed if not role_allows(role_arn, action, resource)
        ]
        if denied:
            logger.warning("%s may not %s on %s: no log", role_arn, ", ".join(denied), group)
        return not denied
