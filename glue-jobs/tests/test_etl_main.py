"""The job as a plain process on local files: every row in is loaded, rejected or superseded."""

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import etl_main
import pytest
import yaml
from utils.errors import (
    ConfigurationError,
    RowAccountMismatch,
    SourceFormatError,
    SourceReadError,
)

CONFIG = Path(__file__).resolve().parents[2] / "config/common"
HEADER = (
    "Product@ID,Product Name!,Department,Brand,Product Category,Package Size,Price ($),Quantity,"
    "Store ID,Time\n"
)
GOOD = {
    "product_id": "1",
    "product_name": "Tea",
    "department": "GROCERY",
    "brand": "National",
    "product_category": "TEA",
    "package_size": "20 CT",
    "price": "2.50",
    "quantity": "2",
    "store_id": "330",
    "time": "2017-01-15 10:20:30",
}


def line(**values):
    return ",".join((GOOD | values).values()) + "\n"


@pytest.fixture(name="job")
def fixture_job(spark, tmp_path):
    return LocalJob(spark, tmp_path)


class LocalJob:
    """Runs the job on files of a folder and reads what it wrote."""

    def __init__(self, spark, folder):
        self.spark = spark
        self.folder = folder
        self.output = folder / "runs/run-1"
        self.report = None
        (folder / "staging").mkdir()
        self.configure(products=self.products())

    @staticmethod
    def products(*expectations):
        """The project's own dataset, with these rules and no others."""
        text = (CONFIG / "datasets/products.yaml").read_text(encoding="utf-8")
        rules = {f"rule-{number}": rule for number, rule in enumerate(expectations, start=1)}
        return {**yaml.safe_load(text), "expectations": rules}

    def configure(self, **datasets):
        (self.folder / "config.json").write_text(json.dumps({"datasets": datasets}))

    def run(self, *contents, names=None, **arguments):
        """Writes each content as a file of one run, runs the job, and returns its report."""
        names = names or [f"Products_201701{15 + day}.csv" for day in range(len(contents))]
        for name, content in zip(names, contents):
            content = content.encode() if isinstance(content, str) else content
            (self.folder / "staging" / name).write_bytes(content)
        self.report = etl_main.run(self.spark, self.arguments(names) | arguments)
        return self.report

    def arguments(self, names):
        root = f"file://{self.folder}"
        return {
            "JOB_NAME": "etl",
            "config_uri": f"{root}/config.json",
            "release": "20170116-0123456789ab",
            "run_id": "run-1",
            "dataset": "products",
            "run_date": "20170115",
            "source_file_name": ",".join(names),
            "source_prefix": f"{root}/staging/",
            "output_prefix": f"{root}/runs/run-1/",
            "history_prefix": f"{root}/history/products/",
        }

    def document(self, name):
        return json.loads((self.output / name).read_text(encoding="utf-8"))

    def frame(self, kind):
        return self.spark.read.parquet(f"file://{self.output}/{kind}")


def counts(report):
    return {key: report[key] for key in ("rows_in", "loaded", "rejected", "superseded")}


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
    loaded = whole_run.frame("loaded")
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
    ]
    rows = loaded.selectExpr("product_id", "product_name", "brand", "CAST(time AS string)")
    assert sorted(map(tuple, rows.collect()), key=str) == [
        (1, "Latest", "National", GOOD["time"]),
        (2, "Later", "National", GOOD["time"]),
        (4, "Tea", None, GOOD["time"]),
        *[(9, "Tea", "National", time) for time in TIMES],
    ]


def test_rejected_rows_say_what_the_file_said_and_every_reason(whole_run):
    rows = whole_run.frame("rejected").collect()
    rejected = {(row.source_file, *row.reasons): row for row in rows}
    several = ("product_id_missing", "price_missing", "time_missing")
    assert ("Products_20170115.csv", *several) in rejected
    assert rejected["Products_20170115.csv", "price_out_of_range"].price == "1e400"
    assert rejected["Products_20170115.csv", "malformed_row"].row_text == "3,too,short"
    assert rejected["Products_20170116.csv", "invalid_utf8"].brand == "Caf\ufffd"


def test_a_rejected_row_has_its_place_in_its_file(whole_run):
    places = {
        (row.source_file, row.source_block, row.source_row): row
        for row in whole_run.frame("rejected").collect()
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
        "measured": {"rows": 9, "missing": {}},
        **counts(report),
    }


def test_the_manifest_names_exactly_the_loaded_files(whole_run):
    prefix = f"file://{whole_run.output}/loaded/"
    files = sorted((whole_run.output / "loaded").glob("*.parquet"))
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


# ---- other runs ----------------------------------------------------------------------------------


