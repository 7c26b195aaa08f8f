"""Keeps what a layer of the tests has come to, so that a release can be shown to have passed them.

`begin` opens an empty folder for the layer's JUnit reports, `end` reads them. Evidence is left only
for a run in which every test has passed, on a checkout that had no changes before and after it, and
it names that commit. It lies in build/.evidence/tests/<layer>/<version of the sources>.json, from
where a deploy takes it along (ops.release.evidence).
"""

import argparse
import getpass
import json
import os
import shutil
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from ops.build.version import REPOSITORY, VersionError, git, read_sources

LAYERS = ("unit", "integration", "release-test", "e2e")
LOCAL = ".evidence"  # in build/, where no version can have this name
EVIDENCE = Path("build") / LOCAL
STARTED = "started.json"
COUNTS = ("tests", "failures", "errors", "skipped")


class NoEvidence(Exception):
    """The run speaks for no release; the message says why."""


def begin(layer: str, repository: Path = REPOSITORY) -> Path:
    """Return the layer's folder for reports, empty; what an earlier run has left is void."""
    reports = repository / EVIDENCE / "reports" / layer
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    state = {"clean": False}
    try:
        sources = read_sources(repository)
        state = {"clean": _is_clean(repository), "commit": sources.commit}
        _file(layer, sources.version, repository).unlink(missing_ok=True)
    except VersionError:
        pass  # no git checkout: `end` says so
    (reports / STARTED).write_text(json.dumps(state), encoding="utf-8")
    return reports


def end(layer: str, repository: Path = REPOSITORY) -> Path:
    """Write the evidence of a run that has passed; raise NoEvidence where there is none."""
    reports = repository / EVIDENCE / "reports" / layer
    try:
        started = json.loads((reports / STARTED).read_text(encoding="utf-8"))
        sources = read_sources(repository)
        clean = _is_clean(repository)
    except FileNotFoundError as error:
        raise NoEvidence(f"the run was not begun: there is no {reports / STARTED}") from error
    except VersionError as error:
        raise NoEvidence(str(error)) from error
    if options := os.environ.get("PYTEST_ADDOPTS"):
        raise NoEvidence(f"PYTEST_ADDOPTS chooses what runs ({options}): run without it")
    if not started["clean"] or not clean:
        raise NoEvidence("the checkout has changes that no commit has: commit them and run again")
    if started["commit"] != sources.commit:
        raise NoEvidence(f"the run began at {started['commit'][:12]}, which has changed since")
    counts = count(reports)
    if not counts["tests"] or any(counts[name] for name in COUNTS[1:]):
        listed = ", ".join(f"{counts[name]} {name}" for name in COUNTS)
        raise NoEvidence(f"not every test has passed: {listed}")
    record = {
        "layer": layer,
        "sources": sources.version,
        "commit": sources.commit,
        "tests": counts["tests"],
        "seconds": round(counts["seconds"], 1),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
    }
    file = _file(layer, sources.version, repository)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return file


def count(reports: Path) -> dict[str, float]:
    """Return the sums over the JUnit reports in a folder, the suites' seconds among them."""
    sums: dict[str, float] = dict.fromkeys((*COUNTS, "seconds"), 0)
    for report in sorted(reports.glob("*.xml")):
        root = ElementTree.parse(report).getroot()
        for suite in [root] if root.tag == "testsuite" else root.findall("testsuite"):
            for name in COUNTS:
                sums[name] += int(suite.get(name, 0))
            sums["seconds"] += float(suite.get("time", 0))
    return sums


def _is_clean(repository: Path) -> bool:
    """Return whether every file is as committed, tests and tools among them."""
    return not git("status", "--porcelain", repository=repository).strip()


def _file(layer: str, sources: str, repository: Path) -> Path:
    return repository / EVIDENCE / "tests" / layer / f"{sources}.json"


def main() -> int:
    """Print the folder for the reports, or write the evidence; without any, say why."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.checks.evidence_of_tests", description=__doc__
    )
    parser.add_argument("action", choices=("begin", "end"))
    parser.add_argument("layer", choices=LAYERS)
    arguments = parser.parse_args()
    if arguments.action == "begin":
        print(begin(arguments.layer))
        return 0
    try:
        file = end(arguments.layer).relative_to(REPOSITORY)
        print(f"{arguments.layer}: evidence for a release: {file}", file=sys.stderr)
    except NoEvidence as error:
        print(f"{arguments.layer}: no evidence for a release: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
