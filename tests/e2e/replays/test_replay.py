"""Files of the past: late, corrected, replayed in any order, stopped and gone on with, rebuilt.

The rows are those of days that no other end-to-end test uses, under product ids of their own.
"""

import csv
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.e2e.project import DATA_BUCKET
from tests.e2e.test_bad_input import HEADER
from tests.localaws.workshop import wait_until

PRODUCTS = "DATASET=products"
FIRST_PRODUCT = 880_000_000
ROWS = 150


def write(folder: Path, day: str, price: str, *bad: str, products: int = ROWS) -> Path:
    """Write a day's file: every product at a time that all the days share, so that they compete."""
    rows = [
        f"{FIRST_PRODUCT + number},Tea of {day},G,B,C,S,{price},1,7,2016-01-01 00:00:00"
        for number in range(products)
    ]
    file = folder / f"Products_{day}.csv"
    file.write_text("\n".join([HEADER, *rows, *bad]) + "\n", encoding="utf-8")
    return file


def table(project) -> list[str]:
    """Return how many of our rows are from which day and price, straight from the warehouse."""
    return project.query(
        'select product_name, price, "_source_file", count(*) from products '
        f"where product_id >= {FIRST_PRODUCT} group by 1, 2, 3 order by 1, 2, 3"
    )


def fingerprint(project) -> list[str]:
    """Return what replays must leave alone: every column of every row, without its lineage."""
    columns = "product_id, product_name, price, quantity, store_id, time"
    return project.query(f"select {columns} from products order by product_id, time")


def history(project) -> list[str]:
    """Return what later runs are compared with: an object a run."""
    listed = project.client("s3").list_objects_v2(
        Bucket=DATA_BUCKET, Prefix="data/history/public/products/"
    )
    return [item["Key"] for item in listed["Contents"]]


def fed(project, file: Path) -> subprocess.CompletedProcess:
    done = project.feed(file)
    assert done.returncode == 0, done.stderr
    return done


BAD = f'{FIRST_PRODUCT},"Tea, in ""quotes""\nand lines",G,B,C,S,dear,1,7,2016-01-01 00:00:00'
NEWEST = ["Tea of 20160303,3.0000,Products_20160303.csv,150"]


@pytest.fixture(name="days", scope="module")
def fixture_days(project, tmp_path_factory) -> Path:
    """A folder whose files were fed: the third day, then the first, late, then another month's."""
    folder = tmp_path_factory.mktemp("days")
    fed(project, write(folder, "20160303", "3.00"))
    late = fed(project, write(folder, "20160301", "1.00", "", BAD, products=ROWS + 1))
    assert f"is late: {ROWS} of the loaded rows are older" in late.stderr
    fed(project, write(folder, "20160229", "0.50", products=1))
    return folder


def test_a_late_file_fills_gaps_and_overwrites_nothing(project, days):
    assert days.exists()
    assert table(project) == ["Tea of 20160301,1.0000,Products_20160301.csv,1", *NEWEST]


def test_rejected_rows_are_shown_with_their_line_and_replaced_by_a_corrected_file(project, days):
    # GIVEN a file with a bad row behind a blank line
    shown = project.make("rejected", "ENV=dev", "FILE=Products_20160301.csv")
    assert shown.returncode == 0, shown.stderr
    ((file, line, reasons, text),) = list(csv.reader(shown.stdout.splitlines(keepends=True)))[1:]
    assert (file, line, reasons) == ("Products_20160301.csv", "154", "price_not_a_decimal")
    assert text == BAD

    # WHEN it comes again under its name, with another fault
    other = BAD.replace("dear", "1.00").replace(",7,", ",,")
    fed(project, write(days, "20160301", "1.00", other, products=ROWS + 1))

    # THEN what is shown is the new run's
    shown = project.make("rejected", "ENV=dev", "FILE=Products_20160301.csv")
    ((_, line, reasons, text),) = list(csv.reader(shown.stdout.splitlines(keepends=True)))[1:]
    assert (line, reasons, text) == ("153", "store_id_missing", other)


