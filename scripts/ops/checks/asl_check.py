"""Checks state machine definitions: statelint for the language, and our own rules for what it
calls.

Our rules need no account. Each task's service, action and arguments are looked up in botocore's
models, which statelint does not know; every state says what it is for; every task is bounded,
retried and caught.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from jsonata import Jsonata
from jsonata.jexception import JException
from statelint.linter import Linter

DEFINITIONS = Path(__file__).resolve().parents[3] / "step-functions"
RESOURCE = re.compile(
    r"arn:aws:states:::(aws-sdk:)?([a-z0-9]+):([A-Za-z0-9]+)((?:\.[A-Za-z:0-9]+)?)"
)
# The optimized integrations in use, and the patterns that each has: request-response, wait for the
# job, callback.
OPTIMIZED = {
    ("glue", "startJobRun"): {"", ".sync"},
    ("lambda", "invoke"): {"", ".waitForTaskToken"},
    ("sns", "publish"): {"", ".waitForTaskToken"},
}
# Service errors of Step Functions that no botocore model has: those of its own SDK.
SDK_ERRORS = {
    "AWSGlueException",
    "AWSLambdaException",
    "ClientExecutionTimeoutException",
    "SdkClientException",
}
EXPRESSION = re.compile(r"\{%(.*)%\}", re.DOTALL)
SERVICE_ERROR = re.compile(r"([A-Z][A-Za-z0-9]*)\.([A-Za-z]+)")
OUTSIDE_SERVICES = {"States", "Sandbox"}
# What a literal of each of botocore's types may be. Step Functions writes an object as the JSON of
# a blob.
LITERALS: dict[str, tuple[type, ...]] = {
    "blob": (str, dict),
    "boolean": (bool,),
    "double": (int, float),
    "float": (int, float),
    "integer": (int,),
    "list": (),
    "long": (int,),
    "map": (),
    "string": (str,),
    "structure": (),
    "timestamp": (str,),
}

State = Mapping[str, Any]


def check_definition(definition: Mapping[str, Any]) -> list[str]:
    """Returns a line for each finding in one definition: the state, what is wrong, what was
    expected."""
    return [
        *Linter.validate(dict(definition)),
        *_check_states(definition, "", False),
        *_check_expressions(definition, ""),
    ]


def _check_expressions(value: Any, place: str) -> Iterator[str]:
    """Yields the JSONata expressions, however deep, that cannot be parsed."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from _check_expressions(member, f"{place}/{name}")
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _check_expressions(member, f"{place}/{index}")
    elif isinstance(value, str) and (match := EXPRESSION.fullmatch(value)):
        try:
            Jsonata(match[1])
        except JException as error:
            yield f"{place}: {error} in {value}"


def _check_states(machine: Mapping[str, Any], path: str, is_caught: bool) -> Iterator[str]:
    """Yields the findings of a machine, or of the inner one of a Map or Parallel whose errors may
    be caught."""
    states = machine["States"]
    for name, state in states.items():
        place = f"{path}{name}"
        for finding in _check_state(state, is_caught):
            yield f"{place}: {finding}"
        for target in _targets(state):
            if target not in states:
                yield f"{place}: goes to '{target}', expected one of {', '.join(states)}"
        inner_caught = is_caught or _catches_all(state)
        for inner in [state.get("ItemProcessor"), *state.get("Branches", [])]:
            if inner:
                yield from _check_states(inner, f"{place}/", inner_caught)
    if machine["StartAt"] not in states:
        yield f"{path}StartAt: is '{machine['StartAt']}', expected one of {', '.join(states)}"


def _check_state(state: State, is_caught: bool) -> Iterator[str]:
    if "Comment" not in state:
        yield "has no Comment: say what it is for"
    if "Catch" in state and not _catches_all(state):
        yield "its Catch must end with States.ALL alone"
    if state["Type"] != "Task":
        return
    for field in ("TimeoutSeconds", "Retry"):
        if field not in state:
            yield f"has no {field}"
    if "Catch" not in state and not is_caught:
        yield "has no Catch, nor has a Map or Parallel around it"
    yield from _check_integration(state)


def _catches_all(state: State) -> bool:
    catchers = state.get("Catch", [])
    return bool(catchers) and catchers[-1]["ErrorEquals"] == ["States.ALL"]


