"""The job's log lines: JSON, each with the run's id."""

import json

from utils.log import log_to_stderr, logger


def test_each_line_says_which_run_it_is_of(capsys):
    log_to_stderr(run_id="Products_20170115-1", dataset="products")
    logger.info("%d file(s)", 2)
    try:
        raise ValueError("größer\nas expected")
    except ValueError:
        logger.exception("failed")

    captured = capsys.readouterr()
    assert captured.out == ""  # which is the report's
    first, failed = (json.loads(line) for line in captured.err.splitlines())
    assert first | {"timestamp": ""} == {
        "timestamp": "",
        "level": "INFO",
        "message": "2 file(s)",
        "run_id": "Products_20170115-1",
        "dataset": "products",
    }
    assert failed["run_id"] == first["run_id"] and failed["level"] == "ERROR"
    assert "ValueError: größer\nas expected" in failed["exception"]
