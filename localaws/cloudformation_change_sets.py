"""Change sets say what a resource's properties are before and after (IncludePropertyValues)."""

# pylint: disable=protected-access
import json
from xml.sax.saxutils import escape

from ministack.services.cloudformation import _ACTION_HANDLERS, changesets

from localaws import hooks

_CONTEXTS = ("BeforeContext", "AfterContext")


def register() -> None:
    """Keep both sides of each change with the change set, and give them to those who ask."""
    hooks.replace(
        changesets, "_diff_resources", _with_contexts(hooks.original(changesets, "_diff_resources"))
    )
    hooks.replace(
        _ACTION_HANDLERS,
        "DescribeChangeSet",
        _telling_contexts(hooks.original(_ACTION_HANDLERS, "DescribeChangeSet")),
    )


def _with_contexts(diff):
    def diff_resources(old: dict, new: dict, *arguments) -> list[dict]:
        changes = diff(old, new, *arguments)
        for change in (item["ResourceChange"] for item in changes):
            for context, template in zip(_CONTEXTS, (old, new)):
                resource = template.get("Resources", {}).get(change["LogicalResourceId"])
                if resource is not None:
                    shown = {"Properties": resource.get("Properties", {})}
                    change[context] = json.dumps(shown, default=str)
        return changes

    return diff_resources


def _telling_contexts(describe):
    def describe_change_set(params: dict) -> tuple:
        status, headers, body = describe(params)
        wanted = changesets._p(params, "IncludePropertyValues", "false").lower() == "true"
        if status != 200 or not wanted:
            return status, headers, body
        _, change_set = changesets._find_change_set(
            changesets._p(params, "ChangeSetName"), changesets._p(params, "StackName")
        )
        return status, headers, _insert(body, change_set["Changes"])

    return describe_change_set


def _insert(body: bytes | str, changes: list[dict]) -> bytes:
    """Add the contexts to the answer, whose changes are in the order of the change set's."""
    text = body.decode() if isinstance(body, bytes) else body
    first, *rest = text.split("</ResourceChange>")
    assert len(rest) == len(changes), "an answer has each change once"
    for change, part in zip(changes, rest):
        contexts = (
            f"<{name}>{escape(change['ResourceChange'][name])}</{name}>"
            for name in _CONTEXTS
            if name in change["ResourceChange"]
        )
        first += "".join(contexts) + "</ResourceChange>" + part
    return first.encode()