def _targets(state: State) -> Iterator[str]:
    for rule in [state, *state.get("Catch", []), *state.get("Choices", [])]:
        if "Next" in rule:
            yield rule["Next"]
    if "Default" in state:
        yield state["Default"]


def _check_integration(state: State) -> Iterator[str]:
    match = RESOURCE.fullmatch(state["Resource"])
    if match is None:
        yield f"Resource {state['Resource']} is not an integration of arn:aws:states:::"
        return
    sdk, service_name, action, pattern = match.groups()
    allowed = {""} if sdk else OPTIMIZED.get((service_name, action))
    if allowed is None:
        yield f"{service_name}:{action} is not in OPTIMIZED of asl_check: add it with its patterns"
        return
    if pattern not in allowed:
        yield f"{service_name}:{action} has no pattern '{pattern}'"
    service = _service(service_name)
    operation = _operation(service, action) if service else None
    if service is None or operation is None:
        yield f"{service_name}:{action} is not an action of AWS"
        return
    arguments = state.get("Arguments", {})
    if isinstance(arguments, str):
        yield "Arguments must be an object, so that they can be checked"
    else:
        yield from _check_value(arguments, operation.input_shape, "Arguments")
    yield from _check_errors(state, service)


def _check_errors(state: State, service: ServiceModel) -> Iterator[str]:
    prefix = service.service_id.replace(" ", "")
    known = SDK_ERRORS | {shape.name for shape in service.error_shapes} | {f"{prefix}Exception"}
    # S3's model names errors without the suffix that the SDK of Step Functions gives them.
    known |= {name.removesuffix("Exception") + "Exception" for name in known}
    for rule in [*state.get("Retry", []), *state.get("Catch", [])]:
        for error in rule["ErrorEquals"]:
            parts = SERVICE_ERROR.fullmatch(error)
            if parts is None or parts[1] in OUTSIDE_SERVICES:
                continue
            if parts[1] != prefix or parts[2] not in known:
                yield f"{error} is not an error of {prefix}"


@cache
def _service(name: str) -> ServiceModel | None:
    """Returns the model of a service by the name that Step Functions gives it: its id without
    spaces."""
    # Not a session: that would want the profile of AWS_PROFILE to exist.
    loader = Loader()
    for candidate in loader.list_available_services("service-2"):
        if name in (candidate.replace("-", ""), {"stepfunctions": "sfn"}.get(candidate)):
            return ServiceModel(loader.load_service_model(candidate, "service-2"), candidate)
    return None


def _operation(service: ServiceModel, action: str) -> OperationModel | None:
    """Returns the model of an action; None for an unknown one, or one not in camelCase."""
    name = action[0].upper() + action[1:]
    if action[0].isupper() or name not in service.operation_names:
        return None
    return service.operation_model(name)


def _check_value(value: Any, shape: Shape, place: str) -> Iterator[str]:
    """Yields what is wrong in a literal value; a JSONata expression may become any value."""
    if isinstance(value, str) and EXPRESSION.fullmatch(value):
        return
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        for missing in [name for name in shape.required_members if name not in value]:
            yield f"{place} has no {missing}, which is required"
        for name, member in value.items():
            if name in shape.members:
                yield from _check_value(member, shape.members[name], f"{place}.{name}")
            else:
                yield f"{place} has {name}, expected one of {', '.join(shape.members)}"
    elif kind == "map" and isinstance(value, dict):
        for name, member in value.items():
            yield from _check_value(member, shape.value, f"{place}.{name}")
    elif kind == "list" and isinstance(value, list):
        for index, member in enumerate(value):
            yield from _check_value(member, shape.member, f"{place}[{index}]")
    elif not isinstance(value, LITERALS[kind]) or isinstance(value, bool) is not (
        kind == "boolean"
    ):
        yield f"{place} is {value!r}, expected a {kind}"


def main(arguments: list[str] | None = None) -> int:
    """Prints the findings of each definition; returns 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m ops.checks.asl_check", description=__doc__)
    parser.add_argument(
        "definitions", nargs="*", type=Path, help="default: step-functions/*.asl.json"
    )
    paths = parser.parse_args(arguments).definitions or sorted(DEFINITIONS.glob("*.asl.json"))
    failed = False
    for path in paths:
        try:
            findings = check_definition(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            findings = [str(error)]
        for finding in findings:
            print(f"{path}: {finding}")
        failed = failed or bool(findings)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
