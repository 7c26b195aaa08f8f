"""Decides from the job's report whether a run's rows may be loaded; publishes their counts as
metrics and the report as a page.

Nothing is published before it is checked: the rows lie under the run's own prefix until this
function lets them pass. What passed is what later runs are compared with, where the job has
measured it.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from pipeline_common.aws import client, error_code, read_s3, split_s3_uri
from pipeline_common.config import dataset_config, load_config
from pipeline_common.errors import QualityBreach, RowAccountMismatch
from pipeline_common.log import bind, logged, logger
from pipeline_common.metrics import emit_metrics
from report_page import report_page, state_of

COUNTS = ("rows_in", "loaded", "rejected", "superseded")
TOP_REASONS = 3

Report = Mapping[str, Any]


@logged
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Returns the run's row account, its rules' results and its warnings.

    Raises RowAccountMismatch when the report does not account for every row, QualityBreach when the
    rows break a critical rule.
    """
    bind(dataset=event["dataset"])
    config = load_config(event["config_uri"])
    report = read_report(event["report_uri"])
    check_account(report, event["run_id"])
    check_verdicts(report, dataset_config(config, event["dataset"]).get("expectations", {}))
    logger.info("row account", extra={count: report[count] for count in COUNTS})
    states = [state_of(rule) for rule in report["rules"]]
    warnings = [told(rule) for rule in report["rules"] if state_of(rule) == "warned"]
    for warning in warnings:
        logger.warning(warning)

    # Before the rules: a breach must show in the metrics and on the page.
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
            "RulesBroken": states.count("broken"),
            "RulesWarned": states.count("warned"),
        },
    )
    write_page(report, event["page_uri"])
    check_rules(report)
    if report["measured"] is not None:
        remember(report, event["history_prefix"])
    account = {name: report[name] for name in (*COUNTS, "rejected_by_reason")}
    return account | {"rules": results(report), "warnings": warnings}


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


def check_verdicts(report: Report, rules: Iterable[str]) -> None:
    """Raises QualityBreach unless the report has a verdict on each rule of the dataset."""
    judged = {rule["rule"] for rule in report.get("rules", [])}
    if forgotten := [rule for rule in rules if rule not in judged]:
        raise QualityBreach(
            f"The report of {report['run_id']} has no verdict on {', '.join(forgotten)}: "
            "deploy the release again."
        )


def check_rules(report: Report) -> None:
    """Raises QualityBreach naming each broken critical rule, what it expects and what was found."""
    broken = [told(rule) for rule in report["rules"] if state_of(rule) == "broken"]
    if broken:
        raise QualityBreach(
            f"{'; '.join(broken)}{_reasons(report)}: correct the file and send it again."
        )


def told(rule: Mapping[str, Any]) -> str:
    """Returns a rule and its verdict in words."""
    return f"{rule['rule']}: expected {rule['expected']}; observed {rule['observed']}"


def write_page(report: Report, uri: str) -> None:
    """Writes the report as a page, which a browser shows."""
    bucket, key = split_s3_uri(uri)
    client("s3").put_object(
        Bucket=bucket,
        Key=key,
        Body=report_page(report).encode(),
        ContentType="text/html; charset=utf-8",
    )


def remember(report: Report, history_prefix: str) -> None:
    """Adds the run to those that later runs are compared with; once, however often it is tried."""
    bucket, prefix = split_s3_uri(history_prefix)
    time = report["finished_at"][:19].replace("-", "").replace(":", "")
    known = {"run_id": report["run_id"], "run_date": report["run_date"], **report["measured"]}
    client("s3").put_object(
        Bucket=bucket,
        Key=f"{prefix}{time}-{report['run_id']}.json",
        Body=json.dumps(known).encode(),
        ContentType="application/json",
    )


def results(report: Report) -> list[dict[str, Any]]:
    """Returns what the warehouse keeps of each rule's verdict."""
    return [
        {
            **{key: rule[key] for key in ("rule", "severity", "expected", "observed")},
            "state": state_of(rule),
            "rows_judged": rule["result"].get("element_count"),
            "rows_unexpected": rule["result"].get("unexpected_count"),
        }
        for rule in report["rules"]
    ]


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
