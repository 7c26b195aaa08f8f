"""check_quality: only runs whose rows are all accounted for, and good enough, pass."""

import json

import pytest
from botocore.exceptions import ClientError
from check_quality import handler
from pipeline_common.errors import QualityBreach, RowAccountMismatch

REPORT = {
    "run_id": "run-1",
    "dataset": "products",
    "rows_in": 100,
    "loaded": 88,
    "rejected": 9,
    "superseded": 3,
    "rejected_by_reason": {"price is not a number": 5, "time is empty": 4},
    "seconds": 12.5,
}


def check(bucket, context, **changes):
    """Returns the function's answer to a report with these changes."""
    return handler(
        {
            "run_id": "run-1",
            "dataset": "products",
            "config_uri": bucket.config_uri,
            "report_uri": bucket.put_json("data/runs/run-1/report.json", {**REPORT, **changes}),
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


@pytest.mark.parametrize(
    "changes, told",
    [
        (
            {"loaded": 86, "rejected": 11, "rejected_by_reason": {"a": 5, "b": 3, "c": 2, "d": 1}},
            r"max_rejected_percent is 10 but 11% \(11 of 100 rows\) are rejected "
            r"\(rejected: a 5, b 3, c 2, \.\.\.\)",
        ),
        (
            {"rows_in": 3, "loaded": 0, "rejected": 3, "superseded": 0}
            | {"rejected_by_reason": {"price is not a number": 3}},
            r"min_loaded_rows is 1 but 0 of 3 rows can be loaded "
            r"\(rejected: price is not a number 3\)",
        ),
        (
            {"rows_in": 0, "loaded": 0, "rejected": 0, "superseded": 0, "rejected_by_reason": {}},
            r"min_loaded_rows is 1 but 0 of 0 rows can be loaded: ",
        ),
    ],
)
def test_a_breach_names_the_rule_the_limit_and_what_was_found(
    bucket, context, capsys, changes, told
):
    with pytest.raises(QualityBreach, match=told):
        check(bucket, context, **changes)
    assert metrics(capsys)["RowsLoaded"] == changes["loaded"]  # a breach shows in the metrics too


def test_the_limit_itself_is_allowed(bucket, context):
    changes = {"loaded": 87, "rejected": 10, "rejected_by_reason": {"a": 10}}

    assert check(bucket, context, **changes)["rejected"] == 10


def test_a_run_without_a_readable_report_is_not_accounted_for(bucket, context):
    run = {"run_id": "run-1", "dataset": "products", "config_uri": bucket.config_uri}
    bucket.put("broken.json", b"{")

    with pytest.raises(RowAccountMismatch, match="no report at s3://data/none.json"):
        handler({**run, "report_uri": "s3://data/none.json"}, context)
    with pytest.raises(RowAccountMismatch, match="s3://data/broken.json is not JSON"):
        handler({**run, "report_uri": "s3://data/broken.json"}, context)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        handler({**run, "report_uri": "s3://elsewhere/report.json"}, context)
