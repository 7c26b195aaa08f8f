"""The load's own SQL on a real database: which row stays, whatever the order of the loads."""

import itertools
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pytest
from load_sql import failure_statements, load_statements
from ops.data.tables import OWN_TABLES, create, dataset_table
from tests.localaws.redshift_bucket import Bucket, make_bucket
from tests.localaws.redshift_warehouse import Warehouse

DATASET = {
    "name": "offers",
    "columns": [
        {"name": "id", "type": "bigint", "required": True},
        {"name": "seen", "type": "timestamp"},
        {"name": "label", "type": "varchar(20)"},
    ],
    "upsert_keys": ["id"],
    "order_by": ["seen"],
    "target": {"table": "offers"},
}
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("seen", pa.timestamp("us")),
        ("label", pa.string()),
        ("_source", pa.int32()),
        ("_rejected", pa.string()),
    ]
)
EARLY, LATE = datetime(2017, 1, 1, 9), datetime(2017, 1, 1, 10)


@pytest.fixture(name="bucket", scope="module")
def fixture_bucket(local_aws, warehouse) -> Bucket:
    return make_bucket(local_aws, warehouse, SCHEMA)


@pytest.fixture(name="offers")
def fixture_offers(warehouse, schema, bucket) -> "Offers":
    """An empty table of the dataset, made as a deploy makes it."""
    for name, table in {"offers": dataset_table(DATASET), **OWN_TABLES}.items():
        for statement in create(schema, name, table):
            warehouse.run(statement)
    return Offers(warehouse, schema, bucket)


@dataclass
class Offers:
    """The table and the loads into it."""

    warehouse: Warehouse
    schema: str
    bucket: Bucket
    runs: int = 0

    def statements(self, *rows, day="2017-01-15", arrived="2017-01-16T02:00:00Z", **changes):
        """Return the SQL that loads (id, seen, label) rows of one file."""
        self.runs += 1
        key = f"in/{self.schema}/{self.runs}"
        values = [dict(zip(SCHEMA.names, (*row, 0))) for row in rows]
        uri = self.bucket.parquet(f"{key}.parquet", values)
        run = {
            "run_id": f"run-{self.runs}",
            "dataset": "offers",
            "schema": self.schema,
            "table": "offers",
            "replay": False,
            "run_date": day,
            "release": "1",
            "job_name": "etl",
            "job_run_id": "jr_1",
            "manifest_uri": self.bucket.manifest(f"{key}.json", uri),
            "sources": [{"name": f"Offers_{day}.csv", "run_date": day, "arrived_at": arrived}],
            "rows_in": len(rows),
            "loaded": len(rows),
            "rejected": 0,
            "rejected_by_reason": {},
            "rules": [],
            "superseded": 0,
        }
        return load_statements(run | changes, DATASET, self.bucket.role)

    def load(self, *rows, **arguments) -> None:
        """Load rows of one file, as one transaction."""
        self.warehouse.run(*self.statements(*rows, **arguments))

    def labels(self) -> dict[int, str]:
        """Return id -> label of the table."""
        return dict(self.warehouse.run(f"SELECT id, label FROM {self.schema}.offers ORDER BY id"))

    def one(self, sql: str) -> tuple:
        """Return the only row of a query, in which {s} is the schema."""
        (row,) = self.warehouse.run(sql.format(s=self.schema))
        return row


def test_a_row_knows_its_file_its_day_its_arrival_and_its_run(offers):
    offers.load((1, EARLY, "a"))
    assert offers.one(
        'SELECT "_source_file", "_run_date", "_arrived_at", "_run_id" FROM {s}.offers'
    ) == ("Offers_2017-01-15.csv", "2017-01-15", "2017-01-16 02:00:00", "run-1")
    assert offers.one("SELECT release, job_name, job_run_id FROM {s}.load_history") == (
        "1",
        "etl",
        "jr_1",
    )


def test_a_late_file_fills_gaps_and_overwrites_nothing_newer(offers):
    offers.load((1, EARLY, "of the 16th"), day="2017-01-16")
    # Arrived last, reports an earlier day.
    offers.load(
        (1, EARLY, "of the 15th"),
        (2, EARLY, "new"),
        day="2017-01-15",
        arrived="2017-02-01T00:00:00Z",
    )
    assert offers.labels() == {1: "of the 16th", 2: "new"}
    late = offers.one(
        "SELECT is_late, rows_loaded, rows_late FROM {s}.load_history WHERE run_id = 'run-2'"
    )
    assert late == (True, 2, 1)


def test_a_corrected_file_of_the_same_day_replaces_its_rows(offers):
    offers.load((1, EARLY, "wrong"))
    offers.load((1, EARLY, "right"), arrived="2017-01-17T02:00:00Z")
    assert offers.labels() == {1: "right"}
    assert offers.one("SELECT is_late, rows_late FROM {s}.load_history WHERE run_id = 'run-2'") == (
        False,
        0,
    )