def test_a_second_attempt_leaves_nothing_of_the_first(job):
    # GIVEN what an earlier attempt at the run left
    for name in ("loaded/part-0.parquet", "rejected/part-0.parquet", "report.json"):
        (job.output / name).parent.mkdir(parents=True, exist_ok=True)
        (job.output / name).write_text("old")
    # WHEN the run is tried again, with no row to reject
    report = job.run(HEADER + line(product_id="7"))
    # THEN only the second attempt's rows and files are there
    assert counts(report) == {"rows_in": 1, "loaded": 1, "rejected": 0, "superseded": 0}
    assert [row.product_id for row in job.frame("loaded").collect()] == [7]
    assert not (job.output / "rejected").exists()
    assert job.document("report.json") == report


@pytest.mark.parametrize(
    "rows, account",
    [
        ("", {"rows_in": 0, "loaded": 0, "rejected": 0, "superseded": 0}),
        (line(price=""), {"rows_in": 1, "loaded": 0, "rejected": 1, "superseded": 0}),
    ],
    ids=["header only", "no good row"],
)
def test_a_file_without_a_good_row_is_an_account_of_its_own(job, rows, account):
    assert counts(job.run(HEADER + rows)) == account
    # COPY refuses an empty manifest, so it names a file without rows.
    assert len(job.document("manifest.json")["entries"]) == 1
    assert job.frame("loaded").collect() == []


def test_a_second_dataset_needs_only_configuration(job):
    # GIVEN a dataset of other columns, keys and another delimiter
    job.configure(
        stock={
            "format": {"delimiter": "|", "encoding": "UTF-8", "multi_line": False},
            "columns": [
                {"source": "SKU", "name": "sku", "type": "varchar(5)", "required": True},
                {"source": "On Hand", "name": "on_hand", "type": "integer", "max": 9},
            ],
            "upsert_keys": ["sku"],
            "order_by": ["on_hand"],
        }
    )
    # WHEN a file of it is run
    report = job.run("SKU|On Hand\na|2\na|1\nb|10\n", dataset="stock")
    # THEN its own keys and rules apply
    assert counts(report) == {"rows_in": 3, "loaded": 1, "rejected": 1, "superseded": 1}
    assert report["rejected_by_reason"] == {"on_hand_above_maximum": 1}
    assert [tuple(row) for row in job.frame("loaded").collect()] == [("a", 2, 0)]


def test_a_file_from_before_an_optional_column_goes_with_one_that_has_it(job):
    # GIVEN a dataset with a new optional column
    products = job.products()
    colour = {"source": "Colour", "name": "colour", "type": "varchar(9)", "optional": True}
    products["columns"].insert(2, colour)
    job.configure(products=products)
    newer = HEADER.replace("Department", "Colour,Department")
    # WHEN a run has files with and without it
    report = job.run(
        HEADER + line() + line(product_id="x"),
        newer + line(product_id="2", product_name="Tea,green") + line(product_name="Tea,red"),
    )
    # THEN both are loaded, and of the same key the later file's row stays
    assert counts(report) == {"rows_in": 4, "loaded": 2, "rejected": 1, "superseded": 1}
    rows = {row.product_id: (row.colour, row["_source"]) for row in job.frame("loaded").collect()}
    assert rows == {1: ("red", 1), 2: ("green", 1)}
    (rejected,) = job.frame("rejected").collect()
    assert (rejected.source_row, rejected.colour) == (1, None)


# ---- rules ---------------------------------------------------------------------------------------


def expectation(name, /, **kwargs):
    return {"type": f"expect_{name}", "kwargs": kwargs}


def test_rules_speak_about_the_good_rows_before_deduplication(job):
    # GIVEN two rows of one key, another row with the same name as one of them, and a bad row
    job.configure(
        products=job.products(
            expectation("table_row_count_to_be_between", min_value=4),
            expectation("compound_columns_to_be_unique", column_list=["product_id", "time"]),
            expectation("column_values_to_be_unique", column="product_name"),
            expectation("column_values_to_be_in_set", column="brand", value_set=["National"]),
            expectation("rejected_row_percent_to_be_between", max_value=20),
        )
    )
    # WHEN the file is run
    report = job.run(
        HEADER
        + line()
        + line(price="3.50")
        + line(product_id="2", product_name="Coffee", brand="Other")
        + line(product_id="3", price="")
    )
    # THEN the verdicts are about three good rows, of which one is superseded
    assert counts(report) == {"rows_in": 4, "loaded": 2, "rejected": 1, "superseded": 1}
    rows, key, name, brand, rejected = report["rules"]
    assert (rows["success"], rows["result"]) == (False, {"observed_value": 3})
    assert (key["success"], key["result"]["unexpected_count"]) == (False, 2)
    assert (name["success"], name["result"]["unexpected_count"]) == (False, 2)
    assert (brand["success"], brand["result"]["unexpected_count"]) == (False, 1)
    assert (rejected["success"], rejected["observed"]) == (False, "25% (1 of 4 rows)")


