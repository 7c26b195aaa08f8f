"""What recent runs looked like, for rules that compare a run with those before it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quality.counting import ROWS, missing_name
from quality.rules import NULL_SHARE_NEAR, ROW_COUNT_NEAR, Rule
from utils.storage import Storage

SUFFIX = ".json"


@dataclass(frozen=True)
class PastRun:
    """The good rows of an accepted run, and how many of them had no value, a column each."""

    rows: int
    missing: Mapping[str, int]


def measured(rules: Sequence[Rule], counts: Mapping[str, int]) -> dict[str, Any]:
    """Returns what later runs will be compared with: rows, and missing values a column."""
    missing = {
        rule.columns[0]: counts[missing_name(rule)]
        for rule in rules
        if rule.type == NULL_SHARE_NEAR
    }
    return {"rows": counts[ROWS], "missing": missing}


def read_recent_runs(
    storage: Storage, prefix: str, rules: Sequence[Rule], run_id: str
) -> list[PastRun]:
    """Returns as many accepted runs as any rule compares with, the newest first.

    `prefix` holds files `<time>-<run id>.json`; of a run that was judged twice the last counts, and
    the run's own, of an earlier attempt, does not. Nothing is read where no rule asks.
    """
    wanted = max((rule.kwargs["runs"] for rule in rules if compares(rule)), default=0)
    if not wanted:
        return []
    last = {name.partition("-")[2]: name for name in sorted(storage.list(prefix))}
    last.pop(f"{run_id}{SUFFIX}", None)
    newest = sorted(last.values(), reverse=True)[:wanted]
    documents = [json.loads(storage.read(prefix + name)) for name in newest]
    return [PastRun(document["rows"], document["missing"]) for document in documents]


def compares(rule: Rule) -> bool:
    """Whether a rule compares a run with those before it."""
    return rule.type in (ROW_COUNT_NEAR, NULL_SHARE_NEAR)
