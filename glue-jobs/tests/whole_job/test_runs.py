"""Whole runs of the job: every row in is loaded, rejected or superseded, whatever the file."""

import gzip
import json

import etl_main
import pytest
from local_job import HEADER, counts, line
from utils.errors import RowAccountMismatch, SourceFormatError, SourceReadError

# ---- what a run leaves ---------------------------------------------------------------------------


def test_a_second_attempt_leaves_nothing_of_the_first(job):
    # GIVEN what an earlier attempt at the run left
    for name in ("rows/outcome=loaded/part-0.parquet", "rejected/part-0.parquet", "report.json"):
        (job.output / name).parent.mkdir(parents=True, exist_ok=True)
        (job.output / name).write_text("old")
    # WHEN the run is tried again, with no row to reject
    report = job.run(HEADER + line(product_id="7"))
    # THEN only the second attempt's rows and files are there
    assert counts(report) == {"rows_in": 1, "loaded": 1, "rejected": 0, "superseded": 0}
    assert [row.product_id for row in job.loaded()] == [7]
    assert not (job.output / "rejected").exists()
    assert job.document("report.json") == report


@pytest.mark.parametrize(
    "rows, account",
    [
        ("", {"rows_in": 0, "loaded": 0, "rejected": 0, "superseded": 0}),
        (line(price=""), {"rows_in": 1, "loaded": 0, "rejected": 1, "superseded": 0}),
        (line(price="") * 2, {"rows_in": 2, "loaded": 0, "rejected": 2, "superseded": 0}),
    ],
    ids=["header only", "no good row", "a rejected row twice"],
)
def test_a_file_without_a_good_row_is_an_account_of_its_own(job, rows, account):
    assert counts(job.run(HEADER + rows)) == account
    assert not job.copied()


def test_a_step_that_loses_rows_fails_the_run(job, monkeypatch):
    add_rank = etl_main.add_rank
    monkeypatch.setattr(etl_main, "add_rank", lambda *ranked: add_rank(*ranked).limit(2))
    rows = "".join(line(product_id=str(number)) for number in range(1, 6))

    with pytest.raises(RowAccountMismatch, match="5 rows in, but 2 loaded"):
        job.run(HEADER + rows)


def test_rows_that_spark_has_read_again_are_not_counted_twice(job, monkeypatch):
    class LostAWorker(etl_main.Observation):
        """Counts as Spark does where the tasks of a lost worker run again."""

        @property
        def get(self):
            found = super().get
            return found | {"rows_in": 2 * found["rows_in"]} if "rows_in" in found else found

    monkeypatch.setattr(etl_main, "Observation", LostAWorker)
    report = job.run(HEADER + line() + line(product_id="2"))
    assert counts(report) == {"rows_in": 2, "loaded": 2, "rejected": 0, "superseded": 0}


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
    assert [tuple(row) for row in job.loaded()] == [("a", 2, 0)]


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
    rows = {row.product_id: (row.colour, row["_source"]) for row in job.loaded()}
    assert rows == {1: ("red", 1), 2: ("green", 1)}
    (rejected,) = job.rejected()
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
    # AND WHEN the file comes again, or with others
    for again in (
        job.run(content, is_replay="true"),
        job.run(content, HEADER + line(product_id="3")),
    ):
        # THEN it is compared with nothing, and is no measure for others
        assert [rule["success"] for rule in again["rules"]] == [None, None]
        assert again["measured"] is None
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


NOTES = {
    "format": {"delimiter": ",", "encoding": "UTF-8", "multi_line": True},
    "columns": [
        {"source": "Key", "name": "key", "type": "integer", "required": True},
        {"source": "Note", "name": "note", "type": "varchar(99)"},
        {"source": "Stars", "name": "stars", "type": "integer", "optional": True},
    ],
    "upsert_keys": ["key"],
    "order_by": [],
}
LONG = "é" * 40_000  # more than is read of a file's end


@pytest.mark.parametrize(
    "rows",
    [
        '1,"tea\n2,milk\n',
        '1,"tea\n2,milk',
        '1,"tea\r\n2,milk\r\n\r\n',
        '1,"\n2,milk\n',
        '0,x\n1,"tea\n2,\n',
        '1,"tea\n2,""\n',
        '1,"tea\n2,"",\n',
        f'1,"tea\n2,{LONG}\n',
        f'1,"tea\n2,x{LONG}\n',
    ],
)
def test_a_last_text_that_never_closes_swallows_no_row_unseen(job, rows):
    job.configure(notes=NOTES)
    with pytest.raises(SourceFormatError, match="^Products_20170116.csv: a quoted value is opened"):
        job.run("Key,Note,Stars\n3,x,5\n", "Key,Note\n" + rows, dataset="notes")


@pytest.mark.parametrize(
    "rows",
    [
        '1,"tea\nand milk"\n2,milk\n',
        '1,tea\n2,"milk\nand tea"\n',
        '1,tea\n2,"milk\n\n"',
        '1,"tea\n2,""milk"""\n2,""\n',
        '1,"tea\nx2,milk"\n2,milk\n',
    ],
)
def test_a_last_text_of_several_lines_is_a_value(job, rows):
    job.configure(notes=NOTES)
    report = job.run("Key,Note\n" + rows, dataset="notes")
    assert counts(report) == {"rows_in": 2, "loaded": 2, "rejected": 0, "superseded": 0}


def test_a_row_that_swallows_more_than_a_reader_of_json_takes_fails_the_file(job):
    rows = line(product_id="2") * 400_000
    with pytest.raises(SourceFormatError, match="a quoted value is opened and never closed"):
        job.run(HEADER + line(product_name='"Tea') + rows)


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
