"""One JSON object a log line, with the run's id: the query that follows a run through the functions
follows it through the job."""

import json
import logging
from datetime import UTC, datetime

logger = logging.getLogger("etl")


class JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON: time, level, message, and the same fields every time."""

    def __init__(self, **fields: str):
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"timestamp": time, "level": record.levelname, "message": record.getMessage()}
        line |= self._fields
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(**fields: str) -> None:
    """Writes what the job logs to standard error, each line with these fields."""
    output = logging.StreamHandler()
    output.setFormatter(JsonFormatter(**fields))
    logger.handlers = [output]
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a handler of Glue's own would print every line again