def test_repeated_keys_are_found_where_whole_row_distinct_finds_none(job):
    # GIVEN a key that is there twice, with another price
    job.configure(
        products=job.products(
            expectation("compound_columns_to_be_unique", column_list=["product_id", "time"])
        )
    )
    content = HEADER + line() + line(price="3.50") + line(product_id="2")
    # WHEN the usual check looks at whole rows
    (job.folder / "naive.csv").write_text(content)
    frame = job.spark.read.csv(f"file://{job.folder}/naive.csv", header=True)
    # THEN it finds nothing wrong
    assert frame.count() == frame.distinct().count()
    # AND ours finds both rows
    (rule,) = job.run(content)["rules"]
    assert rule["success"] is False
    assert rule["result"]["unexpected_count"] == 2


def test_a_run_is_compared_with_the_runs_before_it(job):
    # GIVEN rules that need two earlier runs
    job.configure(
        products=job.products(
            expectation("table_row_count_to_be_near_recent_runs", runs=2, tolerance=0.5),
            expectation(
                "column_null_share_to_be_near_recent_runs", column="brand", runs=2, tolerance=0.1
            ),
        )
    )
    history = job.folder / "history/products"
    history.mkdir(parents=True)

    def remember(time, run_id, rows, missing):
        document = {"rows": rows, "missing": {"brand": missing}}
        (history / f"{time}-{run_id}.json").write_text(json.dumps(document))

    content = HEADER + line() + line(product_id="2", brand="")
    # WHEN one is known, judged twice, and one of this run's own earlier attempt
    remember("20170101T000000", "run-a", 90, 0)
    remember("20170101T000001", "run-a", 2, 1)
    remember("20170102T000000", "run-1", 90, 0)
    # THEN nothing is judged, and the report says so
    report = job.run(content)
    assert [rule["success"] for rule in report["rules"]] == [None, None]
    assert "there are 1" in report["rules"][0]["expected"]
    # AND WHEN enough are known, older ones beside them
    remember("20170103T000000", "run-b", 4, 2)
    remember("20160101T000000", "run-0", 900, 0)
    # THEN the newest two are the measure
    report = job.run(content)
    assert [rule["success"] for rule in report["rules"]] == [True, True]
    assert report["rules"][0]["result"] == {
        "observed_value": 2,
        "runs": 2,
        "min_value": 1.5,
        "max_value": 4.5,
    }
    assert report["measured"] == {"rows": 2, "missing": {"brand": 1}}
    # AND a run unlike them breaks both
    report = job.run(HEADER + line(brand=""))
    assert [rule["success"] for rule in report["rules"]] == [False, False]


# ---- files that fail whole -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (HEADER.replace("Brand,", ""), "missing 'Brand'"),
        (HEADER.replace(",", ";"), "no delimiter ','"),
        ((HEADER + line()).encode("utf-16"), "is not UTF-8"),
        (
            HEADER + line(product_name='"Tea') + line(),
            "a quoted value is opened and never closed",
        ),
        (
            HEADER + line(time='"2017-01-15 10:20:30') + line(),
            "a quoted value is opened and never closed",
        ),
        (
            (HEADER + line()).replace("\n", "\r\n") + line() + line(),
            "line endings are mixed",
        ),
    ],
    ids=[
        "empty",
        "missing column",
        "wrong delimiter",
        "UTF-16",
        "open quote",
        "open quote in the last column",
        "mixed line endings",
    ],
)
def test_a_file_that_cannot_be_trusted_fails_whole(job, content, message):
    # GIVEN the report of an earlier attempt
    job.output.mkdir(parents=True)
    (job.output / "report.json").write_text("old")
    # WHEN the file is run, THEN the error names it, and nothing is left to load
    with pytest.raises(SourceFormatError, match=message) as failure:
        job.run(content)
    assert str(failure.value).startswith("Products_20170115.csv: ")
    assert not (job.output / "manifest.json").exists()
    assert not (job.output / "report.json").exists()


def test_a_truncated_gzip_fails_whole(job):
    whole = gzip.compress((HEADER + line() * 20).encode(), compresslevel=0)
    with pytest.raises(SourceReadError, match="^Products_20170115.csv.gz: cannot be read to its"):
        job.run(whole[:-100], names=["Products_20170115.csv.gz"])


def test_rows_that_do_not_add_up_fail_the_run(job, monkeypatch):
    # GIVEN files that lose a row between the count and the disk
    monkeypatch.setattr(etl_main, "count_rows", lambda spark, manifest: 0)
    # THEN there is no report, so nothing is loaded
    with pytest.raises(RowAccountMismatch, match="1 rows loaded, but 0 in the files"):
        job.run(HEADER + line())
    assert not (job.output / "report.json").exists()


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
