"""Runs the drills against a local AWS of their own; exit code 1 when a promise was not kept."""

import argparse
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from tests.checkout import copy_checkout
from tests.conftest import REPOSITORY, LocalAws, free_port, new_home, pytest_configure
from tests.drills.phases import PhaseDrill, Row, phases_of
from tests.drills.releases import build_releases, must
from tests.drills.report import page
from tests.drills.zero_downtime import Result, ZeroDowntime, ten_switches
from tests.e2e.project import Project

PHASES_PAGE = REPOSITORY / "docs/drills/phases.md"
FEED_PAGE = REPOSITORY / "docs/drills/zero-downtime.md"
ENOUGH_FILES = 200
FED = ["feed-1", "feed-2", "feed-3", "feed-4", "feed-5"]
TURNS = ["turn-1", "turn-2"]  # take turns at being live
FRESH = "fresh"  # for the phase that uploads: it was never uploaded before
STARTED = time.monotonic()


def say(words: str) -> None:
    """Tell on stderr how far it is."""
    print(f"[{time.monotonic() - STARTED:6.0f} s] {words}", file=sys.stderr, flush=True)


def keep(place: Path, text: str) -> None:
    """Write the page of a drill that was run whole."""
    place.parent.mkdir(exist_ok=True)
    place.write_text(text, encoding="utf-8")
    say(f"written to {place.relative_to(REPOSITORY)}")


def drill_phases(checkout: Project, folder: Path, phases: list[str]) -> list[Row]:
    """Drill these phases, one after another."""
    build_releases(checkout, [*TURNS, FRESH])
    must(checkout.make("deploy", "ENV=dev", f"VERSION={TURNS[1]}"))
    drill, rows, turn = PhaseDrill(checkout, folder, say), [], 0
    for number, phase in enumerate(phases, 1):
        say(f"phase {number} of {len(phases)}: {phase}")
        if phase == "upload_release":
            version = FRESH
        else:
            version, turn = TURNS[turn], 1 - turn
        rows += drill.run(phase, version, other=TURNS[turn])
    return rows


def drill_feed(checkout: Project, folder: Path, files: int) -> Result:
    """Drill ten switches while so many files go by."""
    build_releases(checkout, FED)
    must(checkout.make("deploy", "ENV=dev", f"VERSION={FED[0]}"))
    drill = ZeroDowntime(checkout, folder, date(2019, 1, 1), say)
    return drill.run(FED[0], ten_switches(FED), files)


def main() -> int:
    """Run what was asked for; print the page on stdout; keep what was run whole."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__)
    parser.add_argument("--files", type=int, required=True, help="at least; 0: no feed")
    parser.add_argument("--phases", default="", help="some only; none: no phase; default: all")
    arguments = parser.parse_args()
    every = phases_of()
    phases = every if not arguments.phases else arguments.phases.replace(",", " ").split()
    if phases == ["none"]:
        phases = []
    if unknown := set(phases) - set(every):
        parser.error(
            f"deploy.sh has no phase {', '.join(sorted(unknown))}; it has {', '.join(every)}"
        )

    pytest_configure()  # hides the caller's own AWS settings
    rows, result = [], None
    with new_home() as home, tempfile.TemporaryDirectory() as folder:
        aws = LocalAws(home, free_port())
        checkout = Project(copy_checkout(Path(folder) / "checkout"), aws)
        try:
            must(aws.run("up"))
            if phases:
                rows = drill_phases(checkout, Path(folder), phases)
            if arguments.files:
                result = drill_feed(checkout, Path(folder), arguments.files)
        finally:
            must(aws.run("down"))

    print(page(rows, result))
    if phases == every:
        keep(PHASES_PAGE, page(rows, None))
    if result and result.files >= ENOUGH_FILES:
        keep(FEED_PAGE, page([], result))
    faults = [f"{row.phase}: {row.how}: {fault}" for row in rows for fault in row.faults]
    faults += result.faults if result else []
    for fault in faults:
        print(f"drill: {fault}", file=sys.stderr)
    say(f"{len(faults)} promises were not kept" if faults else "every promise was kept")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
