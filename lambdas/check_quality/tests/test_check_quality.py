"""check_quality: a run passes when its rows are all accounted for and its critical rules hold."""

import json

import pytest
from botocore.exceptions import ClientError
from check_quality import handler
from pipeline_common.errors import QualityBreach, RowAccountMismatch

ROW_COUNT = {
    "rule": "expect_table_row_count_to_be_between",
    "severity": "critical",
    "success": True,
    "expected": "rows: at least 1",
    "observed": "91 rows of 100 can be loaded",
    "result": {"observed_value": 91},
}
BRAND = {
    "rule": "expect_column_values_to_be_in_set(brand)",
    "severity": "warning",
    "success": False,
    "expected": "one of A, B in all rows that have values",
    "observed": "2 of 91 rows break it (2.198%)",
    "result": {"element_count": 91, "unexpected_count": 2},
}
REPORT = {
    "run_id": "run-1",
    "dataset": "products",
    "run_date": "20170115",
    "release": "1",
    "source_files": ["a.csv"],
    "rows_in": 100,
    "loaded": 88,
    "rejected": 9,
    "superseded": 3,
    "rejected_by_reason": {"price is not a number": 5, "time is empty": 4},
    "rules": [ROW_COUNT],
    "measured": {"rows": 91, "missing": {"brand": 4}},
    "finished_at": "2017-01-16T05:04:03+00:00",
    "seconds": 12.5,
}
HISTORY = "data/history/public/products/"


def check(bucket, context, **changes):
    """Returns the function's answer to a report with these changes."""
    return handler(
        {
            "run_id": "run-1",
            "dataset": "products",
            "config_uri": bucket.config_uri,
            "report_uri": bucket.put_json("data/runs/run-1/report.json", {**REPORT, **changes}),
            "page_uri": "s3://data/data/runs/run-1/report.html",
            "history_prefix": f"s3://data/{HISTORY}",
        },
        context,
    )


def metrics(capsys):
    """Returns the metrics line among the printed lines."""
    [line] = [json.loads(l) for l in capsys.readouterr().out.splitlines() if '"_aws"' in l]
    return line


def test_good_rows_pass_with_their_account(bucket, context, capsys):
    assert check(bucket, context) == {
        "rows_in": 100,
        "loaded": 88,
        "rejected": 9,
        "superseded": 3,
        "rejected_by_reason": {"price is not a number": 5, "time is empty": 4},
        "rules": [
            {
                "rule": "expect_table_row_count_to_be_between",
                "severity": "critical",
                "expected": "rows: at least 1",
                "observed": "91 rows of 100 can be loaded",
                "state": "passed",
                "rows_judged": None,
                "rows_unexpected": None,
            }
        ],
        "warnings": [],
    }
    expected = {
        "Environment": "dev",
        "Dataset": "products",
        "run_id": "run-1",
        "RowsIn": 100,
        "RowsLoaded": 88,
        "RowsRejected": 9,
        "RowsSuperseded": 3,
        "RejectedPercent": 9.0,
        "RulesBroken": 0,
        "RulesWarned": 0,
    }
    assert expected.items() <= metrics(capsys).items()


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"loaded": 87}, "accounts for 99 of 100 rows"),
        ({"rows_in": 99}, "accounts for 100 of 99 rows"),
        ({"rejected_by_reason": {"time is empty": 8}}, "reasons for 8 of 9 rejected rows"),
        ({"rejected_by_reason": {}}, "reasons for 0 of 9 rejected rows"),
        ({"superseded": -3, "loaded": 94}, "gives -3 as superseded"),
        ({"loaded": "88"}, "gives '88' as loaded"),
        ({"rejected": None}, "gives None as rejected"),
        ({"run_id": "run-0"}, "report of run-1 is of the run 'run-0'"),
    ],
)
def test_a_report_that_loses_rows_stops_the_run(bucket, context, changes, told):
    with pytest.raises(RowAccountMismatch, match=told):
        check(bucket, context, **changes)


