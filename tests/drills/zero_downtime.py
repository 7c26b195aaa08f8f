"""Deploys and rollbacks go by while files keep coming: each is loaded once, by one release."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from tests.drills.feed import Feed, stem_of
from tests.drills.releases import must
from tests.e2e.project import DATA_BUCKET, STATE_MACHINE, Project
from tests.e2e.reference import Expected, expect
from tests.e2e.warehouse import read_rows

CANARY = (
    "SET=release.canary.weights=[50] release.canary.interval_seconds=10 "
    "release.canary.metrics_seconds=0"
)


@dataclass(frozen=True)
class Switch:
    """One command that changes what is live."""

    command: str  # deploy or rollback
    version: str  # what is live then
    arguments: tuple[str, ...] = ()


def blue_green(version: str) -> Switch:
    """Return a deploy that switches all at once."""
    return Switch("deploy", version, (f"VERSION={version}",))


def canary(version: str) -> Switch:
    """Return a deploy that shares the traffic for a while."""
    return Switch("deploy", version, (f"VERSION={version}", "STRATEGY=canary", CANARY))


def rollback(version: str) -> Switch:
    """Return a rollback to a named release."""
    return Switch("rollback", version, (f"TO={version}",))


@dataclass
class Result:
    """What came of a feed; `faults` is empty when every promise was kept."""

    switches: list[tuple[str, float]] = field(default_factory=list)  # in words, its seconds
    files: int = 0
    rows: int = 0
    seconds: float = 0.0
    by_release: dict[str, int] = field(default_factory=dict)
    in_flight: int = 0  # executions that ran while live was switched
    faults: list[str] = field(default_factory=list)


class ZeroDowntime:
    """A feed, and the switches that go by."""

    def __init__(
        self, project: Project, folder: Path, first: date, say: Callable[[str], None] = print
    ):
        self._project, self._say = project, say
        self._feed = Feed(project, folder, first)
        self._releases: dict[str, str] = {}  # by version ARN
        self._switched_at: list[datetime] = []
        self._result = Result()

    def run(self, live: str, switches: list[Switch], files: int) -> Result:
        """Do the switches one after another, and feed so many files at least meanwhile.

        `live` is the release that is live now. Every release works off its part of the files
        before the next switch.
        """
        started, part = time.monotonic(), max(1, files // (2 * (len(switches) + 1)))
        self._releases[self._project.live_version()] = live
        self._feed.start()
        try:
            self._work_off(part)
            for number, switch in enumerate(switches, 1):
                self._say(f"zero downtime: switch {number} of {len(switches)}: {_words(switch)}")
                self._do(switch)
                self._work_off(part)
                self._say(f"zero downtime: {len(self._feed.sent)} files so far")
            self._feed.wait_for(lambda: len(self._feed.sent) >= files, f"{files} files")
        finally:
            self._feed.stop()
        self._result.seconds = time.monotonic() - started
        self._result.faults = list(self._check(live, switches))
        return self._result

    def _do(self, switch: Switch) -> None:
        started = time.monotonic()
        must(self._project.make(switch.command, "ENV=dev", *switch.arguments))
        self._result.switches.append((_words(switch), time.monotonic() - started))
        self._releases[self._project.live_version()] = switch.version
        alias = self._project.client("stepfunctions").describe_state_machine_alias(
            stateMachineAliasArn=f"{STATE_MACHINE}:live"
        )
        self._switched_at.append(alias["updateDate"])

    def _work_off(self, files: int) -> None:
        """Wait until what is live has worked off so many files more."""
        version = self._project.live_version()
        before = self._feed.by_version()[version]
        self._feed.wait_for(
            lambda: self._feed.by_version()[version] >= before + files,
            f"{self._releases[version]} to work off {files} files",
        )

    # ---- what was promised -----------------------------------------------------------------------

    def _check(self, live: str, switches: list[Switch]) -> Iterator[str]:
        executions = self._feed.executions()
        self._result.files = len(self._feed.sent)
        self._result.by_release = dict(
            Counter(self._releases.get(e["stateMachineVersionArn"], "?") for e in executions)
        )
        yield from self._executions_that_failed(executions)
        yield from self._files_not_loaded_once(executions)
        yield from self._files_left()
        yield from self._rows_that_differ()
        for execution in executions:
            yield from self._release_that_changed(execution)
        for release in {live, *(switch.version for switch in switches)}:
            if not self._result.by_release.get(release):
                yield f"{release} was live and has taken no file"
        self._result.in_flight = sum(
            any(e["startDate"] < moment < e["stopDate"] for moment in self._switched_at)
            for e in executions
        )
        if not self._result.in_flight:
            yield "no execution ran during a switch: nothing is proven of those in flight"

    def _executions_that_failed(self, executions: list[dict]) -> Iterator[str]:
        for execution in executions:
            if execution["status"] != "SUCCEEDED":
                yield f"execution {execution['name']} is {execution['status']}"

    def _files_not_loaded_once(self, executions: list[dict]) -> Iterator[str]:
        runs = Counter(stem_of(execution) for execution in executions)
        for stem in self._feed.sent.keys() | runs.keys():
            if runs[stem] != 1:
                yield f"{stem} had {runs[stem]} executions"

    def _files_left(self) -> Iterator[str]:
        s3 = self._project.client("s3")
        for prefix in ("data/in/", "data/failed/"):
            for page in s3.get_paginator("list_objects_v2").paginate(
                Bucket=DATA_BUCKET, Prefix=prefix
            ):
                for item in page.get("Contents", []):
                    if Path(item["Key"]).stem in self._feed.sent:
                        yield f"{item['Key']} was not archived"

    def _rows_that_differ(self) -> Iterator[str]:
        """Compare the warehouse's rows of each file with the file, by number and content."""
        days = sorted(sent.day for sent in self._feed.sent.values())
        condition = f"product_id between {days[0]} and {days[-1]}"
        found: dict[str, Expected] = {}
        keys = set()
        for row in read_rows(self._project, condition):
            key = (row[0], row[9])
            if key in keys:
                yield f"the row {key} is there twice"
            keys.add(key)
            found.setdefault(row[0], Expected()).rows[key] = row
        self._result.rows = len(keys)
        for stem, sent in self._feed.sent.items():
            wanted = expect(sent.file).fingerprint()
            actual = found.pop(str(sent.day), Expected()).fingerprint()
            if actual != wanted:
                yield f"{stem}: expected {wanted}, found {actual}"
        for product in found:
            yield f"rows of product {product}, which no file has"

    def _release_that_changed(self, execution: dict) -> Iterator[str]:
        """Hold what an execution called, by its history, against what it started on."""
        states, name = self._project.client("stepfunctions"), execution["name"]
        version = execution["stateMachineVersionArn"]
        sent = self._feed.sent.get(stem_of(execution))
        if sent and sent.started_on != version:
            yield f"{name} started on {sent.started_on} and ended on {version}"
        pages = states.get_paginator("get_execution_history").paginate(
            executionArn=execution["executionArn"]
        )
        called = {
            release
            for page in pages
            for event in page["events"]
            for release in _releases_called(event)
        }
        if called != {self._releases.get(version)}:
            yield f"{name} started on {self._releases.get(version)} and has called {called}"


def _releases_called(event: dict) -> Iterator[str]:
    """Yield the release that a scheduled task names: the function's payload, the job's argument."""
    details = event.get("taskScheduledEventDetails")
    if not details:
        return
    parameters = json.loads(details["parameters"])
    for place, key in (("Payload", "release"), ("Arguments", "--release")):
        arguments = parameters.get(place)
        if isinstance(arguments, dict) and key in arguments:
            yield arguments[key]


def _words(switch: Switch) -> str:
    kind = " (canary)" if "STRATEGY=canary" in switch.arguments else ""
    return f"{switch.command} {switch.version}{kind}"


def ten_switches(names: list[str]) -> list[Switch]:
    """Return ten switches between five releases, the first of which is live."""
    first, second, third, fourth, fifth = names
    return [
        blue_green(second),
        canary(third),
        rollback(second),
        blue_green(fourth),
        rollback(first),
        canary(fifth),
        rollback(fourth),
        blue_green(third),
        canary(second),
        rollback(fifth),
    ]
