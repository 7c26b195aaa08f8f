"""A service of AWS's JSON protocol, served from botocore's own description of it.

Requests are checked against the model (required members, types, ranges, patterns, allowed values)
before an operation sees them, and answers go out as the model has them.
"""

import asyncio
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator
from ministack.core import iam_evaluator, responses, router


class ServiceError(Exception):
    """An error that the service answers with: its code, its message and further members."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any):
        super().__init__(message)
        self.code = code
        self.status = status
        self.members = members


@dataclass(frozen=True)
class Request:
    """One call: its parameters and who makes it where.

    caller: the ARN of a user, an assumed role or the account's root.
    """

    operation: str
    parameters: dict[str, Any]
    account: str
    region: str
    caller: str
    access_key: str

    def principal(self) -> iam_evaluator.PrincipalInfo | None:
        """Return the caller's principal with its condition keys; None for the server itself."""
        if not self.access_key:
            return None
        found = iam_evaluator.resolve_principal(self.access_key, self.account)
        return None if isinstance(found, iam_evaluator.AuthError) else found


Operation = Callable[[Request], Mapping[str, Any]]


def handler(service: str, operations: Mapping[str, Operation]) -> Callable:
    """Return ministack's handler of a service; operations run in threads and may block.

    Raises ValueError for an operation that the service does not have.
    """
    model = _model(service)
    unknown = set(operations) - set(model.operation_names)
    if unknown:
        raise ValueError(f"{service} has no operation {', '.join(sorted(unknown))}")

    async def handle(_method: str, _path: str, headers: dict, body: bytes, query: dict) -> tuple:
        return await asyncio.to_thread(_answer, model, operations, headers, body, query)

    return handle


@functools.cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def _answer(
    model: ServiceModel, operations: Mapping, headers: dict, body: bytes, query: dict
) -> tuple:
    name = headers.get("x-amz-target", "").rpartition(".")[2]
    try:
        if name not in model.operation_names:
            raise ServiceError("UnknownOperationException", f"Unknown operation {name}")
        if name not in operations:
            raise ServiceError(
                "UnknownOperationException", f"{name} is not there in local AWS", status=501
            )
        parameters = json.loads(body or b"{}")
        _validate(parameters, model.operation_model(name).input_shape)
        result = operations[name](
            Request(
                operation=name,
                parameters=parameters,
                account=responses.get_account_id(),
                region=responses.get_region(),
                caller=iam_evaluator.caller_arn(),
                access_key=router.extract_access_key_id(headers, query) or "",
            )
        )
    except json.JSONDecodeError as error:
        return _error("SerializationException", f"the request is not JSON: {error}", 400, {})
    except ServiceError as error:
        # The message is Message in one service and message in another; SDKs look for either.
        members = {**error.members, "Message": str(error)}
        return _error(error.code, str(error), error.status, members)
    text = json.dumps(result, default=_default, ensure_ascii=False)
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, text.encode()


def _error(code: str, message: str, status: int, members: Mapping[str, Any]) -> tuple:
    return responses.error_response_json(
        code, message, status, extra=dict(members), content_type="application/x-amz-json-1.1"
    )


def _default(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} cannot be answered as JSON")


def _validate(parameters: dict, shape: Shape) -> None:
    """Raise ValidationException for what AWS refuses by the model alone."""
    faults = [*_faults(parameters, shape, "")]
    if not faults:
        report = ParamValidator().validate(parameters, shape)
        faults = [report.generate_report()] if report.has_errors() else []
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected: "
        raise ServiceError("ValidationException", count + "; ".join(faults))


def _faults(value: Any, shape: Shape, path: str):
    if isinstance(value, dict) and shape.type_name == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                where = _member(path, name)
                yield _fault("null", where, "Member must not be null")
        for name, member in value.items():
            if name in shape.members and member is not None:
                yield from _faults(member, shape.members[name], _member(path, name))
    elif isinstance(value, list) and shape.type_name == "list":
        yield from _length_faults(value, shape, path)
        for position, member in enumerate(value, 1):
            yield from _faults(member, shape.member, f"{path}.{position}.member")
    elif isinstance(value, str) and shape.type_name == "string":
        yield from _length_faults(value, shape, path)
        pattern, allowed = shape.metadata.get("pattern"), shape.enum
        if pattern and not re.fullmatch(pattern.removeprefix("^").removesuffix("$"), value):
            rule = f"Member must satisfy regular expression pattern: {pattern}"
            yield _fault(value, path, rule)
        if allowed and value not in allowed:
            yield _fault(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from _range_faults(value, shape, path)


def _range_faults(value: int, shape: Shape, path: str):
    if value > shape.metadata.get("max", value):
        rule = f"Member must have value less than or equal to {shape.metadata['max']}"
        yield _fault(value, path, rule)
    if value < shape.metadata.get("min", value):
        rule = f"Member must have value greater than or equal to {shape.metadata['min']}"
        yield _fault(value, path, rule)


def _length_faults(value: str | list, shape: Shape, path: str):
    if len(value) > shape.metadata.get("max", len(value)):
        rule = f"Member must have length less than or equal to {shape.metadata['max']}"
        yield _fault(value, path, rule)
    if len(value) < shape.metadata.get("min", 0):
        rule = f"Member must have length greater than or equal to {shape.metadata['min']}"
        yield _fault(value, path, rule)


def _fault(value: Any, path: str, rule: str) -> str:
    shown = value if value == "null" else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {rule}"


def _member(path: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name
