"""Ratios of what two peers took: medians over the rounds, since single times here mean little."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

Runs = Sequence[Mapping[str, Any]]  # of runner.Run


def by_round(runs: Runs, peer: str, megabytes: int, value: str = "seconds") -> dict[int, float]:
    """Return round -> what a peer took in it."""
    return {
        run["round"]: run[value]
        for run in runs
        if run["peer"] == peer and run["megabytes"] == megabytes
    }


def typical(runs: Runs, peer: str, megabytes: int, value: str = "seconds") -> float | None:
    """Return the median of a peer's rounds, None where it did not run."""
    return _median(by_round(runs, peer, megabytes, value).values())


def ratio(runs: Runs, peer: str, other: str, megabytes: int) -> float | None:
    """Return how many times as long as another one a peer takes: the median of the ratios of each
    round that both ran in, None where there is none."""
    ours, theirs = (by_round(runs, name, megabytes) for name in (peer, other))
    return _median(ours[number] / theirs[number] for number in ours.keys() & theirs.keys())


def growth(runs: Runs, peer: str, small: int, large: int) -> float | None:
    """Return what a GB costs at a large size, in what it costs at a small one."""
    costs = []
    for megabytes in (small, large):
        seconds = typical(runs, peer, megabytes)
        if seconds is None:
            return None
        costs.append(seconds / megabytes)
    return costs[1] / costs[0]


def _median(values: Iterable[float]) -> float | None:
    values = list(values)
    return median(values) if values else None
