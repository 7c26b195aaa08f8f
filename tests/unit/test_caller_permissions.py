"""Whoever deploys is asked for what CloudFormation will do in their name, for every kind of
resource."""

import json
from pathlib import Path

import cfnlint
import pytest
from ops.checks.iam_check import TEMPLATES, load_template
from ops.environment import Environment
from ops.release.caller_permissions import needs, needs_of

# AWS's own list of what CloudFormation calls for each type, which cfn-lint brings along.
SCHEMAS = Path(cfnlint.__file__).parent / "data/schemas/resources"
TYPES = sorted(
    {
        resource["Type"]
        for template in TEMPLATES.glob("*.yaml")
        for resource in load_template(template)["Resources"].values()
    }
)
# Where actions are not called as the type's service is.
PREFIXES = {"RedshiftServerless": "redshift-serverless", "StepFunctions": "states"}


@pytest.fixture(name="creates", scope="module")
def fixture_creates() -> dict[str, set[str]]:
    """What CloudFormation calls to make a resource, a type each."""
    schemas = (json.loads(file.read_text(encoding="utf-8")) for file in SCHEMAS.glob("*.json"))
    return {
        schema["typeName"]: set(schema["handlers"]["create"]["permissions"])
        for schema in schemas
        if schema["typeName"] in TYPES
    }


@pytest.mark.parametrize("type_", TYPES)
def test_each_type_of_the_templates_is_asked_for(type_, creates):
    demanded = {action for need in needs(Environment.load("dev")) for action in need.actions}
    service = type_.split("::")[1]
    prefix = PREFIXES.get(service, service.lower())
    making = {action for action in creates[type_] if action.startswith(f"{prefix}:")}
    assert making and demanded & making, f"none of {sorted(making)}"


def test_a_rollback_is_asked_for_no_more_than_it_does():
    asked = [
        (action, need.resource)
        for need in needs_of(Environment.load("dev"), "rollback")
        for action in need.actions
    ]
    written = {resource for action, resource in asked if action == "s3:PutObject"}
    assert {resource.rpartition("111111111111/")[2] for resource in written} == {
        "deploys/x",
        "locks/x",
        "data/smoke/x",
    }
    called = {resource for action, resource in asked if action == "lambda:UpdateAlias"}
    assert [resource.rpartition(":")[2] for resource in called] == [
        "retail-pipeline-dev-trigger-etl"
    ]
