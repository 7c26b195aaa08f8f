"""Decides from the job's report whether a run's rows may be loaded, and publishes their counts as
metrics.

Nothing is published before it is checked: the rows lie under the run's own prefix until this
function lets them pass.
"""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from pipeline_common.aws import error_code, read_s3
from pipeline_common.config import dataset_config, load_config
from pipeline_common.errors import QualityBreach, RowAccountMismatch
from pipeline_common.log import bind, logged, logger
from pipeline_common.metrics import emit_metrics

COUNTS = ("rows_in", "loaded", "rejected", "superseded")
TOP_REASONS = 3

Report = Mapping[str, Any]


@logged
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Returns the run's row account: rows_in, loaded, rejected, superseded, rejected_by_reason.

    Raises RowAccountMismatch when the report does not account for every row, QualityBreach when the
    rows break a limit.
    """
    bind(dataset=event["dataset"])
    config = load_config(event["config_uri"])
    report = read_report(event["report_uri"])
    check_account(report, event["run_id"])
    logger.info("row account", extra={count: report[count] for count in COUNTS})

    # Before the limits: a breach must show in the metrics.
    emit_metrics(
        config["environment"],
        event["dataset"],
        event["run_id"],
        {
            "RowsIn": report["rows_in"],
            "RowsLoaded": report["loaded"],
            "RowsRejected": report["rejected"],
            "RowsSuperseded": report["superseded"],
            "RejectedPercent": rejected_percent(report),
        },
    )
    check_limits(report, dataset_config(config, event["dataset"])["quality"])
    return {name: report[name] for name in (*COUNTS, "rejected_by_reason")}


def read_report(report_uri: str) -> Report:
    """Returns the report that the job wrote; raises RowAccountMismatch when there is none."""
    try:
        return json.loads(read_s3(report_uri))
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        raise RowAccountMismatch(
            f"The job left no report at {report_uri}, so its rows are not accounted for: "
            "see the job's log."
        ) from error
    except ValueError as error:
        raise RowAccountMismatch(f"The report {report_uri} is not JSON ({error}).") from error


def check_account(report: Report, run_id: str) -> None:
    """Raises RowAccountMismatch unless the report is this run's and accounts for every row."""
    if report.get("run_id") != run_id:
        raise RowAccountMismatch(f"The report of {run_id} is of the run {report.get('run_id')!r}.")
    for count in COUNTS:
        if not isinstance(report.get(count), int) or report[count] < 0:
            raise RowAccountMismatch(
                f"The report of {run_id} gives {report.get(count)!r} as {count}, "
                "expected a number of rows."
            )
    total = report["loaded"] + report["rejected"] + report["superseded"]
    if total != report["rows_in"]:
        raise RowAccountMismatch(
            f"The report of {run_id} accounts for {total:,} of {report['rows_in']:,} rows "
            f"({report['loaded']:,} loaded + {report['rejected']:,} rejected + "
            f"{report['superseded']:,} superseded)."
        )
    by_reason = sum(report.get("rejected_by_reason", {}).values())
    if by_reason != report["rejected"]:
        raise RowAccountMismatch(
            f"The report of {run_id} gives reasons for {by_reason:,} of "
            f"{report['rejected']:,} rejected rows."
        )


def check_limits(report: Report, quality: Mapping[str, Any]) -> None:
    """Raises QualityBreach naming the first broken limit, what was found and the main reasons."""
    if report["loaded"] < quality["min_loaded_rows"]:
        raise QualityBreach(
            f"min_loaded_rows is {quality['min_loaded_rows']:,} but {report['loaded']:,} of "
            f"{report['rows_in']:,} rows can be loaded{_reasons(report)}: "
            "correct the file and send it again."
        )
    percent = rejected_percent(report)
    if percent > quality["max_rejected_percent"]:
        raise QualityBreach(
            f"max_rejected_percent is {quality['max_rejected_percent']:g} but {percent:.4g}% "
            f"({report['rejected']:,} of {report['rows_in']:,} rows) are rejected"
            f"{_reasons(report)}: correct the file and send it again."
        )


def rejected_percent(report: Report) -> float:
    """Returns the rejected share of a report's rows, 0 to 100; 0 of no rows."""
    return 100 * report["rejected"] / report["rows_in"] if report["rows_in"] else 0.0


def _reasons(report: Report) -> str:
    ranked = sorted(
        report["rejected_by_reason"].items(), key=lambda reason: (-reason[1], reason[0])
    )
    if not ranked:
        return ""
    shown = ", ".join(f"{reason} {rows:,}" for reason, rows in ranked[:TOP_REASONS])
    return f" (rejected: {shown}{', ...' if len(ranked) > TOP_REASONS else ''})"
