"""Stacks: what is in one, and what parameters and tags a release's configuration gives it."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from ops.environment import Environment, OperationError, command

FUNCTION = "AWS::Lambda::Function"
LOG_GROUP = "AWS::Logs::LogGroup"


class _TemplateLoader(yaml.CSafeLoader):  # pylint: disable=too-many-ancestors
    """Reads a template's structure; what !Ref, !Sub and the like give is of no interest here."""


_TemplateLoader.add_multi_constructor("!", lambda loader, tag, node: None)


def stack_resources(environment: Environment, stack: str, kind: str) -> dict[str, str]:
    """Return the names of a stack's resources of one type by their logical ids, also of those
    deleted by hand."""
    pages = environment.client("cloudformation").get_paginator("list_stack_resources")
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=environment.stack(stack))
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == kind
    }


def declared_parameters(template: Path) -> dict[str, Any]:
    """Return the Parameters section of a template."""
    with template.open(encoding="utf-8") as stream:
        return yaml.load(stream, Loader=_TemplateLoader).get("Parameters", {})  # a SafeLoader


def stack_request(
    config: dict[str, Any], template: Path, stack: str, release: str
) -> dict[str, Any]:
    """Return the parameters and tags of a stack as CloudFormation's API takes them.

    Raises OperationError for a configured parameter that the template does not declare, and for a
    declared one that has neither a configured value nor a default.
    """
    declared = declared_parameters(template)
    names = {
        "ProjectName": config["project"],
        "EnvironmentName": config["environment"],
        "ReleaseVersion": release,
    }
    configured = config["parameters"][stack]
    values = {name: value for name, value in names.items() if name in declared} | configured
    faults = [
        f"parameters.{stack}.{name}: {template.name} declares no such parameter"
        for name in configured
        if name not in declared
    ] + [
        f"parameters.{stack}.{name}: {template.name} needs a value and none is configured"
        for name, parameter in declared.items()
        if name not in values and "Default" not in parameter
    ]
    if faults:
        raise OperationError("\n".join(faults))
    return {
        "Parameters": [
            {"ParameterKey": name, "ParameterValue": str(value)} for name, value in values.items()
        ],
        "Tags": [{"Key": key, "Value": value} for key, value in config["tags"].items()],
    }


@command
def main() -> int:
    """Print a stack's parameters and tags for `aws cloudformation --cli-input-json`."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.stacks", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="a release's config/<env>.json")
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--release", required=True)
    arguments = parser.parse_args()
    config = json.loads(arguments.config.read_text(encoding="utf-8"))
    request = stack_request(config, arguments.template, arguments.stack, arguments.release)
    print(json.dumps(request, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
