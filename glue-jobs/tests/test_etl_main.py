"""One whole run of the job, looked at from all sides, and how it is started."""

import csv
import io
import json
from datetime import UTC, datetime

import etl_main
import pytest
from local_job import GOOD, HEADER, LocalJob, counts, line
from utils.errors import ConfigurationError

# ---- a whole run ---------------------------------------------------------------------------------

TIMES = [
    "0001-01-01 00:00:00",
    "1582-10-10 12:00:00",  # a day that the Gregorian calendar skipped
    "2017-03-26 02:30:00",  # an hour that summer time skipped in Paris
    "9999-12-31 23:59:59.999999",
]


@pytest.fixture(scope="module", name="whole_run")
def fixture_whole_run(spark, tmp_path_factory):
    """A run of two files: good rows, each kind of fault, keys repeated within and across files."""
    first = HEADER + "".join(
        [
            line(),
            line(product_id="2", product_name='"Two\nlines, ""quoted"""'),
            line(product_id="3", price="abc"),
            line(product_id="3", price="-1"),
            line(product_id="3", price="1e400"),
            line(product_id="3", price='"1,5"'),
            line(product_id="3", price="", quantity="0"),
            line(product_id="3", time="2017-02-29 10:00:00"),
            line(product_id="3", product_name="茶" * 100),
            line(product_id=""),
            line(product_id="", price="", time=""),
            line(product_id="2", product_name="Later"),
            "3,too,short\n",
            *[line(product_id="9", time=time) for time in TIMES],
        ]
    )
    second = HEADER + line(product_name="Latest") + line(product_id="4", brand=" ")
    second = second.encode() + line(product_id="5", brand="Caf\xe9").encode("latin-1")
    job = LocalJob(spark, tmp_path_factory.mktemp("whole_run"))
    job.run(first, second)
    return job


def test_every_row_is_accounted_for(whole_run):
    # THEN the sum is right, and each rejected row is counted under its first reason
    report = whole_run.report
    assert counts(report) == {"rows_in": 20, "loaded": 7, "rejected": 11, "superseded": 2}
    assert report["rejected_by_reason"] == {
        "invalid_utf8": 1,
        "malformed_row": 1,
        "price_missing": 1,
        "price_negative": 1,
        "price_not_a_decimal": 2,
        "price_out_of_range": 1,
        "product_id_missing": 2,
        "product_name_too_long": 1,
        "time_not_a_timestamp": 1,
    }


def test_the_latest_row_of_each_key_is_loaded_with_the_tables_columns_and_types(whole_run):
    loaded = whole_run.spark.read.parquet(*whole_run.copied())
    assert [(field.name, field.dataType.simpleString()) for field in loaded.schema] == [
        ("product_id", "bigint"),
        ("product_name", "string"),
        ("department", "string"),
        ("brand", "string"),
        ("product_category", "string"),
        ("package_size", "string"),
        ("price", "decimal(12,4)"),
        ("quantity", "int"),
        ("store_id", "int"),
        ("time", "timestamp"),
        ("_source", "int"),
        ("_rejected", "string"),
    ]
    assert loaded.where("_rejected IS NOT NULL").isEmpty()
    rows = loaded.selectExpr("product_id", "product_name", "brand", "CAST(time AS string)")
    assert sorted(map(tuple, rows.collect()), key=str) == [
        (1, "Latest", "National", GOOD["time"]),
        (2, "Later", "National", GOOD["time"]),
        (4, "Tea", None, GOOD["time"]),
        *[(9, "Tea", "National", time) for time in TIMES],
    ]


def test_rejected_rows_say_what_the_file_said_and_every_reason(whole_run):
    rows = whole_run.rejected()
    rejected = {(row.source_file, *row.reasons): row for row in rows}
    several = ("product_id_missing", "price_missing", "time_missing")
    assert ("Products_20170115.csv", *several) in rejected
    assert rejected["Products_20170115.csv", "price_out_of_range"].price == "1e400"
    assert rejected["Products_20170115.csv", "malformed_row"].row_text == "3,too,short"
    assert rejected["Products_20170116.csv", "invalid_utf8"].brand == "Caf\ufffd"


def test_a_rejected_row_has_its_place_in_its_file(whole_run):
    places = {
        (row.source_file, row.source_block, row.source_row): row for row in whole_run.rejected()
    }
    for (name, block, number), row in places.items():
        text = (whole_run.folder / "staging" / name).read_bytes().decode(errors="replace")
        record = list(csv.reader(io.StringIO(text, newline="")))[1 + number]
        assert block == 0
        assert row.row_text or row.price == (record[6] or None)
        assert row.row_text in (None, ",".join(record))
    assert len({name for name, _, _ in places}) == 2


def test_the_report_says_what_ran_and_is_written_as_returned(whole_run):
    report = whole_run.document("report.json")
    assert report == whole_run.report
    assert report["seconds"] > 0
    assert datetime.fromisoformat(report["finished_at"]).tzinfo is UTC
    del report["seconds"], report["finished_at"], report["rejected_by_reason"]
    assert report == {
        "run_id": "run-1",
        "dataset": "products",
        "run_date": "20170115",
        "release": "20170116-0123456789ab",
        "source_files": ["Products_20170115.csv", "Products_20170116.csv"],
        "rules": [],
        "measured": None,
        **counts(report),
    }


def test_the_manifest_names_exactly_the_loaded_files(whole_run):
    prefix = f"file://{whole_run.output}/rows/outcome=loaded/"
    files = sorted((whole_run.output / "rows/outcome=loaded").glob("*.parquet"))
    assert whole_run.document("manifest.json") == {
        "entries": [
            {
                "url": prefix + file.name,
                "mandatory": True,
                "meta": {"content_length": file.stat().st_size},
            }
            for file in files
        ]
    }
    assert files


# ---- arguments -----------------------------------------------------------------------------------


def test_an_output_prefix_of_another_run_is_refused(job):
    with pytest.raises(ConfigurationError, match="output_prefix must end with /run-1/"):
        job.run(HEADER, output_prefix=f"file://{job.folder}/runs/")


def test_a_missing_configuration_is_named(job):
    with pytest.raises(ConfigurationError, match="there is no configuration at file:///none.json"):
        job.run(HEADER, config_uri="file:///none.json")


def test_the_job_runs_as_glue_starts_it(job, monkeypatch, capsys):
    # GIVEN the arguments that Glue passes, and a context without Glue's own JVM classes
    (job.folder / "staging/a.csv").write_text(HEADER + line())
    arguments = job.arguments(["a.csv"])
    argv = ["etl_main.py", "--job-bookmark-option", "job-bookmark-disable"]
    for name, value in arguments.items():
        argv += [f"--{name}", value]
    steps = []

    class Context:
        """GlueContext as far as the job uses it."""

        def __init__(self, spark_context):
            assert spark_context is job.spark.sparkContext
            self.spark_session = job.spark

    class Job:
        """Glue's Job as far as the job uses it."""

        def __init__(self, context):
            assert isinstance(context, Context)

        def init(self, name, args):
            assert args["run_id"] == "run-1"
            steps.append(f"init {name}")

        def commit(self):
            steps.append("commit")

    monkeypatch.setattr(etl_main, "GlueContext", Context)
    monkeypatch.setattr(etl_main, "Job", Job)
    # WHEN it runs
    etl_main.main(argv)
    # THEN its report is its result, and it is committed
    assert json.loads(capsys.readouterr().out) == job.document("report.json")
    assert steps == ["init etl", "commit"]
