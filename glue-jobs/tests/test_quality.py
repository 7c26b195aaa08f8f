"""Rules: read, counted in one aggregate, judged. That they mean what Great Expectations means by
them is for tests/oracle to say."""

from decimal import Decimal

import pytest
from quality.counting import aggregates, count_repeated, is_unique_by_key, unexpected_name
from quality.history import PastRun
from quality.rules import Rule, load_rules
from quality.verdicts import Evidence, judge
from transformations.deduplication import add_rank
from utils.account import Account
from utils.dataset import Column, Dataset

DATASET = Dataset(
    name="things",
    columns=(
        Column("K", "key", "integer", required=True),
        Column("P", "price", "decimal(6,2)"),
        Column("L", "least", "decimal(6,2)"),
        Column("N", "name", "varchar(20)"),
        Column("T", "time", "timestamp"),
    ),
    upsert_keys=("key",),
    order_by=(),
    delimiter=",",
    encoding="UTF-8",
    multi_line=False,
)
SCHEMA = "key int, price decimal(6,2), least decimal(6,2), name string, time string, _position int"
ROWS = [
    (1, Decimal("1.50"), Decimal("1.00"), "tea", "2017-01-01 10:00:00", 0),
    (1, Decimal("2.50"), None, "té", "2017-01-02 10:00:00", 1),
    (1, Decimal("0.50"), Decimal("1.00"), "tea", None, 2),
    (2, None, None, None, "2016-12-31 23:59:59", 3),
]


@pytest.fixture(scope="module", name="frame")
def fixture_frame(spark):
    """ROWS, typed and ranked."""
    frame = spark.createDataFrame(ROWS, SCHEMA)
    typed = frame.withColumn("time", frame["time"].cast("timestamp"))
    return add_rank(typed, DATASET.upsert_keys, DATASET.order_by)


def rule(expectation, /, **kwargs):
    return Rule("rule", f"expect_{expectation}", kwargs)


def counts(frame, rules):
    """Returns what the job counts for some rules in one pass, and in one each where it must."""
    counted = frame.agg(*aggregates(rules, DATASET)).collect()[0].asDict()
    for one in rules:
        if one.is_unique and not is_unique_by_key(one, DATASET):
            counted[unexpected_name(one)] = count_repeated(frame, one)
    return counted


def verdicts(rules, counted, recent=(), files=1):
    """Yields the job's verdicts on some rules over a frame of good rows."""
    account = Account(5, 2, 1, 2, {"price_missing": 1})
    yield from judge(rules, Evidence(DATASET, account, counted, recent, files))


VERDICTS = [
    (
        rule("table_row_count_to_be_between", min_value=4, max_value=4),
        (True, "rows: at least 4 and at most 4", "4 rows of 5 can be loaded"),
    ),
    (
        rule("table_columns_to_match_set", column_set=["key", "colour"], exact_match=False),
        (False, "the columns colour, key, maybe others", "unexpected: least, name, price, time; "),
    ),
    (
        rule("column_values_to_not_be_null", column="name", mostly=0.75),
        (True, "values in at least 75% of the rows", "1 of 4 rows have none (25%)"),
    ),
    (
        rule("column_values_to_not_be_null", column="name"),
        (False, "values in all rows", "1 of 4 rows have none (25%)"),
    ),
    (
        rule("column_values_to_be_unique", column="key"),
        (False, "values that no other row has in all", "3 of 4 rows break it (75%)"),
    ),
    (
        rule("column_values_to_be_unique", column="name"),
        (False, "values that no other row has in all", "2 of 3 rows break it (66.67%)"),
    ),
    (
        rule("compound_columns_to_be_unique", column_list=["name", "price"]),
        (True, "values that together no other row has in all", "all 3 rows are so"),
    ),
    (
        rule("column_values_to_be_between", column="price", min_value=0.5, strict_min=True),
        (False, "values more than 0.5 in all rows", "1 of 3 rows break it (33.33%)"),
    ),
    (
        rule("column_values_to_be_between", column="time", max_value="2017-01-01 10:00:00"),
        (False, "values at most 2017-01-01 10:00:00", "1 of 3 rows break it (33.33%)"),
    ),
    (
        rule("column_values_to_be_in_set", column="key", value_set=list(range(1, 20))),
        (True, "one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 9 others", "all 4 rows are so"),
    ),
    (
        rule("column_values_to_match_regex", column="name", regex="^[a-z]+$"),
        (False, "a match of ^[a-z]+$", "1 of 3 rows break it (33.33%)"),
    ),
    (
        rule("column_values_to_be_of_type", column="price", type_="LongType"),
        (False, "LongType", "DecimalType"),
    ),
    (
        rule("column_value_lengths_to_be_between", column="name", max_value=2),
        (False, "characters: at most 2", "2 of 3 rows break it (66.67%)"),
    ),
    (
        rule("column_pair_values_a_to_be_greater_than_b", column_A="price", column_B="least"),
        (False, "price > least", "1 of 3 rows break it (33.33%)"),
    ),
    (
        rule(
            "column_pair_values_a_to_be_greater_than_b",
            column_A="price",
            column_B="least",
            or_equal=True,
            ignore_row_if="either_value_is_missing",
            mostly=0.5,
        ),
        (
            True,
            "price >= least in at least 50% of the rows that have values",
            "1 of 2 rows break it (50%)",
        ),
    ),
    (
        rule("rejected_row_percent_to_be_between", max_value=20),
        (True, "rejected rows in percent: at most 20", "20% (1 of 5 rows)"),
    ),
]