def test_a_file_that_no_run_has_read_has_no_rejected_rows(project, days):
    assert days.exists()
    shown = project.make("rejected", "ENV=dev", "FILE=Products_19990101.csv")
    assert shown.returncode != 0 and "no run of Products_19990101.csv" in shown.stderr


def test_a_replay_in_any_order_leaves_the_same_table(project, days):
    assert days.exists()
    before, compared = fingerprint(project), history(project)
    # Each day by itself, the newest first; then all of them, two months side by side.
    for first, last in (("03-03", "03-03"), ("03-01", "03-01"), ("02-01", "03-31")):
        done = project.make("replay", "ENV=dev", PRODUCTS, f"FROM=2016-{first}", f"TO=2016-{last}")
        assert done.returncode == 0, done.stderr
        assert "the table is the same" in done.stdout
        assert fingerprint(project) == before
    assert (
        "takes 4 files in 2 chunks" in done.stderr
    ), done.stderr  # the corrected file counts twice
    # The archive has not been archived again.
    listed = project.client("s3").list_object_versions(
        Bucket=DATA_BUCKET, Prefix="data/archive/products/2016-"
    )
    assert len(listed["Versions"]) == 4 and "DeleteMarkers" not in listed
    # A month at once is no measure of what tomorrow's file should look like.
    assert history(project) == compared


def test_a_stopped_replay_goes_on_where_it_stopped(project, days):
    assert days.exists()
    before, runs = fingerprint(project), len(project.executions())
    # GIVEN a replay that is stopped with Ctrl-C while its first chunk runs
    arguments = ["replay", "ENV=dev", PRODUCTS, "FROM=2016-02-02", "TO=2016-03-30", "PARALLEL=1"]
    stopped = project.start(*arguments)
    deadline = time.monotonic() + 120
    while len(project.executions()) == runs:
        assert time.monotonic() < deadline, "no chunk was started"
        time.sleep(0.2)
    os.killpg(stopped.pid, signal.SIGINT)  # as a terminal does it
    _, told = stopped.communicate(timeout=120)
    assert stopped.returncode != 0 and "The same call again goes on from here" in told

    # WHEN it is called again
    done = project.make(*arguments)

    # THEN each chunk has run once, and the table is the same
    assert done.returncode == 0, done.stderr
    assert "goes on with 4 files in 2 chunks" in done.stderr
    assert len(project.executions()) == runs + 2
    assert fingerprint(project) == before


def test_a_chunk_that_failed_is_named_and_tried_again_by_the_same_call(project, days):
    assert days.exists()
    before, runs = fingerprint(project), len(project.executions())
    # GIVEN a replay of two chunks, of which somebody stops one
    arguments = ["replay", "ENV=dev", PRODUCTS, "FROM=2016-02-03", "TO=2016-03-29", "PARALLEL=1"]
    replay = project.start(*arguments)
    wait_until(lambda: len(project.executions()) > runs, seconds=120)
    project.client("stepfunctions").stop_execution(
        executionArn=project.executions()[0]["executionArn"], error="Tidying", cause="by mistake"
    )
    _, told = replay.communicate(timeout=120)

    # THEN it is named with its reason, and the other has run all the same
    assert replay.returncode != 0
    assert "replay: failed: 2016-02-29: Tidying: by mistake" in told, told
    assert "[2/2] 2016-03-01 to 2016-03-03: 3 files loaded" in told, told
    assert len(project.executions()) == runs + 2

    # WHEN it is called again
    done = project.make(*arguments)

    # THEN what failed has run, and nothing else
    assert done.returncode == 0, done.stderr
    assert "2016-02-29: 1 files loaded" in done.stderr
    assert len(project.executions()) == runs + 3
    assert fingerprint(project) == before


