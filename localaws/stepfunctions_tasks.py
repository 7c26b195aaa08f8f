"""What a Task's Resource calls: Lambda, Glue, and any API action, as the state machine's role.

Each call goes over HTTP with the role's temporary credentials, so that its policies decide. Names
are Step Functions': parameters and results in the spelling of the AWS SDK for Java 2, errors as
``<Service>.<Exception>``.
"""

import datetime
import functools
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

import botocore.loaders
import botocore.model
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from ministack.services.stepfunctions import _api_name_to_sfn_key, _ExecutionError

from localaws.credentials import RoleError
from localaws.role_clients import role_client

PRINCIPAL = "states.amazonaws.com"
_POLL_SECONDS = 0.25
_GLUE_FINAL = ("SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED")

# Names of the SDK for Java that are not botocore's without its hyphens.
_BOTOCORE_NAMES = {
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "redshiftdata": "redshift-data",
    "redshiftserverless": "redshift-serverless",
    "sfn": "stepfunctions",
}

TaskError = _ExecutionError


@dataclass(frozen=True)
class Integration:
    """An API action that a Resource names.

    ``prefix`` begins its errors' names, ``unknown`` is the name of an error that the service's
    model does not have, ``optimized`` tells ``states:::sns:publish`` from ``states:::aws-sdk:...``.
    """

    service: str
    operation: str
    prefix: str
    unknown: str
    optimized: bool = False
    sync: bool = False


@dataclass(frozen=True)
class Caller:
    """In whose name a task calls, and how it hears that it is no longer wanted."""

    role_arn: str
    session_name: str
    cancelled: threading.Event
    submitted: Callable[[dict], None]


# The integrations with a behaviour of their own that local AWS has: the error prefix of the SDK for
# Java 1 that they use, and its base class, which is what an error outside the model is called.
_OPTIMIZED = {
    "lambda:invoke": ("lambda", "Invoke", "Lambda", "AWSLambdaException"),
    "glue:startJobRun": ("glue", "StartJobRun", "Glue", "AWSGlueException"),
    "glue:startJobRun.sync": ("glue", "StartJobRun", "Glue", "AWSGlueException"),
    "sns:publish": ("sns", "Publish", "SNS", "AmazonSNSException"),
    "sqs:sendMessage": ("sqs", "SendMessage", "SQS", "AmazonSQSException"),
    "events:putEvents": ("events", "PutEvents", "EventBridge", "AmazonEventBridgeException"),
    "dynamodb:getItem": ("dynamodb", "GetItem", "DynamoDB", "AmazonDynamoDBException"),
    "dynamodb:putItem": ("dynamodb", "PutItem", "DynamoDB", "AmazonDynamoDBException"),
    "dynamodb:updateItem": ("dynamodb", "UpdateItem", "DynamoDB", "AmazonDynamoDBException"),
    "dynamodb:deleteItem": ("dynamodb", "DeleteItem", "DynamoDB", "AmazonDynamoDBException"),
}
_loader = botocore.loaders.Loader(include_default_search_paths=True)


class UnknownResource(ValueError):
    """The Resource names nothing that Step Functions, or local AWS, can call."""


@functools.lru_cache(maxsize=64)
def service_model(service: str) -> botocore.model.ServiceModel:
    """Return botocore's model of a service."""
    return botocore.model.ServiceModel(_loader.load_service_model(service, "service-2"), service)


@functools.lru_cache(maxsize=256)
def integration(resource: str) -> Integration:
    """Return what a Task's Resource calls; raise UnknownResource."""
    if re.fullmatch(r"arn:aws:lambda:[\w-]+:\d{12}:function:[\w:$-]+", resource):
        return Integration("lambda", "Invoke", "Lambda", "AWSLambdaException")
    name = resource.removeprefix("arn:aws:states:::")
    if name in _OPTIMIZED and name != resource:
        return Integration(*_OPTIMIZED[name], optimized=True, sync=name.endswith(".sync"))
    match = re.fullmatch(r"arn:aws:states:::aws-sdk:([a-z0-9]+):([A-Za-z0-9]+)", resource)
    if match:
        return _sdk_integration(*match.groups())
    raise UnknownResource(f"The resource provided {resource} is not recognized")


def _sdk_integration(name: str, action: str) -> Integration:
    services = {known.replace("-", ""): known for known in _services()} | _BOTOCORE_NAMES
    if name not in services:
        raise UnknownResource(f"The service {name} of aws-sdk:{name}:{action} is not recognized")
    model = service_model(services[name])
    for operation in list(model.operation_names):
        if operation.lower() == action.lower() and action[0].islower():
            prefix = _java_name(model.service_id)
            return Integration(services[name], operation, prefix, f"{prefix}Exception")
    raise UnknownResource(f"{name} has no action {action} (aws-sdk:{name}:{action})")


@functools.cache
def _services() -> list[str]:
    return _loader.list_available_services("service-2")


def _java_name(service_id: str) -> str:
    """Return a service's name in the SDK for Java 2: Redshift Data -> RedshiftData, SNS -> Sns."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", service_id)
    return "".join(word.capitalize() for word in words)


def run_task(resource: str, arguments: object, caller: Caller) -> object:
    """Make the call and return its result in Step Functions' spelling; raise TaskError."""
    called = integration(resource)
    if called.operation == "Invoke" and called.service == "lambda":
        return _invoke_lambda(called, resource, arguments, caller)
    if called.sync:
        return _run_glue_job(called, arguments, caller)
    return call(called, arguments, caller)