RULES = [Rule(f"rule-{n}", one.type, one.kwargs) for n, (one, _) in enumerate(VERDICTS)]


@pytest.fixture(scope="module", name="judged")
def fixture_judged(frame):
    """The verdicts on all of VERDICTS, counted together as the job does."""
    return list(verdicts(RULES, counts(frame, RULES)))


@pytest.mark.parametrize("case", range(len(VERDICTS)), ids=[one.type for one, _ in VERDICTS])
def test_a_rule_is_judged_and_told(judged, case):
    success, expected, observed = VERDICTS[case][1]
    assert judged[case]["success"] is success
    assert judged[case]["expected"].startswith(expected)
    assert judged[case]["observed"].startswith(observed)


def test_nothing_of_no_rows_is_broken_but_their_number(frame):
    judged = verdicts(RULES, counts(frame.limit(0), RULES))
    assert [one["success"] for one in judged] == [
        one.type
        not in (
            "expect_table_row_count_to_be_between",
            "expect_table_columns_to_match_set",
            "expect_column_values_to_be_of_type",
        )
        for one in RULES
    ]


def test_the_limits_of_a_file_are_those_of_each_file_of_several():
    limits = rule("table_row_count_to_be_between", min_value=2, max_value=2)
    (together,) = verdicts([limits], {"rows": 6}, files=3)
    assert together["success"]
    assert together["expected"] == "rows: at least 2 and at most 2 a file, of 3 files together"
    (too_few,) = verdicts([limits], {"rows": 5}, files=3)
    assert not too_few["success"]


def test_a_key_that_another_file_repeats_is_no_fault(frame):
    rules = [one for one in RULES if one.is_unique]
    counted = counts(frame, rules)
    alone = list(verdicts(rules, counted))
    assert [one["success"] for one in alone].count(False) > 0
    for one, of_one_file in zip(verdicts(rules, counted, files=2), alone):
        assert one["success"] is None
        assert one["expected"].startswith("not judged: of 2 files")
        assert one["result"] == of_one_file["result"]


NEAR = rule("table_row_count_to_be_near_recent_runs", runs=3, tolerance=0.25)
NULLS = rule("column_null_share_to_be_near_recent_runs", column="name", runs=3, tolerance=0.1)


@pytest.fixture(scope="module", name="measured")
def fixture_measured(frame):
    return counts(frame, [NEAR, NULLS])


def past(*rows_and_missing):
    return [PastRun(rows, {"name": missing}) for rows, missing in rows_and_missing]


@pytest.mark.parametrize(
    "recent, row_count, null_share",
    [
        ([(4, 1), (4, 1)], None, None),
        ([(4, 1), (4, 1), (4, 1)], True, True),
        ([(900, 0), (4, 1), (4, 1)], True, True),  # one odd run changes nothing
        ([(6, 0), (6, 0), (4, 1)], False, False),
        ([(4, 1), (4, 1), (4, 1), (90, 0), (90, 0), (90, 0)], True, True),  # only the newest three
        ([(5, 2), (5, 2), (5, 2)], True, False),
        ([(0, 0), (0, 0), (0, 0)], False, False),
    ],
)
def test_a_run_is_held_against_the_median_of_the_last(measured, recent, row_count, null_share):
    near, nulls = verdicts([NEAR, NULLS], measured, past(*recent))
    assert near["success"] is row_count
    assert nulls["success"] is null_share


def test_a_run_that_did_not_measure_the_column_does_not_count(measured):
    unmeasured = [PastRun(4, {})] * 3
    (judged,) = verdicts([NULLS], measured, unmeasured)
    assert judged["success"] is None
    assert judged["expected"] == "not judged before 3 runs were accepted; there are 0"


def test_rules_of_the_same_columns_share_their_count_of_missing_values():
    rules = [
        rule("column_values_to_not_be_null", column="name"),
        Rule("other", "expect_column_values_to_match_regex", {"column": "name", "regex": "a"}),
        Rule("third", NULLS.type, NULLS.kwargs),
    ]
    assert len(aggregates(rules, DATASET)) == len(["rows", "missing name", "unexpected other"])


def test_a_rule_is_critical_unless_it_says_otherwise():
    read = load_rules({"a": {"type": "x", "kwargs": {}}, "b": {"type": "y", "severity": "info"}})
    assert [(one.name, one.severity) for one in read] == [("a", "critical"), ("b", "info")]


def test_an_exact_limit_is_allowed_also_where_a_double_would_miss_it(spark):
    frame = spark.createDataFrame(
        [(1, Decimal("0.30"), 0)], "key int, price decimal(6,2), _position int"
    )
    limits = rule("column_values_to_be_between", column="price", min_value=0.3, max_value=0.3)
    (judged,) = verdicts([limits], counts(frame, [limits]))
    assert judged["success"]
