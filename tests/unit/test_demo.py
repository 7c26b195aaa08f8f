"""The demo is red as soon as one row is unaccounted for."""

import pytest
from ops.data.demo import unaccounted
from ops.data.feed import LOADED, Delivery
from ops.data.runs import Account


@pytest.fixture(name="file")
def fixture_file(tmp_path):
    file = tmp_path / "Products_20170115.csv"
    file.write_text('id,name\n1,"two\nlines"\n2,b\n3,c\n')
    return file


def faults(file, rows=2, repeated=0, **changes):
    numbers = {"rows_in": 3, "loaded": 2, "rejected": 1, "superseded": 0} | changes
    account = Account(**numbers, rejected_by_reason={"no price": numbers["rejected"]})
    return unaccounted({file: Delivery(LOADED, "run", 1.0, account)}, rows, repeated)


def test_every_row_accounted_for_is_no_fault(file):
    assert not faults(file)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"rows_in": 4, "rejected": 2}, "has 3 rows; its run saw 4"),
        ({"loaded": 1}, "not all of its rows"),
        ({"rows": 1}, "2 rows were loaded; the warehouse has 1"),
        ({"repeated": 1}, "1 upsert keys are more than once"),
    ],
)
def test_each_way_to_lose_or_double_a_row_is_a_fault(file, changes, said):
    assert said in "\n".join(faults(file, **changes))
