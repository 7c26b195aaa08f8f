"""The stacks: their templates and parameters, and their resources as CloudFormation checks them."""

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ops.differences import NOTHING
from ops.drift.baseline import Baseline
from ops.drift.findings import Finding, compare, missing
from ops.environment import STACKS, Environment, OperationError
from ops.release.stacks import declared_parameters, stack_request

POLL_SECONDS = 1
LIMIT_SECONDS = 900  # AWS says "several minutes"

# What a release moves on purpose, outside its stack: ops.drift.aliases and state_machine see to it.
# (type, beginning of the property's path)
MOVED_BY_RELEASES = (
    ("AWS::Lambda::Alias", "/FunctionVersion"),
    ("AWS::StepFunctions::StateMachine", "/Definition"),
)


@dataclass
class Detection:
    """What CloudFormation found in the stacks."""

    drifts: list[dict[str, Any]] = field(default_factory=list)  # one a resource, StackResourceDrift
    unchecked: list[str] = field(default_factory=list)  # resources whose type it cannot check
    failed: list[str] = field(default_factory=list)  # resources that it could not read, and why

    def expected(self, type_: str) -> dict[str, dict[str, Any]]:
        """Return what the templates want of the resources of a type, by physical id."""
        return {
            drift["PhysicalResourceId"]: json.loads(drift["ExpectedProperties"])
            for drift in self.drifts
            if drift["ResourceType"] == type_ and drift.get("ExpectedProperties")
        }

    def findings(self) -> Iterator[Finding]:
        """Yield each resource that is gone and each property that is not the template's."""
        for drift in self.drifts:
            name = (
                f"{drift['StackId'].split('/')[1]}: {drift['LogicalResourceId']} "
                f"({drift['ResourceType']} {drift['PhysicalResourceId']})"
            )
            if drift["StackResourceDriftStatus"] == "DELETED":
                yield missing(name)
            for difference in drift.get("PropertyDifferences", []):
                path = difference["PropertyPath"]
                old, new = difference["ExpectedValue"], difference["ActualValue"]
                if old == new or _is_moved(drift["ResourceType"], path):
                    continue
                kind = difference["DifferenceType"]
                yield Finding(
                    f"{name} {path.strip('/').replace('/', '.')}",
                    NOTHING if kind == "ADD" else old,
                    NOTHING if kind == "REMOVE" else new,
                )


def _is_moved(type_: str, path: str) -> bool:
    return any(type_ == moved and path.startswith(start) for moved, start in MOVED_BY_RELEASES)


def detect(environment: Environment, baseline: Baseline) -> Detection:
    """Let CloudFormation check every resource of the stacks; raise OperationError if it cannot."""
    detection = Detection()
    with ThreadPoolExecutor(len(STACKS)) as pool:
        for found in pool.map(lambda name: _detect(environment, name), baseline.stacks):
            detection.drifts += found.drifts
            detection.unchecked += found.unchecked
            detection.failed += found.failed
    return detection


def _detect(environment: Environment, name: str) -> Detection:
    client, stack = environment.client("cloudformation"), environment.stack(name)
    started = time.monotonic()
    detection_id = client.detect_stack_drift(StackName=stack)["StackDriftDetectionId"]
    while True:
        state = client.describe_stack_drift_detection_status(StackDriftDetectionId=detection_id)
        if state["DetectionStatus"] != "DETECTION_IN_PROGRESS":
            break
        if time.monotonic() - started > LIMIT_SECONDS:
            raise OperationError(f"{stack}: CloudFormation still checks it; run it again later")
        time.sleep(POLL_SECONDS)
    found = Detection()
    request: dict[str, Any] = {"StackName": stack}
    while True:
        answer = client.describe_stack_resource_drifts(**request)
        found.drifts += answer["StackResourceDrifts"]
        if not answer.get("NextToken"):
            break
        request["NextToken"] = answer["NextToken"]
    checked = {drift["LogicalResourceId"] for drift in found.drifts}
    found.failed += [
        f"{stack}: {drift['LogicalResourceId']}: {drift.get('DriftStatusReason', 'no reason')}"
        for drift in found.drifts
        if drift["StackResourceDriftStatus"] == "UNKNOWN"
    ]
    for page in client.get_paginator("list_stack_resources").paginate(StackName=stack):
        found.unchecked += [
            f"{stack}: {item['LogicalResourceId']} ({item['ResourceType']})"
            for item in page["StackResourceSummaries"]
            if item["LogicalResourceId"] not in checked
        ]
    print(f"  {stack}: {len(checked)} resources checked", file=sys.stderr)
    return found


def findings(environment: Environment, baseline: Baseline) -> Iterator[Finding]:
    """Yield each stack that is gone, or has another template, parameter or tag than its release."""
    root = baseline.stack_root
    for name in STACKS:
        stack = environment.stack(name)
        if name not in baseline.stacks:
            yield missing(f"stack {stack}")
            continue
        if root is None:
            continue
        path = root / f"cloudformation/{name}.yaml"
        found = baseline.stacks[name]
        config = json.loads((root / f"config/{environment.name}.json").read_text(encoding="utf-8"))
        request = stack_request(config, path, name, baseline.stack_release)
        wanted = {
            key: str(parameter["Default"])
            for key, parameter in declared_parameters(path).items()
            if "Default" in parameter
        } | _pairs(request["Parameters"], "ParameterKey", "ParameterValue")
        actual = _pairs(found.get("Parameters", []), "ParameterKey", "ParameterValue")
        yield from compare(f"stack {stack} parameter", wanted, actual)
        tags = _pairs(request["Tags"], "Key", "Value")
        yield from compare(
            f"stack {stack} tag", tags, _pairs(found.get("Tags", []), "Key", "Value")
        )
        yield from _template(environment, stack, path.read_text(encoding="utf-8"))


def _template(environment: Environment, stack: str, wanted: str) -> Iterator[Finding]:
    body = environment.client("cloudformation").get_template(
        StackName=stack, TemplateStage="Original"
    )["TemplateBody"]
    text = body if isinstance(body, str) else json.dumps(body)
    lines = list(zip(wanted.strip().splitlines(), text.strip().splitlines()))
    if wanted.strip() != text.strip():
        old, new = next((pair for pair in lines if pair[0] != pair[1]), (wanted, text))
        yield Finding(f"stack {stack} template", old.strip(), new.strip())


def _pairs(items: list[dict[str, str]], key: str, value: str) -> dict[str, str]:
    return {item[key]: item[value] for item in items}
