"""Shows what a deploy would change in an environment, on one page; it changes nothing.

The stacks' changes come from change sets that scripts/plan.sh has described and deleted again.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ops.build.manifest import ManifestError
from ops.differences import Difference
from ops.environment import STACKS, Environment, OperationError, command
from ops.release import lock
from ops.release.change_sets import StackPlan, lines
from ops.release.comparison import (
    ArtifactChange,
    artifact_changes,
    configuration_changes,
    is_text,
    text_changes,
)
from ops.release.evidence import BUILDS, Release
from ops.release.gates import faults
from ops.release.live import live_release, routes, version_number
from ops.release.releases import download

CHANGES = 2  # the exit code


@dataclass(frozen=True)
class Plan:  # pylint: disable=too-many-instance-attributes  # a section of the page each
    """What a deploy of a release would change."""

    environment: Environment
    release: str
    live: str  # the release that is live; empty: none
    weights: dict[str, int]  # how the state machine's alias routes now
    stacks: list[StackPlan]
    artifacts: list[ArtifactChange]
    configuration: list[Difference]
    texts: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def counts(self) -> list[str]:
        """Return how much would change, in words; empty where nothing would."""
        stacks = sum(not stack.is_unchanged for stack in self.stacks)
        found = [
            _count(stacks, "stack"),
            _count(len(self.artifacts), "artifact"),
            _count(len(self.configuration), "configuration value"),
        ]
        if self.moves_live:
            found.append("what is live")
        return [words for words in found if words]

    @property
    def moves_live(self) -> bool:
        """Whether the alias would be moved."""
        return self.live != self.release or len(self.weights) > 1


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}" if number else ""


def read_stacks(folder: Path) -> list[StackPlan]:
    """Return what plan.sh has written of each stack; raise OperationError for an impossible one."""
    plans = []
    for name in STACKS:
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        plans.append(StackPlan(name, found["status"], found["type"], found["change_set"]))
        plans[-1].check()
    return plans


def make(environment: Environment, root: Path, stacks: list[StackPlan], folder: Path) -> Plan:
    """Return the plan of the release at `root`; the live one is fetched into `folder`."""
    release = Release.of(root)
    live = live_release(environment)
    refusals = faults(environment, release, BUILDS)
    notes = [f"a deploy would be refused: {fault}" for fault in refusals]
    old = None
    if live:
        if held := lock.holder(environment):
            notes.append(f"this may change any moment: {held} is going on")
        try:
            download(live.release, environment.artifact_bucket, folder, environment.client("s3"))
            old = folder
        except ManifestError as error:
            notes.append(f"the live release cannot be compared with, so all counts as new: {error}")
    artifacts = artifact_changes(old, root)
    texts = {
        change.path: list(text_changes(old, root, change.path))
        for change in artifacts
        if old and change.old and change.new and is_text(change.path)
    }
    return Plan(
        environment=environment,
        release=release.version,
        live=live.release if live else "",
        weights=routes(environment),
        stacks=stacks,
        artifacts=artifacts,
        configuration=configuration_changes(old, root, environment.name) if old else [],
        texts=texts,
        notes=notes,
    )


def page(plan: Plan) -> Iterator[str]:
    """Yield the page's lines, the verdict last."""
    environment = plan.environment
    yield f"{environment.prefix}   account {environment.account_id}, {environment.region}"
    yield f"live         {plan.live or 'nothing yet'}" + (
        f"  ->  {plan.release}" if plan.moves_live else ", and stays so"
    )
    if len(plan.weights) > 1:
        shares = (f"version {version_number(arn)} {share} %" for arn, share in plan.weights.items())
        yield f"             now shared: {', '.join(shares)}"
    yield from (f"note         {note}" for note in plan.notes)

    yield from ("", "stacks")
    for stack in plan.stacks:
        yield from (f"  {line}" for line in lines(stack))
    if plan.artifacts:
        yield from ("", "artifacts")
        yield from (f"  {change.line()}" for change in plan.artifacts)
    if plan.configuration:
        yield from ("", f"configuration of {environment.name}")
        for difference in plan.configuration:
            old, new = difference.shown()
            yield f"  {difference.path}   {old} -> {new}"
    for path, found in plan.texts.items():
        yield from ("", path)
        yield from (f"  {line}" for line in found)

    yield ""
    if counts := plan.counts():
        changes = ", ".join(counts)
        yield f"plan: a deploy of {plan.release} would change {changes} in {environment.name}"
    else:
        yield f"plan: no changes: {plan.release} is live in {environment.name}"


@command
def main() -> int:
    """Print the page; return 0 for no changes, 2 for changes, 1 for errors."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.plan", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--stacks", type=Path, required=True, help="a folder with a file a stack")
    parser.add_argument("root", type=Path, help="the release's folder")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    with tempfile.TemporaryDirectory() as folder:
        try:
            plan = make(environment, arguments.root, read_stacks(arguments.stacks), Path(folder))
        except ManifestError as error:
            raise OperationError(str(error)) from error
    print("\n".join(page(plan)))
    return CHANGES if plan.counts() else 0


if __name__ == "__main__":
    sys.exit(main())
