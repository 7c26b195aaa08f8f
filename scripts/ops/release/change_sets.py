"""What CloudFormation would change in a stack, as its change set says it."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ops.differences import NOTHING, Difference, differences
from ops.environment import OperationError

_MARKS = {"Add": "+", "Remove": "-"}  # whatever else happens to a resource is a change: ~


@dataclass(frozen=True)
class StackPlan:
    """A stack, its status before (empty: there is none) and its described change set, if any."""

    name: str
    status: str
    type: str  # CREATE or UPDATE
    change_set: dict[str, Any] | None

    @property
    def is_new(self) -> bool:
        """Whether a deploy would create it."""
        return self.type == "CREATE"

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The changes, one a resource."""
        found = self.change_set["Changes"] if self.change_set else []
        return [change["ResourceChange"] for change in found if "ResourceChange" in change]

    @property
    def is_unchanged(self) -> bool:
        """Whether a deploy would leave the stack as it is."""
        reason = self._failure
        return "didn't contain changes" in reason or "No updates are to be performed" in reason

    @property
    def waits_for(self) -> str:
        """Why the changes are not known yet: an export of a stack that is itself not there yet."""
        return self._failure if "No export named" in self._failure else ""

    @property
    def _failure(self) -> str:
        if self.change_set is None or self.change_set["Status"] != "FAILED":
            return ""
        return self.change_set.get("StatusReason", "")

    def check(self) -> None:
        """Raise OperationError where the change set failed for a reason that a deploy would too."""
        if self._failure and not (self.is_unchanged or self.waits_for):
            raise OperationError(f"{self.name}: the change set cannot be made: {self._failure}")


def lines(plan: StackPlan) -> Iterator[str]:
    """Yield the lines of one stack."""
    name = f"{plan.name:<12}"
    if plan.is_unchanged:
        yield f"{name} no changes"
        return
    if plan.is_new:
        types = Counter(change["ResourceType"] for change in plan.changes)
        yield f"{name} new" + (f", {types.total()} resources" if types else "")
        if plan.status not in ("", "REVIEW_IN_PROGRESS"):
            yield f"    it is {plan.status}: what its failed creation left is deleted first"
        for type_, count in sorted(types.items()):
            yield f"    + {count:>2} {type_}"
    else:
        yield f"{name} " + (f"{len(plan.changes)} resources" if plan.changes else "changes")
        for change in plan.changes:
            yield from _change_lines(change)
    if plan.waits_for:
        yield f"    known once the stacks before it are there: {plan.waits_for}"


def _change_lines(change: dict[str, Any]) -> Iterator[str]:
    action = change["Action"]
    replaced = {"True": "  REPLACED", "Conditional": "  perhaps REPLACED"}
    yield (
        f"    {_MARKS.get(action, '~')} {change['LogicalResourceId']}  {change['ResourceType']}"
        f"{replaced.get(change.get('Replacement', ''), '')}"
    )
    if action == "Modify":
        found = list(property_changes(change))
        for difference in found:
            old, new = difference.shown()
            yield f"        {difference.path}   {old} -> {new}"
        told = {difference.path.split(".")[0].split("[")[0] for difference in found}
        for name in sorted(_changed_names(change) - told):
            yield f"        {name}   changes with what it refers to"


def property_changes(change: dict[str, Any]) -> Iterator[Difference]:
    """Yield what differs between the properties before and after, where the change set has both."""
    before, after = (
        json.loads(change[context]).get("Properties", {}) if change.get(context) else NOTHING
        for context in ("BeforeContext", "AfterContext")
    )
    if NOTHING not in (before, after):
        yield from differences(before, after)


def _changed_names(change: dict[str, Any]) -> set[str]:
    """Return the properties (or Tags and the like) that the change set names."""
    targets = (detail["Target"] for detail in change.get("Details", []))
    return {target.get("Name") or target["Attribute"] for target in targets}
