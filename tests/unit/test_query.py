"""ops.data.query: it reads, and nothing else."""

import pytest
from ops.data.query import check
from ops.environment import OperationError


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        " (SELECT 1) union (select 2)",
        "with a as (select 1) select * from a",
        "-- how many?\n/* all\nof them */ Select count(*) from products",
        "explain select 1",
        "select 'into', \"into\" from products -- into",
        "show search_path",
    ],
)
def test_what_reads_is_run(sql):
    check(sql, "dev")


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("update products set brand = 'x'", "update"),
        ("/* select */ delete from products", "delete"),
        ("-- select\ndrop table products", "drop"),
        ("selects", "selects"),
        ("select * into mine from products", "select ... into"),
        ("'", "'"),
        ("", "SQL is missing"),
    ],
)
def test_anything_else_is_refused_by_its_word(sql, says):
    with pytest.raises(OperationError, match=says):
        check(sql, "dev")
