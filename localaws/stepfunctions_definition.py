"""What AWS refuses when a state machine is created or updated.

statelint knows the language: fields, transitions, reachability, what JSONata and JSONPath have.
Which integrations there are, and which parameters they take, is asked of the API models.
"""

import json
from collections.abc import Iterator

from botocore.model import StructureShape
from statelint.config import Config
from statelint.linter import Linter

from localaws.stepfunctions_tasks import UnknownResource, integration, service_model

_MAX_BYTES = 1024 * 1024


def problems(definition: str) -> list[str]:
    """Return what is wrong with a definition (JSON text), each with its place; empty if nothing."""
    if len(definition.encode()) > _MAX_BYTES:
        return [f"The definition has more than {_MAX_BYTES} bytes"]
    try:
        machine = json.loads(definition)
    except ValueError as error:
        return [f"INVALID_JSON_DESCRIPTION: {error}"]
    if not isinstance(machine, dict):
        return ["INVALID_JSON_DESCRIPTION: the definition is not an object"]
    # A Resource that is no URI is found below, with more to say.
    faults = Linter.validate(machine, Config("URI"))
    if faults:
        return [f"SCHEMA_VALIDATION_FAILED: {fault}" for fault in faults]
    return [
        f"SCHEMA_VALIDATION_FAILED: {fault} at {path}"
        for path, state in _states(machine, "")
        for fault in _state_problems(state)
    ]


def _states(machine: dict, path: str) -> Iterator[tuple[str, dict]]:
    for name, state in machine["States"].items():
        place = f"{path}/States/{name}"
        yield place, state
        for index, branch in enumerate(state.get("Branches", [])):
            yield from _states(branch, f"{place}/Branches[{index}]")
        for field in ("ItemProcessor", "Iterator"):
            if field in state:
                yield from _states(state[field], f"{place}/{field}")


def _state_problems(state: dict) -> Iterator[str]:
    processor = state.get("ItemProcessor") or {}
    if (processor.get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED":
        yield "local AWS has no distributed Map"
    if state["Type"] != "Task":
        return
    try:
        called = integration(state["Resource"])
    except UnknownResource as error:
        yield str(error)
        return
    arguments = state.get("Arguments", state.get("Parameters"))
    if not isinstance(arguments, dict) or ":function:" in state["Resource"]:
        return
    shape = service_model(called.service).operation_model(called.operation).input_shape
    yield from _argument_problems(arguments, shape)


def _argument_problems(arguments: dict, shape: StructureShape) -> Iterator[str]:
    # JSONPath marks a parameter whose value is a path with ".$".
    given = {name.removesuffix(".$").lower(): name for name in arguments}
    known = {name.lower() for name in shape.members}
    for lowered, name in given.items():
        if lowered not in known:
            yield f'The field "{name}" is not supported by Step Functions'
    missing = [name for name in shape.required_members if name.lower() not in given]
    if missing:
        yield f"The following required parameters are missing: {missing}"
