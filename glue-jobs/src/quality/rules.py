"""The rules of one dataset: each an expectation, written as Great Expectations 1.x writes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CRITICAL = "critical"  # a broken rule stops the load
WARNING = "warning"  # it is told to people, and the rows are loaded
INFO = "info"  # it is in the report

UNIQUE = "expect_column_values_to_be_unique"
COMPOUND_UNIQUE = "expect_compound_columns_to_be_unique"
ROW_COUNT_NEAR = "expect_table_row_count_to_be_near_recent_runs"
NULL_SHARE_NEAR = "expect_column_null_share_to_be_near_recent_runs"

# Which rows a rule of several columns leaves out by default: as in Great Expectations.
IGNORED_ROWS = {
    "expect_column_pair_values_a_to_be_greater_than_b": "both_values_are_missing",
    COMPOUND_UNIQUE: "all_values_are_missing",
}


@dataclass(frozen=True)
class Rule:
    """One expectation; `name` is its own among the dataset's rules."""

    name: str
    type: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    severity: str = CRITICAL

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rule speaks about, none where it is about the table."""
        if "column_list" in self.kwargs:
            return tuple(self.kwargs["column_list"])
        named = ("column", "column_A", "column_B")
        return tuple(self.kwargs[key] for key in named if key in self.kwargs)

    @property
    def mostly(self) -> float:
        """The share of values, 0 to 1, that must be as expected."""
        return self.kwargs.get("mostly", 1.0)

    @property
    def ignored_rows(self) -> str | None:
        """Which rows a rule of several columns leaves out."""
        return self.kwargs.get("ignore_row_if", IGNORED_ROWS.get(self.type))

    @property
    def is_unique(self) -> bool:
        """Whether the rule compares rows with each other."""
        return self.type in (UNIQUE, COMPOUND_UNIQUE)


def load_rules(expectations: Mapping[str, Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Returns the rules of a dataset's `expectations` in the merged configuration."""
    return tuple(
        Rule(name, settings["type"], settings.get("kwargs", {}), settings.get("severity", CRITICAL))
        for name, settings in expectations.items()
    )