def test_a_broken_critical_rule_stops_the_run_and_is_told_with_what_was_found(
    bucket, context, capsys
):
    # GIVEN a critical rule and another rule that are broken
    rules = [{**ROW_COUNT, "success": False}, BRAND]
    reasons = {"a": 4, "b": 2, "c": 2, "d": 1}
    # WHEN the run is checked, THEN the error names rule, expectation, finding and main reasons
    told = (
        "^expect_table_row_count_to_be_between: expected rows: at least 1; "
        r"observed 91 rows of 100 can be loaded \(rejected: a 4, b 2, c 2, \.\.\.\): correct"
    )
    with pytest.raises(QualityBreach, match=told):
        check(bucket, context, rules=rules, rejected_by_reason=reasons)
    # AND the metrics and the page show it, and later runs are not compared with it
    assert metrics(capsys)["RulesBroken"] == 1
    assert b"Not loaded: 1 rule is broken." in bucket.read("data/runs/run-1/report.html")
    assert bucket.versions(HISTORY) == []


def test_another_broken_rule_warns_and_the_run_passes(bucket, context, capsys):
    answer = check(bucket, context, rules=[ROW_COUNT, BRAND])

    told = (
        "expect_column_values_to_be_in_set(brand): expected one of A, B in all rows that have "
        "values; observed 2 of 91 rows break it (2.198%)"
    )
    assert answer["warnings"] == [told]
    assert answer["rules"][1]["state"] == "warned"
    assert answer["rules"][1]["rows_unexpected"] == 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines if line.get("level") == "WARNING"] == [told]
    assert [line["RulesWarned"] for line in lines if "_aws" in line] == [1]


@pytest.mark.parametrize("success", [None, False])
def test_what_is_not_judged_or_only_noted_neither_stops_nor_warns(bucket, context, success):
    severity = "critical" if success is None else "info"
    answer = check(
        bucket, context, rules=[ROW_COUNT, {**BRAND, "severity": severity, "success": success}]
    )
    assert answer["warnings"] == []
    assert answer["rules"][1]["state"] == ("not judged" if success is None else "noted")


@pytest.mark.parametrize("rules", [[], [BRAND]])
def test_a_rule_without_a_verdict_stops_the_run(bucket, context, rules):
    with pytest.raises(QualityBreach, match="no verdict on expect_table_row_count_to_be_between:"):
        check(bucket, context, rules=rules)


def test_later_runs_are_compared_with_what_passed_once(bucket, context):
    # WHEN a run is checked twice, as after a timeout
    check(bucket, context)
    check(bucket, context)
    # THEN one object holds what it was like, under its time
    key = f"{HISTORY}20170116T050403-run-1.json"
    assert json.loads(bucket.read(key)) == {
        "run_id": "run-1",
        "run_date": "20170115",
        "rows": 91,
        "missing": {"brand": 4},
    }
    listed = bucket.s3.list_objects_v2(Bucket="data", Prefix=HISTORY)
    assert [item["Key"] for item in listed["Contents"]] == [key]


def test_what_the_job_did_not_measure_is_no_measure_for_later_runs(bucket, context):
    check(bucket, context, measured=None)
    assert bucket.versions(HISTORY) == []


def test_the_page_is_one_that_a_browser_shows(bucket, context):
    check(bucket, context)
    page = bucket.s3.get_object(Bucket="data", Key="data/runs/run-1/report.html")
    assert page["ContentType"] == "text/html; charset=utf-8"


def test_a_run_without_a_readable_report_is_not_accounted_for(bucket, context):
    run = {"run_id": "run-1", "dataset": "products", "config_uri": bucket.config_uri}
    bucket.put("broken.json", b"{")

    with pytest.raises(RowAccountMismatch, match="no report at s3://data/none.json"):
        handler({**run, "report_uri": "s3://data/none.json"}, context)
    with pytest.raises(RowAccountMismatch, match="s3://data/broken.json is not JSON"):
        handler({**run, "report_uri": "s3://data/broken.json"}, context)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        handler({**run, "report_uri": "s3://elsewhere/report.json"}, context)
