"""Rules of every severity: a broken warning is told and the rows are loaded; what was found is in
the warehouse and on a page."""

import json

import pytest
from tests.e2e.project import DATA_BUCKET
from tests.e2e.test_bad_input import GOOD_ROWS, bad_row, body

PRODUCT = 401


@pytest.fixture(scope="module")
def warned(project, notifications, tmp_path_factory):
    """A file with a brand that nobody knows, a repeated key and a bad row, fed."""
    notifications()
    file = tmp_path_factory.mktemp("rules") / "Products_20170701.csv"
    file.write_bytes(
        body(
            PRODUCT,
            bad_row(PRODUCT, 900, p3="<Nobody's>"),
            bad_row(PRODUCT, 0, p1="Pears"),
            bad_row(PRODUCT, 901, p6="abc"),
        )
    )
    return project.feed(file)


def run_id(done) -> str:
    words = done.stdout.split()
    return words[words.index("run") + 1]


def test_a_broken_warning_is_told_and_the_rows_are_loaded(project, notifications, warned):
    assert warned.returncode == 0, warned.stderr
    told = (
        "expect_column_values_to_be_in_set(brand): expected one of National, Private in all rows "
        f"that have values; observed 1 of {GOOD_ROWS + 2} rows break it (0.4132%)"
    )
    assert f"feed: warning: {told}" in warned.stderr
    (note,) = [note for note in notifications() if note.get("run_id") == run_id(warned)]
    assert told in note["warnings"]
    (rows,) = project.query(f"select count(*) from products where product_id = {PRODUCT}")
    assert int(rows) == GOOD_ROWS + 1


def test_the_warehouse_has_each_rules_result_and_the_rejected_rows_by_reason(project, warned):
    where = f"where run_id = '{run_id(warned)}'"
    assert project.query(f"select reason, rows_rejected from load_rejections {where}") == [
        "price_not_a_decimal,1"
    ]
    results = project.query(
        f"select rule, state, rows_judged, rows_unexpected from quality_results {where}"
    )
    assert f"expect_column_values_to_be_in_set(brand),warned,{GOOD_ROWS + 2},1" in results
    unique = f'"expect_compound_columns_to_be_unique(product_id,time)",passed,{GOOD_ROWS + 2},2'
    assert unique in results
    report = project.client("s3").get_object(
        Bucket=DATA_BUCKET, Key=f"data/runs/{run_id(warned)}/report.json"
    )
    rules = [rule["rule"] for rule in json.load(report["Body"])["rules"]]
    assert len(results) == len(rules) == len(set(rules))


def test_the_report_is_a_page_where_feed_says_it_is(project, warned):
    (line,) = [line for line in warned.stdout.splitlines() if line.startswith("report ")]
    bucket, key = line.split()[1].removeprefix("s3://").split("/", 1)
    page = project.client("s3").get_object(Bucket=bucket, Key=key)
    assert page["ContentType"] == "text/html; charset=utf-8"
    html = page["Body"].read().decode()
    assert "price_not_a_decimal" in html
    assert "expect_column_values_to_be_in_set(brand)" in html
