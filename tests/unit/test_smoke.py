"""The smoke test's file has good, bad and repeated rows, and its expectations follow from it."""

import csv
import io
from decimal import Decimal

import pytest
from ops.config import load_config
from ops.environment import OperationError
from ops.data.smoke import GOOD_ROWS, remove_rows, synthetic_file, tidy
from ops.data.warehouse import Result, WarehouseError

DATASETS = load_config("prod").values["datasets"]
PRODUCTS = DATASETS["products"]


BY_NAME = PRODUCTS | {"upsert_keys": ["product_id", "product_name"], "order_by": ["brand"]}


@pytest.fixture(
    name="dataset",
    params=[PRODUCTS, DATASETS["promotions"], DATASETS["transactions"], BY_NAME],
    ids=["products", "promotions", "transactions", "keys and order of text"],
)
def fixture_dataset(request):
    """Each of the datasets that a smoke test can be of."""
    return request.param


def rows(file):
    return list(csv.DictReader(io.StringIO(file.content.decode())))


def key_of(dataset, row):
    sources = {column["name"]: column["source"] for column in dataset["columns"]}
    return tuple(row[sources[key]] for key in dataset["upsert_keys"])


def test_account_counts_the_files_rows(dataset):
    file = synthetic_file(dataset, "0123456789ab")
    keys = [key_of(dataset, row) for row in rows(file)]
    valid = [key for key in keys if all(key) and "not a value" not in key]
    assert file.account.rows_in == len(keys)
    assert file.account.rejected == len(keys) - len(valid)
    assert file.account.superseded == len(valid) - len(set(valid)) > 0
    assert file.account.loaded == len(set(valid)) == len(file.rows) == GOOD_ROWS


def test_rejected_rows_stay_below_every_environments_limit(dataset):
    account = synthetic_file(dataset, "0123456789ab").account
    percent = 100 * account.rejected / account.rows_in
    rule = dataset["expectations"]["expect_rejected_row_percent_to_be_between"]
    assert percent < rule["kwargs"]["max_value"]


def test_of_repeated_rows_the_last_is_expected(dataset):
    file = synthetic_file(dataset, "0123456789ab")
    last = {key_of(dataset, row): row for row in rows(file)}
    names = [column["name"] for column in dataset["columns"]]
    for expected in file.rows:
        by_name = dict(zip(names, expected))
        row = last[tuple(by_name[key] for key in dataset["upsert_keys"])]
        assert list(row.values()) == expected


def test_no_column_can_stand_in_for_another():
    for row in synthetic_file(PRODUCTS, "0123456789ab").rows:
        assert len(set(row)) == len(row)


def test_two_tests_share_no_keys():
    one, other = (synthetic_file(PRODUCTS, test_id) for test_id in ("00000000000a", "00000000000b"))
    keys = [{key_of(PRODUCTS, row)[0] for row in rows(file)} for file in (one, other)]
    assert keys[0] & keys[1] == {"", "not a value"}
    assert one.where == '"product_id" BETWEEN 10001 AND 11000'


def with_column(**column):
    return PRODUCTS | {"columns": [*PRODUCTS["columns"], {"source": "X", "name": "x"} | column]}


@pytest.mark.parametrize(
    "type_, limits, fits",
    [
        ("integer", {"min": 201701, "max": 201753}, lambda value: 201701 <= int(value) <= 201753),
        ("decimal(4,2)", {"max": 50}, lambda value: Decimal(value) <= 50),
        ("decimal(4,2)", {}, lambda value: Decimal(value) < 100 and len(value) == 5),
        ("decimal(9,0)", {}, str.isdigit),
        ("varchar(1)", {}, lambda value: len(value) == 1),
    ],
)
def test_values_keep_within_their_columns_limits(type_, limits, fits):
    file = synthetic_file(with_column(type=type_, **limits), "0123456789ab")
    assert all(fits(row[-1]) for row in file.rows)


def test_type_that_it_has_no_values_for_is_named():
    with pytest.raises(OperationError, match="type geometry"):
        synthetic_file(with_column(type="geometry"), "0123456789ab")


def test_dataset_without_a_bigint_in_its_key_is_named():
    with pytest.raises(OperationError, match="^products has no bigint among its upsert keys"):
        synthetic_file(PRODUCTS | {"upsert_keys": ["time"]}, "0123456789ab")


class OldWarehouse:
    """A warehouse of a release that knew one table of runs; it remembers what it is asked for."""

    def __init__(self):
        self.ran = []

    def run(self, sql):
        column = ("run_id", "character varying", 64, None, None, "NO")
        found = [("smoke", "load_history", *column), ("public", "failed_runs", *column)]
        return Result([], iter(found if "information_schema" in sql else []))

    def run_all(self, statements):
        self.ran += statements


def test_where_a_table_of_runs_is_not_yet_the_others_are_tidied():
    warehouse = OldWarehouse()

    remove_rows(warehouse, "products", "id = 1", "smoke-1")

    assert warehouse.ran == [
        'DELETE FROM smoke."products" WHERE id = 1',
        "DELETE FROM smoke.load_history WHERE run_id = 'smoke-1'",
    ]


class CannotTidy:
    """A smoke test whose warehouse is gone."""

    def remove_rows(self):
        raise WarehouseError("no warehouse answers")


def test_what_a_failed_test_leaves_is_said_beside_its_own_error(capsys):
    with pytest.raises(OperationError, match="^rows in the warehouse"):
        try:
            raise OperationError("rows in the warehouse: expected 1, found 0")
        finally:
            tidy(CannotTidy(), passed=False)
    assert "its rows stay in the schema smoke: no warehouse answers" in capsys.readouterr().err


def test_a_good_test_that_cannot_tidy_up_fails():
    with pytest.raises(WarehouseError):
        tidy(CannotTidy(), passed=True)
