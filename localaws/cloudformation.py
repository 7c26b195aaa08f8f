"""CloudFormation without false greens: what a template says is refused or done, never dropped."""

# pylint: disable=protected-access
from collections.abc import Iterator

from ministack.services.cloudformation import changesets, engine, handlers

from localaws import (
    cloudformation_change_sets,
    cloudformation_drift,
    cloudformation_resources,
    hooks,
)
from localaws.cloudformation_properties import SIMULATED, unsupported

_PSEUDO_PARAMETERS = {
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
}


# What ministack evaluates in a condition; it takes any other function for false.
_CONDITION_FUNCTIONS = {
    "Ref",
    "Condition",
    "Fn::And",
    "Fn::Equals",
    "Fn::Not",
    "Fn::Or",
    "Fn::Select",
}


def register() -> None:
    """Check every template before anything is created, and provision what ministack leaves out."""
    check = hooks.original(engine, "validate_template_support")

    def check_template(template: dict, conditions: dict, params: dict | None = None) -> None:
        check(template, conditions, params=params)
        problems = [*_unsimulated(template), *_dangling(template)]
        if problems:
            raise ValueError("Template error: " + "; ".join(problems))
        engine._topological_sort(template["Resources"], conditions)  # refuses circles

    for module in (engine, handlers, changesets):
        hooks.replace(module, "validate_template_support", check_template)
    cloudformation_resources.register()
    cloudformation_change_sets.register()
    cloudformation_drift.register()


def _unsimulated(template: dict) -> Iterator[str]:
    """Name each type and property that would be accepted here without any effect."""
    for logical_id, resource in template.get("Resources", {}).items():
        type_ = resource["Type"]
        if type_ not in SIMULATED:
            yield f"resource {logical_id}: localaws does not simulate the type {type_}"
            continue
        for path in unsupported(type_, resource.get("Properties", {})):
            yield f"resource {logical_id}: localaws does not simulate {type_}.{path}"
    for name, expression in template.get("Conditions", {}).items():
        for function in sorted(set(_keys(expression)) - _CONDITION_FUNCTIONS):
            yield f"condition {name}: localaws does not simulate {function}"


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _keys(item)


def _dangling(template: dict) -> Iterator[str]:
    """Name each reference to something that the template does not have."""
    resources = template.get("Resources", {})
    names = {*resources, *template.get("Parameters", {}), *_PSEUDO_PARAMETERS}
    for section in ("Resources", "Outputs"):
        for owner, definition in template.get(section, {}).items():
            for name, attribute in engine._intrinsic_references(definition):
                if name not in (resources if attribute else names):
                    yield (
                        f"Unresolved resource dependencies [{name}] in the {section} block "
                        f"of the template ({owner})"
                    )
            depends = definition.get("DependsOn", [])
            for name in [depends] if isinstance(depends, str) else depends:
                if name not in resources:
                    yield f"Unresolved resource dependencies [{name}] in DependsOn of {owner}"
    for owner, condition in _used_conditions(template):
        if condition not in template.get("Conditions", {}):
            yield f"Unresolved condition dependency {condition} ({owner})"


def _used_conditions(template: dict) -> Iterator[tuple[str, str]]:
    def walk(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("Fn::If"), list):
                yield value["Fn::If"][0]
            for item in value.values():
                yield from walk(item)
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)

    for section in ("Resources", "Outputs"):
        for owner, definition in template.get(section, {}).items():
            if "Condition" in definition:
                yield owner, definition["Condition"]
            yield from ((owner, name) for name in walk(definition))
