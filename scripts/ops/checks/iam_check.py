"""Policy checks of the templates: actions and resources are named, a role serves one principal."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from policy_sentry.querying.actions import get_action_data

TEMPLATES = Path(__file__).resolve().parents[3] / "cloudformation"

Template = dict[str, Any]


class _Loader(yaml.CSafeLoader):  # pylint: disable=too-many-ancestors
    """Reads CloudFormation's short intrinsic functions as their long forms."""


def _intrinsic(loader: yaml.CSafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    long_name = name if name in ("Ref", "Condition") else f"Fn::{name}"
    if isinstance(node, yaml.ScalarNode):
        return {long_name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {long_name: loader.construct_sequence(node, deep=True)}
    return {long_name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _intrinsic)


def load_template(path: Path) -> Template:
    """Return a template as a dictionary, intrinsic functions in their long forms."""
    with path.open(encoding="utf-8") as stream:
        return yaml.load(stream, _Loader)  # a SafeLoader


def policy_findings(templates: dict[str, Template]) -> list[str]:
    """Return what is wrong with the templates' policies and roles, one sentence a finding."""
    findings = []
    for name, template in templates.items():
        for place, statement in _statements(template):
            if statement["Effect"] == "Allow":
                findings += [f"{name}: {place}: {fault}" for fault in _faults(statement, place)]
    for role, users in sorted(_role_users(templates).items()):
        if users != 1:
            findings.append(f"{role} is used by {users} principals: one role serves exactly one")
    return findings


def _faults(statement: dict[str, Any], place: str) -> Iterator[str]:
    """Yield the faults of an Allow statement."""
    for key in {"NotAction", "NotResource", "NotPrincipal"} & statement.keys():
        yield f"{key} allows whatever is not named: name what is allowed"
    resources = _list(statement.get("Resource", []))
    for action in _list(statement["Action"]):
        if "*" in action or "?" in action:
            yield f"the action {action} is a wildcard: name each action"
            continue
        resource_types = _resource_types(action)
        if resource_types is None:
            yield f"AWS knows no action {action}"
        elif resource_types and "*" in resources and ".KeyPolicy" not in place:
            yield f"{action} on every resource: name one of {', '.join(sorted(resource_types))}"
    principals = statement.get("Principal")
    if principals == "*" or "*" in _list((principals or {}).get("AWS", [])):
        yield "every principal is allowed: name the service or role"


def _resource_types(action: str) -> set[str] | None:
    """Return the ARN forms that an action's resources take, empty if none; None if unknown."""
    service, _, name = action.partition(":")
    data = get_action_data(service, name)
    if not data:
        return None
    return {entry["resource_arn_format"] for entry in data[service]} - {"*"}


def _statements(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every policy statement of a template with its place."""

    def walk(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(value, dict):
            if "Statement" in value:
                for index, statement in enumerate(value["Statement"]):
                    # The trust policy of a role is about who, never about what.
                    if not place.endswith("AssumeRolePolicyDocument"):
                        yield f"{place}.{statement.get('Sid', index)}", statement
            for key, item in value.items():
                yield from walk(item, f"{place}.{key}")
        elif isinstance(value, list):
            for item in value:
                yield from walk(item, place)

    for logical_id, resource in template["Resources"].items():
        yield from walk(resource.get("Properties", {}), logical_id)


def _role_users(templates: dict[str, Template]) -> Counter:
    """Count the resources that run under each role."""
    users: Counter = Counter()
    for name, template in templates.items():
        for logical_id, resource in template["Resources"].items():
            if resource["Type"] == "AWS::IAM::Role":
                users[f"{name}: {logical_id}"] += 0
                continue
            used = {
                reference.split(".")[0]
                for reference in _attributes(resource.get("Properties", {}))
                if reference.endswith("Role.Arn")
            }
            users.update(f"{name}: {role}" for role in used)
    return users


def _attributes(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("Fn::GetAtt"), str):
            yield value["Fn::GetAtt"]
        for item in value.values():
            yield from _attributes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _attributes(item)


def _list(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def main() -> int:
    """Check the templates; print each finding on stderr, exit 1 if there is any."""
    parser = argparse.ArgumentParser(prog="python -m ops.checks.iam_check", description=__doc__)
    parser.add_argument("templates", nargs="*", type=Path, help="default: cloudformation/*.yaml")
    paths = parser.parse_args().templates or sorted(TEMPLATES.glob("*.yaml"))
    if not paths:
        parser.error(f"there is no template in {TEMPLATES}")
    findings = policy_findings({path.name: load_template(path) for path in paths})
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
