"""Change sets as on AWS: with property values, without what a condition leaves out, or failed.

ministack lists resources whose condition does not hold, and takes an import that nobody exports.
"""

# pylint: disable=protected-access
import json
from xml.sax.saxutils import escape

from ministack.services.cloudformation import (
    _ACTION_HANDLERS,
    _exports,
    changesets,
    engine,
    handlers,
)

from localaws import hooks

_CONTEXTS = ("BeforeContext", "AfterContext")


def register() -> None:
    """Hook into the making and the describing of change sets."""
    for module, name, wrapper in (
        (changesets, "_resolve_props_for_diff", _leaving_out),
        (changesets, "_diff_resources", _with_contexts),
        (_ACTION_HANDLERS, "CreateChangeSet", _failing_without_exports),
        (_ACTION_HANDLERS, "DescribeChangeSet", _telling_contexts),
    ):
        hooks.replace(module, name, wrapper(hooks.original(module, name)))


def _leaving_out(resolve):
    def resolve_props_for_diff(template: dict, params: dict, *stack) -> dict:
        resolved = resolve(template, params, *stack)
        conditions = engine._evaluate_conditions(template, params) if template else {}
        return {
            section: {
                logical_id: resource
                for logical_id, resource in resources.items()
                if conditions.get(resource.get("Condition"), True)
            }
            for section, resources in resolved.items()
        }

    return resolve_props_for_diff


def _failing_without_exports(create):
    def create_change_set(params: dict) -> tuple:
        answer = create(params)
        if answer[0] == 200:
            _, change_set = changesets._find_change_set(*_names(params))
            _fail_without_exports(change_set)
        return answer

    return create_change_set


def _fail_without_exports(change_set: dict) -> None:
    template, params = change_set["_template"], change_set["_resolved_params"]
    stack = {
        "_template": template,
        "_resolved_params": params,
        "_conditions": engine._evaluate_conditions(template, params),
        "StackId": change_set["StackId"],
    }
    imports = handlers._imported_export_names(stack, change_set["StackName"])
    for name in sorted(imports):
        if name not in _exports:
            change_set.update(
                Status="FAILED",
                ExecutionStatus="UNAVAILABLE",
                StatusReason=f"No export named {name} found.",
                Changes=[],
            )
            return


def _names(params: dict) -> tuple[str, str]:
    return changesets._p(params, "ChangeSetName"), changesets._p(params, "StackName")


def _with_contexts(diff):
    """Keep the properties before and after with each change."""

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
    """Give the properties to whoever asks for them (IncludePropertyValues)."""

    def describe_change_set(params: dict) -> tuple:
        status, headers, body = describe(params)
        wanted = changesets._p(params, "IncludePropertyValues", "false").lower() == "true"
        if status != 200 or not wanted:
            return status, headers, body
        _, change_set = changesets._find_change_set(*_names(params))
        return status, headers, _insert(body, change_set["Changes"])

    return describe_change_set


def _insert(body: bytes | str, changes: list[dict]) -> bytes:
    """Add the contexts to the answer, whose changes are in the order of the change set's."""
    text = body.decode() if isinstance(body, bytes) else body
    *parts, last = text.split("</ResourceChange>")
    for index, change in enumerate(changes):
        parts[index] += "".join(
            f"<{name}>{escape(change['ResourceChange'][name])}</{name}>"
            for name in _CONTEXTS
            if name in change["ResourceChange"]
        )
    return "</ResourceChange>".join([*parts, last]).encode()
