"""What came of the drills, as a page: what is in docs/drills/ is written by nothing else."""

import platform
from collections.abc import Iterator
from datetime import datetime, timezone

from tests.drills.phases import Row
from tests.drills.zero_downtime import Result
from tests.measured_on import commit, machine


def page(rows: list[Row], result: Result | None) -> str:
    """Return the page of a run of the drills."""
    lines = [
        "# Drills",
        "",
        "Written by `make drill`, never by hand.",
        "",
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {commit()}, {machine()}, "
        f"Python {platform.python_version()}. Times "
        "are of that run, with whatever else the machine did.",
        "",
    ]
    if rows:
        lines += [*_phases(rows), ""]
    if result:
        lines += [*_feed(result), ""]
    return "\n".join(lines)


def _phases(rows: list[Row]) -> Iterator[str]:
    yield "## A deploy that breaks, phase by phase"
    yield ""
    yield (
        "Each phase of `scripts/deploy.sh` is broken in a way of its own, and killed as it begins "
        "and when it has ended, by a deploy of a release that is not live. What is live is then "
        "what both aliases say. After each break a file is fed and its row read from the "
        "warehouse; after the last one of a phase the same deploy again makes the release live."
    )
    yield ""
    yield "| phase | broken by | live then | s until then | s to deploy again | as promised |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        again = "" if row.again is None else f"{row.again:.1f}"
        yield (
            f"| {row.phase} | {row.how} | {row.live} | {row.seconds:.1f} | {again} | "
            f"{'**no**' if row.faults else 'yes'} |"
        )


def _feed(result: Result) -> Iterator[str]:
    yield "## Files keep coming while releases are switched"
    yield ""
    lost = f"{len(result.faults)} faults" if result.faults else "none lost, doubled or failed"
    yield (
        f"{result.files} files ({result.rows} rows) in {result.seconds:.0f} s: {lost}. Every row "
        "was counted and hashed in the warehouse, file by file; each file had one execution, which "
        f"called one release, that of the version it started on. {result.in_flight} executions "
        "were running while live was switched."
    )
    yield ""
    yield "| switch | s |"
    yield "|---|---|"
    for words, seconds in result.switches:
        yield f"| {words} | {seconds:.1f} |"
    yield ""
    yield "| release | files |"
    yield "|---|---|"
    for release, files in sorted(result.by_release.items()):
        yield f"| {release} | {files} |"
