"""CloudWatch metrics in embedded metric format: a log line becomes metrics without an API call."""

import json
import time
from collections.abc import Mapping

NAMESPACE = "RetailPipeline"
UNITS = {"RejectedPercent": "Percent"}


def emit_metrics(
    environment: str, dataset: str, run_id: str, values: Mapping[str, int | float]
) -> None:
    """Prints the metrics of one run, by environment and dataset, and by environment.

    The run's id is a property of the line, not a dimension: as a dimension it would make each run
    a metric of its own.
    """
    metrics = [{"Name": name, "Unit": UNITS.get(name, "Count")} for name in values]
    line = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    # CloudWatch adds up no dimensions, and an alarm watches all datasets.
                    "Dimensions": [["Environment", "Dataset"], ["Environment"]],
                    "Metrics": metrics,
                }
            ],
        },
        "Environment": environment,
        "Dataset": dataset,
        "run_id": run_id,
        **values,
    }
    # EMF must be the whole line, so that it bypasses the logger.
    print(json.dumps(line), flush=True)
