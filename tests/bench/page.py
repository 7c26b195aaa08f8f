"""What came of a run, as docs/performance.md: a template, written by hand, and the figures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from tests.bench.peers import DUCKDB, FLOOR, JOB, NO_RULES, PEERS, TEXTBOOK
from tests.bench.ratios import Runs, growth, ratio, typical

TEMPLATE = Path(__file__).with_name("performance.md")
GIGABYTE = 1000
SMALL, LARGE = 100, 5000


@dataclass(frozen=True)
class Target:
    """A promise about the job: `measure` answers None where it was not measured."""

    promise: str
    measure: Callable[[Runs], float | None]
    holds: Callable[[float], bool]


TARGETS = (
    Target(
        "1 GB in at most 2.2 times DuckDB's time",
        lambda runs: ratio(runs, JOB, DUCKDB, GIGABYTE),
        lambda times: times <= 2.2,
    ),
    Target(
        "1 GB in at most 1.6 times the floor's time",
        lambda runs: ratio(runs, JOB, FLOOR, GIGABYTE),
        lambda times: times <= 1.6,
    ),
    Target(
        "1 GB at least 5 times faster than the textbook job",
        lambda runs: ratio(runs, TEXTBOOK, JOB, GIGABYTE),
        lambda times: times >= 5,
    ),
    Target(
        "at most 1.1 times the time of the job without rules, at 1 GB",
        lambda runs: ratio(runs, JOB, NO_RULES, GIGABYTE),
        lambda times: times <= 1.1,
    ),
    Target(
        "a GB of 5 GB takes 0.85 to 1.15 times what it takes of 100 MB",
        lambda runs: growth(runs, JOB, SMALL, LARGE),
        lambda times: 0.85 <= times <= 1.15,
    ),
)


def page(measured: Mapping[str, Any]) -> str:
    """Return the page of one run: `runs` and `rows` of the runner, `sizes`, `peers`, and `facts`,
    the words that the template asks for by name."""
    tables = {
        "targets": _lines(_targets(measured)),
        "peers": _lines(_peers(measured["peers"])),
        "sizes": "\n\n".join(_lines(_size(measured, megabytes)) for megabytes in measured["sizes"]),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    return Template(text).substitute(measured["facts"] | tables)


def size_name(megabytes: int) -> str:
    """Return a size as people say it."""
    return f"{megabytes / GIGABYTE:g} GB" if megabytes >= GIGABYTE else f"{megabytes} MB"


def _targets(measured: Mapping[str, Any]) -> Iterator[str]:
    runs = measured["runs"]
    yield "| target | measured | met |"
    yield "|---|---|---|"
    for target in TARGETS:
        value = target.measure(runs)
        if value is None:
            yield f"| {target.promise} | not measured | |"
        else:
            met = "yes" if target.holds(value) else "**no**"
            yield f"| {target.promise} | {value:.2f} | {met} |"
    finished = typical(runs, JOB, LARGE) is not None
    yield (
        f"| 5 GB within a heap of 4 GB | {'finished' if finished else 'not measured'} |"
        f" {_is_bounded(measured['facts']['heap']) if finished else ''} |"
    )


def _peers(names: Sequence[str]) -> Iterator[str]:
    yield "| | what it does | must be the job's |"
    yield "|---|---|---|"
    for name in names:
        peer = PEERS[name]
        compared = "" if name == JOB else peer.compared.value
        yield f"| {peer.title} | {peer.does} | {compared} |"


def _size(measured: Mapping[str, Any], megabytes: int) -> Iterator[str]:
    runs, rows = measured["runs"], measured["rows"][str(megabytes)]
    yield (
        f"### {size_name(megabytes)}: {rows['rows_in']:,} rows, {rows['loaded']:,} loaded,"
        f" {rows['rejected']:,} rejected, {rows['superseded']:,} superseded"
    )
    yield ""
    columns = (
        "seconds | fastest | CPU seconds | memory, GB | times DuckDB | times the floor | rounds"
    )
    yield f"| | {columns} |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for name in measured["peers"]:
        its = [run for run in runs if run["peer"] == name and run["megabytes"] == megabytes]
        if not its:
            continue
        yield (
            f"| {PEERS[name].title} | {typical(runs, name, megabytes):.1f}"
            f" | {min(run['seconds'] for run in its):.1f}"
            f" | {typical(runs, name, megabytes, 'cpu_seconds'):.1f}"
            f" | {_memory(name, its)}"
            f" | {_times(ratio(runs, name, DUCKDB, megabytes))}"
            f" | {_times(ratio(runs, name, FLOOR, megabytes))} | {len(its)} |"
        )


def _memory(name: str, runs: Runs) -> str:
    peak = f"{max(run['peak_gigabytes'] for run in runs):.1f}"
    return f"{peak}, shared" if PEERS[name].engine == "spark" else peak


def _is_bounded(heap: str) -> str:
    # A machine with little memory gives it less.
    return "yes" if float(heap) <= 4 else f"**no**: it was {heap} GB"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _lines(lines: Iterator[str]) -> str:
    return "\n".join(lines)