def test_the_time_decides_before_the_day_and_null_is_the_earliest(offers):
    offers.load((1, LATE, "later"), (2, None, "no time"), (3, EARLY, "a time"))
    offers.load((1, EARLY, "earlier"), (2, EARLY, "a time"), (3, None, "no time"), day="2017-01-20")
    assert offers.labels() == {1: "later", 2: "a time", 3: "a time"}


def test_the_same_load_again_changes_nothing(offers):
    offers.load((1, EARLY, "a"))
    offers.load((1, EARLY, "a"))
    assert offers.labels() == {1: "a"}


FILES = (
    {"rows": [(1, EARLY, "a"), (2, EARLY, "a")], "day": "2017-01-15"},
    {"rows": [(1, EARLY, "b"), (3, None, "b")], "arrived": "2017-01-18T00:00:00Z"},
    {"rows": [(1, EARLY, "c"), (2, None, "c"), (3, None, "c")], "day": "2017-01-16"},
    {"rows": [(2, LATE, "d")], "day": "2017-01-14"},
)  # fmt: skip


def test_any_order_of_loads_gives_the_same_table(offers):
    for order in itertools.permutations(FILES):
        offers.warehouse.run(f"DELETE FROM {offers.schema}.offers")
        for file in order:
            offers.load(*file["rows"], **{name: file[name] for name in file if name != "rows"})
        assert offers.labels() == {1: "c", 2: "d", 3: "c"}


def test_two_loads_at_once_end_as_if_one_after_another(offers):
    # GIVEN loads of the same new keys, which without a lock would both insert them
    loads = [
        offers.statements(
            *((number, EARLY, f"load {load}") for number in range(300)),
            arrived=f"2017-01-16T0{load}:00:00Z",
        )
        for load in range(4)
    ]
    # WHEN all are submitted before any has ended
    submitted = [offers.warehouse.submit(*statements) for statements in reversed(loads)]
    # THEN each ends well, each key is there once, and the last to arrive has won
    for statement in submitted:
        ended = offers.warehouse.wait(statement)
        assert ended["Status"] == "FINISHED", ended.get("Error")
    assert offers.one(
        "SELECT COUNT(*), COUNT(DISTINCT id), MIN(label), MAX(label) FROM {s}.offers"
    ) == (
        300,
        300,
        "load 3",
        "load 3",
    )
    assert offers.one("SELECT COUNT(*) FROM {s}.watermark") == (1,)


def test_the_watermark_moves_only_forward_and_only_with_a_load(offers):
    offers.load((1, EARLY, "a"), day="2017-01-16")
    offers.load((1, EARLY, "a"), day="2017-01-15", arrived="2017-01-20T00:00:00Z")
    mark = "SELECT run_date, arrived_at FROM {s}.watermark WHERE dataset = 'offers'"
    assert offers.one(mark) == ("2017-01-16", "2017-01-20 00:00:00")
    # A load that fails takes its mark with it.
    offers.warehouse.error(*offers.statements((1, EARLY, "a"), day="2017-03-01", loaded=5))
    assert offers.one(mark) == ("2017-01-16", "2017-01-20 00:00:00")
    assert offers.one("SELECT COUNT(*) FROM {s}.load_history") == (2,)


def test_a_load_of_no_rows_is_on_record(offers):
    offers.warehouse.run(*offers.statements(loaded=0, rows_in=1, rejected=1))
    assert offers.one("SELECT rows_loaded, rows_rejected, rows_late FROM {s}.load_history") == (
        0,
        1,
        0,
    )
    assert offers.one("SELECT run_date FROM {s}.watermark") == ("2017-01-15",)


def test_a_failed_run_has_one_line_however_often_it_is_recorded(offers):
    run = {
        "run_id": "run-1",
        "schema": offers.schema,
        "release": "1",
        "sources": [{"name": "Bob's.csv"}],
        "failure": {"State": "CheckQuality", "Error": "QualityBreach", "Cause": "9\\10 of 'em"},
    }
    offers.warehouse.run(*failure_statements(run))
    known = {"dataset": "offers", "run_date": "2017-01-15", "job_name": "etl", "job_run_id": "jr_1"}
    offers.warehouse.run(*failure_statements(run | known))

    assert offers.one(
        "SELECT run_id, dataset, source_files, run_date, release, state, error, cause, job_name, "
        "job_run_id FROM {s}.failed_runs WHERE failed_at IS NOT NULL"
    ) == (
        "run-1",
        "offers",
        '["Bob\'s.csv"]',
        "2017-01-15",
        "1",
        "CheckQuality",
        "QualityBreach",
        "9\\10 of 'em",
        "etl",
        "jr_1",
    )
