"""A run whose rows do not add up is no run."""

import pytest
from utils.account import Account
from utils.errors import RowAccountMismatch

RIGHT = {
    "rows_in": 10,
    "loaded": 5,
    "rejected": 3,
    "superseded": 2,
    "rejected_by_reason": {"price_missing": 2, "malformed_row": 1},
}


def test_a_sum_that_is_right_passes():
    Account(**RIGHT).verify(rows_written=5)


@pytest.mark.parametrize(
    "wrong, rows_written, message",
    [
        ({"rows_in": 11}, 5, r"11 rows in, but 5 loaded \+ 3 rejected \+ 2 superseded = 10"),
        ({"superseded": 1}, 5, "10 rows in"),
        ({"rejected_by_reason": {"price_missing": 2}}, 5, "3 rows rejected, but reasons for 2"),
        ({}, 4, "5 rows loaded, but 4 in the files"),
    ],
)
def test_each_sum_that_is_wrong_is_named(wrong, rows_written, message):
    with pytest.raises(RowAccountMismatch, match=message):
        Account(**(RIGHT | wrong)).verify(rows_written)