def call(called: Integration, arguments: object, caller: Caller) -> dict:
    """Call one API action as the role; raise TaskError with AWS's name of the error."""
    model = service_model(called.service)
    operation = model.operation_model(called.operation)
    parameters = _parameters(arguments, operation.input_shape, called)
    if called.operation == "CopyObject" and "CopySource" in parameters:
        parameters["CopySource"] = _copy_source(parameters["CopySource"])
    try:
        client = role_client(called.service, caller.role_arn, caller.session_name, PRINCIPAL)
        response = getattr(client, xform_name(called.operation))(**parameters)
        return _result(response, operation.output_shape)
    except ClientError as error:
        raise _task_error(called, model, error) from error
    except RoleError as error:
        raise TaskError("States.Permissions", str(error)) from error
    except ParamValidationError as error:
        raise TaskError("States.Runtime", str(error)) from error
    except BotoCoreError as error:
        raise TaskError(f"{called.prefix}.SdkClientException", str(error)) from error


def _task_error(called: Integration, model, error: ClientError) -> TaskError:
    fault, metadata = error.response["Error"], error.response["ResponseMetadata"]
    code = fault["Code"]
    if called.operation == "HeadObject" and code == "404":
        code = "NoSuchKey"  # a response to HEAD has no body to name it in
    name = called.unknown
    for shape in model.error_shapes:
        if code in (shape.error_code, shape.name):
            # Java's spelling of an exception's class.
            name = shape.name.removesuffix("Fault").removesuffix("Exception") + "Exception"
    cause = (
        f"{fault.get('Message', '')} (Service: {called.prefix}, "
        f"Status Code: {metadata['HTTPStatusCode']}, Request ID: {metadata.get('RequestId')})"
    )
    return TaskError(f"{called.prefix}.{name}", cause)


# ---- parameters and results ------------------------------------------------------------------


def _parameters(value, shape, called: Integration):
    """Return the arguments in the service's own spelling."""
    if isinstance(shape, botocore.model.StructureShape) and isinstance(value, dict):
        members = {member.lower(): member for member in shape.members}
        unknown = [name for name in value if name.lower() not in members]
        if unknown:
            raise TaskError(
                "States.Runtime",
                f"The field {unknown[0]!r} is not supported by Step Functions "
                f"in {called.service}:{called.operation}",
            )
        return {
            members[name.lower()]: _parameters(item, shape.members[members[name.lower()]], called)
            for name, item in value.items()
        }
    if isinstance(shape, botocore.model.ListShape) and isinstance(value, list):
        return [_parameters(item, shape.member, called) for item in value]
    if isinstance(shape, botocore.model.MapShape) and isinstance(value, dict):
        return {key: _parameters(item, shape.value, called) for key, item in value.items()}
    if shape is not None and shape.type_name == "blob":
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return text.encode()
    if called.optimized and isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)  # a Message, a MessageBody, a Detail
    return value


def _result(value, shape):
    """Return a response in Step Functions' spelling, as JSON values."""
    if isinstance(shape, botocore.model.StructureShape):
        return {
            _api_name_to_sfn_key(name): _result(value[name], member)
            for name, member in shape.members.items()
            if name in value
        }
    if isinstance(shape, botocore.model.ListShape):
        return [_result(item, shape.member) for item in value]
    if isinstance(shape, botocore.model.MapShape):
        return {key: _result(item, shape.value) for key, item in value.items()}
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    if shape is not None and shape.type_name == "blob":
        body = value if isinstance(value, bytes) else value.read()
        return body.decode(errors="replace")
    return {} if shape is None else value


def _copy_source(source: str) -> dict[str, str]:
    """Parse CopySource, which Step Functions passes on as given: URL-encoded ``bucket/key``."""
    path, _, version = source.partition("?versionId=")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    return {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})


# ---- Lambda and Glue -------------------------------------------------------------------------


def _invoke_lambda(called: Integration, resource: str, arguments, caller: Caller):
    """``lambda:invoke``, or a function's ARN as the Resource: then payloads are all."""
    direct = ":function:" in resource
    request = {"FunctionName": resource, "Payload": arguments} if direct else dict(arguments)
    if "Payload" in request:
        # Always JSON, a string in quotes: a blob of another API would take the string as it is.
        request["Payload"] = json.dumps(request["Payload"], ensure_ascii=False)
    response = call(called, request, caller)
    payload = response.get("Payload") or "null"
    if response.get("FunctionError"):
        error = json.loads(payload)
        raise TaskError(error.get("errorType") or "Lambda.Unknown", payload)
    result = json.loads(payload)
    return result if direct else {**response, "Payload": result}


def _run_glue_job(called: Integration, arguments: dict, caller: Caller) -> dict:
    """Start a job run and wait for its end; stop it when the task is cancelled."""
    started = call(called, arguments, caller)
    caller.submitted(started)
    job, run_id = arguments["JobName"], started["JobRunId"]
    describe = Integration("glue", "GetJobRun", called.prefix, called.unknown)
    stop = Integration("glue", "BatchStopJobRun", called.prefix, called.unknown)
    while True:
        if caller.cancelled.wait(_POLL_SECONDS):
            call(stop, {"JobName": job, "JobRunIds": [run_id]}, caller)
            raise TaskError("States.TaskFailed", f"The job run {run_id} was stopped")
        run = call(describe, {"JobName": job, "RunId": run_id}, caller)["JobRun"]
        if run["JobRunState"] in _GLUE_FINAL:
            break
    for name in ("StartedOn", "LastModifiedOn", "CompletedOn"):
        if name in run:  # this integration gives milliseconds
            run[name] = round(datetime.datetime.fromisoformat(run[name]).timestamp() * 1000)
    if run["JobRunState"] != "SUCCEEDED":
        raise TaskError("States.TaskFailed", json.dumps(run))
    return run