def test_a_rebuilt_table_is_swapped_in_with_the_same_rows(project, days):
    assert days.exists()
    before = fingerprint(project)
    done = project.make("rebuild", "ENV=dev", PRODUCTS)
    assert done.returncode == 0, done.stderr
    old, new = [line.split(None, 1)[1] for line in done.stdout.splitlines()]
    assert old == new
    assert fingerprint(project) == before
    made_by = project.query('select distinct "_run_id" from products')
    assert made_by and all(run.startswith("rebuild-products-") for run in made_by)
    tables = project.query(
        "select table_name from information_schema.tables where table_schema = 'public' "
        "and table_name like 'products%'"
    )
    assert tables == ["products"]
    # The loader may still load, and nobody else was given or denied anything.
    fed(project, write(days, "20160303", "4.00"))
    assert "Tea of 20160303,4.0000,Products_20160303.csv,150" in table(project)


def test_a_rebuilt_table_that_differs_is_not_swapped_in_unless_told_to(project, days):
    assert days.exists()
    # GIVEN rows that the archive does not have, as after a file was taken out of it
    before = fingerprint(project)
    key = "data/archive/products/2016-02-29/Products_20160229.csv"
    project.client("s3").delete_object(Bucket=DATA_BUCKET, Key=key)
    key = "data/archive/products/2016-03-03/Products_20160303.csv"
    marker = project.client("s3").delete_object(Bucket=DATA_BUCKET, Key=key)

    refused = project.make("rebuild", "ENV=dev", PRODUCTS)

    assert refused.returncode != 0
    assert "products__rebuild differs from products" in refused.stderr
    assert "Products_20160303.csv of" in refused.stderr and "150 rows live" in refused.stderr
    assert fingerprint(project) == before

    accepted = project.make("rebuild", "ENV=dev", PRODUCTS, "ACCEPT=1")
    assert accepted.returncode == 0, accepted.stderr
    assert table(project) == ["Tea of 20160301,1.0000,Products_20160301.csv,151"]

    # AND WHEN the file is back, a replay brings its rows back
    project.client("s3").delete_object(Bucket=DATA_BUCKET, Key=key, VersionId=marker["VersionId"])
    done = project.make("backfill", "ENV=dev", PRODUCTS, "MONTH=2016-03")
    assert done.returncode == 0, done.stderr
    assert "the table has changed" in done.stdout
    assert fingerprint(project) == before


def test_a_folder_is_backfilled_once(project, tmp_path):
    for day in ("20160401", "20160402"):
        write(tmp_path, day, "9.00")
    arguments = ("backfill", "ENV=dev", PRODUCTS, "MONTH=2016-04", f"FOLDER={tmp_path}")
    done = project.make(*arguments)
    assert done.returncode == 0, done.stderr
    assert table(project)[-1] == "Tea of 20160402,9.0000,Products_20160402.csv,150"
    before, runs = fingerprint(project), len(project.executions())

    again = project.make(*arguments)

    assert again.returncode == 0 and "nothing new" in again.stderr
    assert len(project.executions()) == runs and fingerprint(project) == before
    archived = project.client("s3").list_objects_v2(
        Bucket=DATA_BUCKET, Prefix="data/archive/products/2016-04"
    )
    assert archived["KeyCount"] == 2
    left = project.client("s3").list_objects_v2(Bucket=DATA_BUCKET, Prefix="data/backfill/")
    assert left["KeyCount"] == 0


def test_the_watermark_is_shown_set_and_reset(project, days):
    assert days.exists()
    shown = project.make("watermark", "ENV=dev", PRODUCTS, "SET=2016-04-02")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[1].startswith("products,2016-04-02,,set by hand,")
    # A replay without FROM goes on from it.
    done = project.make("replay", "ENV=dev", PRODUCTS, "TO=2016-04-30")
    assert done.returncode == 0 and "takes 1 files" in done.stderr, done.stderr
    gone = project.make("watermark", "ENV=dev", PRODUCTS, "RESET=1")
    assert gone.stdout.splitlines() == ["dataset,run_date,arrived_at,run_id,changed_at"]
    refused = project.make("replay", "ENV=dev", PRODUCTS, "TO=2016-04-30")
    assert refused.returncode != 0 and "no watermark" in refused.stderr
