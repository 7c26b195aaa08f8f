"""Verdicts: what was counted, held against each rule; counts are named as Great Expectations does.

Where Great Expectations runs the same suite over the same rows, verdict and counts are the same:
`make oracle` proves it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from quality.counting import ROWS, missing_name, unexpected_name
from quality.history import PastRun
from quality.rules import COMPOUND_UNIQUE, NULL_SHARE_NEAR, ROW_COUNT_NEAR, UNIQUE, Rule
from utils.account import Account
from utils.dataset import Dataset

SHOWN_VALUES = 10

SPARK_TYPES = {
    "bigint": "LongType",
    "integer": "IntegerType",
    "varchar": "StringType",
    "decimal": "DecimalType",
    "timestamp": "TimestampType",
}


@dataclass(frozen=True)
class Evidence:
    """What a run's rules are judged by; `counts` are those of `quality.counting`.

    `recent_runs` is None for a run that others are not to be compared with: of several files, or of
    files that were loaded before.
    """

    dataset: Dataset
    account: Account
    counts: Mapping[str, int]
    recent_runs: Sequence[PastRun] | None = ()
    files: int = 1


@dataclass(frozen=True)
class Verdict:
    """Whether a rule holds; `success` is None where it is not judged.

    `result` has Great Expectations' own keys; `expected` and `observed` are for people.
    """

    success: bool | None
    expected: str
    observed: str
    result: Mapping[str, Any]


def judge(rules: Sequence[Rule], evidence: Evidence) -> list[dict[str, Any]]:
    """Returns each rule with its verdict, as the report has them."""
    judged = []
    for rule in rules:
        verdict = JUDGES[rule.type](rule, evidence)
        judged.append(
            {
                "rule": rule.name,
                "type": rule.type,
                "columns": list(rule.columns),
                "severity": rule.severity,
                "success": verdict.success,
                "expected": verdict.expected,
                "observed": verdict.observed,
                "result": dict(verdict.result),
            }
        )
    return judged


# ---- rules about the table -----------------------------------------------------------------------


def _row_count(rule: Rule, evidence: Evidence) -> Verdict:
    rows, files = evidence.counts[ROWS], evidence.files
    observed = f"{rows:,} rows of {evidence.account.rows_in:,} can be loaded"
    expected = f"rows: {_limits(rule.kwargs)}"
    if files > 1:
        expected += f" a file, of {files} files together"
    success = _is_between(rows / files, rule.kwargs)
    return Verdict(success, expected, observed, {"observed_value": rows})


def _rejected_percent(rule: Rule, evidence: Evidence) -> Verdict:
    account = evidence.account
    percent = 100 * account.rejected / account.rows_in if account.rows_in else 0.0
    return Verdict(
        _is_between(percent, rule.kwargs),
        f"rejected rows in percent: {_limits(rule.kwargs)}",
        f"{percent:.4g}% ({account.rejected:,} of {account.rows_in:,} rows)",
        {"observed_value": percent},
    )


def _column_set(rule: Rule, evidence: Evidence) -> Verdict:
    expected, found = set(rule.kwargs["column_set"]), set(evidence.dataset.column_names)
    exact = rule.kwargs.get("exact_match", True)
    mismatched = {
        "unexpected": sorted(found - expected),
        "missing": sorted(expected - found),
    }
    success = not mismatched["missing"] and not (exact and mismatched["unexpected"])
    faults = [f"{fault}: {', '.join(names)}" for fault, names in mismatched.items() if names]
    return Verdict(
        success,
        f"the columns {', '.join(sorted(expected))}{'' if exact else ', maybe others'}",
        "; ".join(faults) or "the same",
        {"observed_value": sorted(found)},
    )


def _of_type(rule: Rule, evidence: Evidence) -> Verdict:
    (name,) = rule.columns
    column = next(column for column in evidence.dataset.columns if column.name == name)
    found, expected = SPARK_TYPES[column.kind], rule.kwargs["type_"]
    return Verdict(found == expected, expected, found, {"observed_value": found})


# ---- rules about values --------------------------------------------------------------------------


def _not_null(rule: Rule, evidence: Evidence) -> Verdict:
    rows, missing = evidence.counts[ROWS], evidence.counts[missing_name(rule)]
    result = {
        "element_count": rows,
        "unexpected_count": missing,
        "unexpected_percent": _percent(missing, rows),
    }
    return Verdict(
        _is_mostly(rows, missing, rule.mostly),
        f"values in {_mostly(rule)} rows",
        _observed(missing, rows, "rows have none"),
        result,
    )


def _unique(rule: Rule, evidence: Evidence) -> Verdict:
    verdict = _values(rule, evidence)
    if evidence.files == 1:
        return verdict
    # What a later file says again of an earlier one's keys is news, not a fault.
    expected = f"not judged: of {evidence.files} files, one may repeat the keys of another"
    return replace(verdict, success=None, expected=expected)


def _values(rule: Rule, evidence: Evidence) -> Verdict:
    """Judges a rule that each value, pair or key of the judged rows meets or breaks."""
    rows = evidence.counts[ROWS]
    missing, unexpected = (evidence.counts[name(rule)] for name in (missing_name, unexpected_name))
    judged = rows - missing
    result = {
        "element_count": rows,
        "missing_count": missing,
        "unexpected_count": unexpected,
        "unexpected_percent": _percent(unexpected, judged),
    }
    return Verdict(
        _is_mostly(judged, unexpected, rule.mostly),
        f"{EXPECTED[rule.type](rule.kwargs)} in {_mostly(rule)} rows that have values",
        _observed(unexpected, judged, "rows break it"),
        result,
    )


EXPECTED: dict[str, Callable[[Mapping[str, Any]], str]] = {
    UNIQUE: lambda kwargs: "values that no other row has",
    COMPOUND_UNIQUE: lambda kwargs: "values that together no other row has",
    "expect_column_values_to_be_between": lambda kwargs: f"values {_limits(kwargs)}",
    "expect_column_value_lengths_to_be_between": lambda kwargs: f"characters: {_limits(kwargs)}",
    "expect_column_values_to_be_in_set": lambda kwargs: f"one of {_listed(kwargs['value_set'])}",
    "expect_column_values_to_match_regex": lambda kwargs: f"a match of {kwargs['regex']}",
    "expect_column_pair_values_a_to_be_greater_than_b": lambda kwargs: (
        f"{kwargs['column_A']} {'>=' if kwargs.get('or_equal') else '>'} {kwargs['column_B']}"
    ),
}


# ---- rules about recent runs ---------------------------------------------------------------------


def _row_count_near(rule: Rule, evidence: Evidence) -> Verdict:
    if evidence.recent_runs is None:
        return _incomparable()
    usual = [run.rows for run in evidence.recent_runs]
    tolerance = rule.kwargs["tolerance"]
    return _near(
        rule,
        usual,
        evidence.counts[ROWS],
        lambda middle: (middle * (1 - tolerance), middle * (1 + tolerance)),
        lambda rows: f"{rows:,.0f}",
        "rows",
    )


def _null_share_near(rule: Rule, evidence: Evidence) -> Verdict:
    if evidence.recent_runs is None:
        return _incomparable()
    (column,) = rule.columns
    tolerance = rule.kwargs["tolerance"]
    usual = [
        _share(run.missing[column], run.rows)
        for run in evidence.recent_runs
        if column in run.missing
    ]
    return _near(
        rule,
        usual,
        _share(evidence.counts[missing_name(rule)], evidence.counts[ROWS]),
        lambda middle: (max(0.0, middle - tolerance), min(1.0, middle + tolerance)),
        lambda share: f"{100 * share:.4g}%",
        "of the rows have no value",
    )


def _incomparable() -> Verdict:
    return Verdict(None, "not judged: only runs of one new file are compared", "", {})


def _near(
    rule: Rule,
    usual: Sequence[float],
    value: float,
    band: Callable[[float], tuple[float, float]],
    show: Callable[[float], str],
    unit: str,
) -> Verdict:
    """Judges a value by a band around the median of the last runs: one odd run moves no median."""
    runs = rule.kwargs["runs"]
    result = {"observed_value": value, "runs": min(len(usual), runs)}
    if len(usual) < runs:
        expected = f"not judged before {runs} runs were accepted; there are {len(usual)}"
        return Verdict(None, expected, f"{show(value)} {unit}", result)
    least, most = band(median(usual[:runs]))
    return Verdict(
        least <= value <= most,
        f"{show(least)} to {show(most)}, by the last {runs} runs",
        f"{show(value)} {unit}",
        result | {"min_value": least, "max_value": most},
    )


JUDGES: dict[str, Callable[[Rule, Evidence], Verdict]] = {
    "expect_table_row_count_to_be_between": _row_count,
    "expect_table_columns_to_match_set": _column_set,
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_of_type": _of_type,
    **dict.fromkeys(EXPECTED, _values),
    **dict.fromkeys((UNIQUE, COMPOUND_UNIQUE), _unique),
    "expect_rejected_row_percent_to_be_between": _rejected_percent,
    ROW_COUNT_NEAR: _row_count_near,
    NULL_SHARE_NEAR: _null_share_near,
}


# ---- numbers -------------------------------------------------------------------------------------


def _is_between(value: float, limits: Mapping[str, Any]) -> bool:
    least, most = limits.get("min_value"), limits.get("max_value")
    return (least is None or value >= least) and (most is None or value <= most)


def _is_mostly(judged: int, unexpected: int, mostly: float) -> bool:
    """Whether enough of the judged rows are as expected; of none, all are."""
    return judged == 0 or (judged - unexpected) / judged >= mostly


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _limits(limits: Mapping[str, Any]) -> str:
    least, most = limits.get("min_value"), limits.get("max_value")
    words = []
    if least is not None:
        words.append(f"{'more than' if limits.get('strict_min') else 'at least'} {least}")
    if most is not None:
        words.append(f"{'less than' if limits.get('strict_max') else 'at most'} {most}")
    return " and ".join(words)


def _listed(values: Sequence[Any]) -> str:
    more = f" and {len(values) - SHOWN_VALUES} others" if len(values) > SHOWN_VALUES else ""
    return ", ".join(map(str, values[:SHOWN_VALUES])) + more


def _mostly(rule: Rule) -> str:
    return "all" if rule.mostly == 1 else f"at least {100 * rule.mostly:.6g}% of the"


def _observed(unexpected: int, judged: int, complaint: str) -> str:
    if not unexpected:
        return f"all {judged:,} rows are so"
    return f"{unexpected:,} of {judged:,} {complaint} ({100 * unexpected / judged:.4g}%)"
