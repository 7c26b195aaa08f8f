"""One JSON object a log line, with the run's id: one query follows a run through every function.

The standard library does it in this one module. aws-lambda-powertools does it too, in 2.3 MB of
layer and 14 ms of import, which would take a handler's import past its ceiling of 150 ms.
"""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

Handler = Callable[[dict[str, Any], Any], Any]

# What every LogRecord has; anything else came in by `extra=` and belongs on the line.
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}

logger = logging.getLogger("pipeline")
_context: dict[str, Any] = {}


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON: time, level, message, the invocation, `extra` fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname,
            "message": record.getMessage(),
            **_context,
            **{k: v for k, v in vars(record).items() if k not in _STANDARD_ATTRIBUTES},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class _StdoutHandler(logging.Handler):
    """Writes to what sys.stdout is at that moment: Lambda's runtime and the tests replace it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stdout, flush=True)


def _configure() -> None:
    output = _StdoutHandler()
    output.setFormatter(JsonFormatter())
    logger.handlers = [output]
    logger.setLevel(logging.INFO)
    logger.propagate = False  # Lambda's root logger would print every line again


_configure()


def bind(**fields: Any) -> None:
    """Adds fields to every later line of this invocation."""
    _context.update(fields)


def logged(handler: Handler) -> Handler:
    """Gives each invocation of a handler its log context, and logs how it ended.

    An exception is logged and raised again: its class and message are what the state machine sees.
    """

    @wraps(handler)
    def invoke(event: dict[str, Any], context: Any) -> Any:
        _context.clear()
        bind(
            function=context.function_name,
            version=context.function_version,
            request_id=context.aws_request_id,
            run_id=event.get("run_id"),
            execution=event.get("execution"),
        )
        try:
            result = handler(event, context)
        except Exception as error:
            logger.exception("failed", extra={"error": type(error).__name__})
            raise
        logger.info("done")
        return result

    return invoke
