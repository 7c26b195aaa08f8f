"""Measures the job beside its peers, in one run; exit code 1 when a peer's rows are not the job's.

A run of all peers at 1 GB, or more sizes, writes docs/performance.md and docs/costs.md; any prints
the first.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ops.config import load_config
from tests.bench.costs import Job, costs_page
from tests.bench.data import count_files
from tests.bench.page import GIGABYTE, page
from tests.bench.peers import JOB, PEERS, RowsDiffer
from tests.bench.processes import PYTHON, WorkFailed, heap_gigabytes, java_version
from tests.bench.runner import Bench
from tests.conftest import REPOSITORY
from tests.measured_on import commit, machine

FOLDER = REPOSITORY / "build/bench"
MEASURED = FOLDER / "measured.json"
MEASURED_BEFORE_FAILURE = FOLDER / "measured-before-failure.json"
PAGE = REPOSITORY / "docs/performance.md"
CHART = REPOSITORY / "docs/performance.svg"
COSTS = REPOSITORY / "docs/costs.md"
ENVIRONMENTS = ("dev", "qa", "staging", "prod")
STARTED = time.monotonic()


def say(words: str) -> None:
    """Tell on stderr how far it is."""
    print(f"[{time.monotonic() - STARTED:6.0f} s] {words}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the rounds that were asked for; print the page, and keep it where the run was whole."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--sizes", default="100 1000", help="in MB")
    parser.add_argument("--peers", default="", help="some only, the job besides; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--again", action="store_true", help="write the last run's page, whatever it ran"
    )
    arguments = parser.parse_args()
    if arguments.again:
        keep(json.loads(MEASURED.read_text(encoding="utf-8")))
        return 0

    peers = arguments.peers.replace(",", " ").split() or list(PEERS)
    if unknown := set(peers) - set(PEERS):
        parser.error(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    try:
        sizes = sorted({int(size) for size in arguments.sizes.replace(",", " ").split()})
        for size in sizes:
            count_files(size)
    except ValueError as error:
        parser.error(f"--sizes: {error}")
    if not sizes or arguments.rounds < 1:
        parser.error("nothing to do: at least one size and one round")
    chosen = [peer for name, peer in PEERS.items() if name in {JOB, *peers}]
    bench, failure = Bench(FOLDER, say), None
    try:
        bench.run(sizes, chosen, arguments.rounds)
    except (RowsDiffer, WorkFailed) as error:
        failure = error
    measured = bench.measured | {
        "sizes": [size for size in sizes if str(size) in bench.measured["rows"]],
        "peers": [peer.name for peer in chosen],
        "facts": facts(arguments.rounds),
    }
    kept = MEASURED_BEFORE_FAILURE if failure else MEASURED
    kept.write_text(json.dumps(measured, indent=1), encoding="utf-8")
    if failure:
        print(f"bench: {failure}; what it measured before is in {kept}", file=sys.stderr)
        return 1
    if len(chosen) == len(PEERS) and GIGABYTE in sizes:
        keep(measured)
    print(page(measured))
    return 0


def keep(measured: Mapping[str, Any]) -> None:
    """Write the pages and the chart of a whole run."""
    PAGE.write_text(page(measured), encoding="utf-8")
    jobs = [Job.of(name, load_config(name, []).values) for name in ENVIRONMENTS]
    COSTS.write_text(costs_page(measured, jobs), encoding="utf-8")
    subprocess.run(
        [PYTHON["duckdb"], "-m", "tests.bench.chart", MEASURED, CHART], cwd=REPOSITORY, check=True
    )
    written = ", ".join(str(file.relative_to(REPOSITORY)) for file in (PAGE, CHART, COSTS))
    say(f"written to {written}")


def facts(rounds: int) -> dict[str, str]:
    """Return when, on what and with what it was measured, by the template's names."""
    return {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        "commit": commit(),
        "machine": machine(),
        "load": f"{os.getloadavg()[2]:.1f}",
        "versions": versions(),
        "rounds": str(rounds),
        "heap": f"{heap_gigabytes():g}",
    }


def versions() -> str:
    """Return the versions of what was measured."""
    locked = {}
    for name in ("glue", "bench"):
        text = (REPOSITORY / f"requirements/{name}.txt").read_text(encoding="utf-8")
        pins = (line.split()[0] for line in text.splitlines() if "==" in line.split(" ")[0])
        locked |= dict(pin.split("==") for pin in pins)
    return (
        f"Spark {locked['pyspark']} on Java {java_version()}, DuckDB {locked['duckdb']},"
        f" Polars {locked['polars']}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
