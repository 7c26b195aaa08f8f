"""The smoke test's file has good, bad and repeated rows, and its expectations follow from it."""

import csv
import io

import pytest
from ops.config import load_config
from ops.environment import OperationError
from ops.data.smoke import GOOD_ROWS, synthetic_file

DATASET = load_config("prod").values["datasets"]["products"]
KEYS = [c["source"] for c in DATASET["columns"] if c["name"] in DATASET["upsert_keys"]]


def rows(file):
    return list(csv.DictReader(io.StringIO(file.content.decode())))


def test_account_counts_the_files_rows():
    file = synthetic_file(DATASET, "0123456789ab")
    keys = [tuple(row[key] for key in KEYS) for row in rows(file)]
    valid = [key for key in keys if all(key) and "not a value" not in key]
    assert file.account.rows_in == len(keys)
    assert file.account.rejected == len(keys) - len(valid)
    assert file.account.superseded == len(valid) - len(set(valid)) > 0
    assert file.account.loaded == len(set(valid)) == len(file.rows) == GOOD_ROWS


def test_rejected_rows_stay_below_every_environments_limit():
    account = synthetic_file(DATASET, "0123456789ab").account
    percent = 100 * account.rejected / account.rows_in
    rule = DATASET["expectations"]["expect_rejected_row_percent_to_be_between"]
    assert percent < rule["kwargs"]["max_value"]


def test_of_repeated_rows_the_last_is_expected():
    file = synthetic_file(DATASET, "0123456789ab")
    last = {tuple(row[key] for key in KEYS): row for row in rows(file)}
    names = [column["name"] for column in DATASET["columns"]]
    for expected in file.rows:
        by_name = dict(zip(names, expected))
        row = last[tuple(by_name[key] for key in DATASET["upsert_keys"])]
        assert list(row.values()) == expected


def test_no_column_can_stand_in_for_another():
    for row in synthetic_file(DATASET, "0123456789ab").rows:
        assert len(set(row)) == len(row)


def test_two_tests_share_no_keys():
    one, other = (synthetic_file(DATASET, test_id) for test_id in ("00000000000a", "00000000000b"))
    keys = [{row[KEYS[0]] for row in rows(file) if row[KEYS[0]]} for file in (one, other)]
    assert keys[0].isdisjoint(keys[1])
    assert one.where == '"product_id" BETWEEN 10001 AND 11000'


def test_type_that_it_has_no_values_for_is_named():
    column = {"source": "Geometry", "name": "geometry", "type": "geometry"}
    dataset = DATASET | {"columns": [*DATASET["columns"], column]}
    with pytest.raises(OperationError, match="type geometry"):
        synthetic_file(dataset, "0123456789ab")
