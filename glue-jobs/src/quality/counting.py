"""Counting: a suite becomes the aggregates of one observation, in the pass that writes the rows.

All rules speak about the good rows before deduplication: what the file holds that can be loaded.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import reduce
from operator import and_, or_
from typing import Any

from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from quality.rules import NULL_SHARE_NEAR, Rule
from utils.dataset import Column, Dataset

ROWS = "rows"


def missing_name(rule: Rule) -> str:
    """The name of the number of rows that a rule does not judge; rules of the same columns share
    it."""
    return " ".join(["missing", *rule.columns, rule.ignored_rows or ""]).strip()


def unexpected_name(rule: Rule) -> str:
    """The name of the number of rows that break a rule."""
    return f"unexpected {rule.name}"


def aggregates(
    rules: Sequence[Rule], dataset: Dataset, is_judged: Expression | None = None
) -> list[Expression]:
    """Returns the counts that all rules need, for one aggregation.

    In: the rows that the aggregation will see have the dataset's columns, typed, and `_rank` of
    `add_rank`. Out: bigint aggregates, each under its name: `rows`, `missing ...` and
    `unexpected ...`. Of the rows only those count of which `is_judged` is true, all without it; the
    others have `_rank` 1. Uniqueness of other columns than the upsert keys has none: see
    `count_repeated`.
    """
    columns = {column.name: column for column in dataset.columns}
    judged = F.lit(True) if is_judged is None else is_judged
    counts = {ROWS: F.count_if(judged)}
    for rule in rules:
        if rule.columns and (rule.type in BROKEN or rule.is_unique or _is_null_rule(rule)):
            counts[missing_name(rule)] = F.count_if(judged & is_missing(rule))
        if rule.type in BROKEN:
            counts[unexpected_name(rule)] = F.count_if(judged & BROKEN[rule.type](rule, columns))
        elif is_unique_by_key(rule, dataset):
            # The second row of a key speaks for the first one too.
            rows = F.when(F.col("_rank") == 2, 2).when(F.col("_rank") > 2, 1).otherwise(0)
            counts[unexpected_name(rule)] = F.coalesce(F.sum(rows), F.lit(0))
    return [count.alias(name) for name, count in counts.items()]


def is_unique_by_key(rule: Rule, dataset: Dataset) -> bool:
    """Whether a rule asks for unique upsert keys, which deduplication counts anyway."""
    return rule.is_unique and set(rule.columns) == set(dataset.upsert_keys)


def count_repeated(frame: DataFrame, rule: Rule) -> int:
    """Counts the rows whose values of a rule's columns another row has too: exact, and a pass of
    its own over the frame. Rows that the rule does not judge are left out."""
    groups = frame.where(~is_missing(rule)).groupBy(*rule.columns).count()
    (row,) = groups.where(F.col("count") > 1).agg(F.sum("count").alias("rows")).collect()
    return row["rows"] or 0


def is_missing(rule: Rule) -> Expression:
    """Whether a row has nothing for the rule to judge, by its NULLs."""
    nulls = [F.col(name).isNull() for name in rule.columns]
    match rule.ignored_rows:
        case "never" | "neither":
            return F.lit(False)
        case "any_value_is_missing" | "either_value_is_missing":
            return reduce(or_, nulls)
        case _:
            return reduce(and_, nulls)


def _is_null_rule(rule: Rule) -> bool:
    return rule.type in (NULL_SHARE_NEAR, "expect_column_values_to_not_be_null")


# ---- what breaks a rule: true for such a row, else false or NULL ---------------------------------


def _outside(rule: Rule, columns: Mapping[str, Column]) -> Expression:
    column = columns[rule.kwargs["column"]]
    return _is_outside(F.col(column.name), rule.kwargs, lambda value: _literal(column, value))


def _length_outside(rule: Rule, _columns: Mapping[str, Column]) -> Expression:
    return _is_outside(F.length(rule.kwargs["column"]), rule.kwargs, F.lit)


def _not_in_set(rule: Rule, columns: Mapping[str, Column]) -> Expression:
    column = columns[rule.kwargs["column"]]
    values = [_literal(column, value) for value in rule.kwargs["value_set"]]
    return ~F.col(column.name).isin(*values)


def _no_match(rule: Rule, _columns: Mapping[str, Column]) -> Expression:
    return ~F.col(rule.kwargs["column"]).rlike(rule.kwargs["regex"])


def _a_not_greater(rule: Rule, _columns: Mapping[str, Column]) -> Expression:
    a, b = F.col(rule.kwargs["column_A"]), F.col(rule.kwargs["column_B"])
    broken = a < b if rule.kwargs.get("or_equal") else a <= b
    return broken & ~is_missing(rule)


BROKEN: dict[str, Callable[[Rule, Mapping[str, Column]], Expression]] = {
    "expect_column_values_to_be_between": _outside,
    "expect_column_value_lengths_to_be_between": _length_outside,
    "expect_column_values_to_be_in_set": _not_in_set,
    "expect_column_values_to_match_regex": _no_match,
    "expect_column_pair_values_a_to_be_greater_than_b": _a_not_greater,
}


def _is_outside(
    value: Expression, limits: Mapping[str, Any], literal: Callable[[Any], Expression]
) -> Expression:
    outside = []
    if limits.get("min_value") is not None:
        least = literal(limits["min_value"])
        outside.append(value <= least if limits.get("strict_min") else value < least)
    if limits.get("max_value") is not None:
        most = literal(limits["max_value"])
        outside.append(value >= most if limits.get("strict_max") else value > most)
    return reduce(or_, outside)


def _literal(column: Column, value: Any) -> Expression:
    """Returns a configured value as the column's own kind of value, exactly."""
    if column.kind == "timestamp":
        return F.lit(value).cast("timestamp")
    if column.kind == "varchar":
        return F.lit(value)
    number = Decimal(str(value))
    # Comparing an integer column with a decimal would make a decimal of every value.
    is_long = number == int(number) and abs(number) < 2**63
    return F.lit(int(number) if is_long else number)
