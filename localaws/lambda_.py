"""Lambda as on AWS: real errors, clean environments, logs, metrics, and versions without copies."""

# pylint: disable=protected-access
import json
import logging
import subprocess
import time
from datetime import datetime, timezone

from ministack.core import lambda_runtime
from ministack.core.responses import error_response_json, json_response
from ministack.services import cloudwatch, cloudwatch_logs, lambda_svc

from localaws import hooks
from localaws.credentials import RoleError, role_allows, trusted_role
from localaws.lambda_environment import RUNTIME, ExecutionEnvironment, Outcome, log_group
from localaws.settings import REGION, Settings

logger = logging.getLogger("localaws.lambda")

# What publishing a version changes or leaves behind, and is no reason for another version.
_NOT_CONTENT = {
    "Version",
    "FunctionArn",
    "RevisionId",
    "LastModified",
    "Description",
    "State",
    "StateReason",
    "StateReasonCode",
    "LastUpdateStatus",
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
}


class MissingCodeError(ValueError):
    """The S3 object that should hold a function's or a layer's code does not exist."""


class InvalidFunctionError(ValueError):
    """A setting with which AWS would refuse the function."""


def register() -> None:
    """Hook into ministack's Lambda."""
    hooks.replace(lambda_runtime, "_worker_class_for", _environment_class)
    hooks.replace(lambda_runtime, "kill_workers", _retire)
    hooks.replace(lambda_svc, "_execute_function_dispatch", _execute)
    hooks.replace(lambda_svc, "_execute_function", _with_metrics(lambda_svc._execute_function))
    hooks.replace(
        lambda_svc,
        "invoke_async_with_retry",
        _with_invoke_config(lambda_svc.invoke_async_with_retry),
    )
    hooks.replace(lambda_svc, "_emit_lambda_metrics", lambda *args, **kwargs: None)
    hooks.replace(lambda_svc, "_fetch_code_from_s3", _code_in_s3(lambda_svc._fetch_code_from_s3))
    hooks.replace(lambda_svc, "_get_func_record_for_ref", _qualified(lambda_svc))
    hooks.replace(lambda_svc, "_create_function", _create(lambda_svc._create_function))
    hooks.replace(lambda_svc, "_update_code", _update_code(lambda_svc._update_code))
    hooks.replace(lambda_svc, "_update_config", _update_config(lambda_svc._update_config))
    hooks.replace(lambda_svc, "_publish_version", _publish(lambda_svc._publish_version))
    hooks.replace(
        lambda_svc, "_publish_layer_version", _refusing(lambda_svc._publish_layer_version)
    )


def start(settings: Settings) -> None:
    """Check the interpreter that runs the functions."""
    check = "import sys, awslambdaric; print(f'python{sys.version_info[0]}.{sys.version_info[1]}')"
    try:
        found = subprocess.run(
            [settings.lambda_python, "-I", "-c", check],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        raise RuntimeError(
            f"LOCALAWS_LAMBDA_PYTHON={settings.lambda_python} cannot run Lambda functions "
            f"({reason}): run 'make setup'"
        ) from error
    if found != RUNTIME:
        raise RuntimeError(
            f"LOCALAWS_LAMBDA_PYTHON={settings.lambda_python} is {found}, not {RUNTIME}"
        )


def _environment_class(config: dict) -> type[ExecutionEnvironment]:
    if config["Runtime"] != RUNTIME:
        raise InvalidFunctionError(f"local AWS runs {RUNTIME}, not {config['Runtime']}")
    return ExecutionEnvironment


def stop() -> None:
    """End every environment, with the invocations that run."""
    for environments in list(lambda_runtime._workers.values()):
        for environment in environments:
            environment.kill()
    lambda_runtime.reset()


def _retire(environments: list[ExecutionEnvironment]) -> None:
    """End environments that the pool has dropped: idle for long, or of a changed function."""
    for environment in environments:
        environment.retire()


# ---- running ----------------------------------------------------------------------------------


def _execute(func: dict, config: dict, event: object, request_id: str, _started: float) -> dict:
    """Run one invocation in the function's account; return what ministack's callers expect."""
    name, version = config["FunctionName"], config.get("Version", "$LATEST")
    lambda_svc._ensure_reaper_thread()
    environment = None
    try:
        environment, _ = lambda_runtime.acquire_worker(name, config, func["code_zip"], version)
        if environment.config.get("RevisionId") != config.get("RevisionId"):
            environment.renew(config, func["code_zip"])
        outcome = environment.run(
            event,
            request_id,
            config["FunctionArn"],
            lambda_svc._xray_trace_id_for_invocation(config),
        )
        _write_log(config, environment.log_stream, request_id, outcome)
    except (RoleError, InvalidFunctionError) as error:
        # On AWS these are errors of the Invoke call: no code ran, so nothing is logged.
        logger.error("cannot run %s: %s", config["FunctionArn"], error)
        payload = {"errorType": "Lambda.AccessDeniedException", "errorMessage": str(error)}
        outcome = Outcome(error=payload)
    finally:
        lambda_runtime.release_worker(environment)
    log = "\n".join(message for _, message in outcome.log)
    if outcome.error is not None:
        return {"body": outcome.error, "error": True, "function_error": "Unhandled", "log": log}
    return {"body": outcome.result, "log": log}


def _with_metrics(execute):
    """Record AWS/Lambda's metrics for every invocation, not only for those over HTTP."""

    def execute_and_record(func: dict, event: object) -> dict:
        config = func.get("config") or func
        if lambda_svc._function_config_scope_mismatch(config):
            return execute(func, event)  # comes back here in the function's own account
        begun = time.monotonic()
        result = execute(func, event)
        throttled = bool(result.get("throttle"))
        values = (
            {"Throttles": (1, "Count")}
            if throttled
            else {
                "Invocations": (1, "Count"),
                "Errors": (int(bool(result.get("error"))), "Count"),
                "Throttles": (0, "Count"),
                "Duration": ((time.monotonic() - begun) * 1000, "Milliseconds"),
            }
        )
        for dimensions in _metric_dimensions(config):
            for metric, (value, unit) in values.items():
                cloudwatch.record_metric("AWS/Lambda", metric, value, unit, dimensions)
        return result

    return execute_and_record


def _with_invoke_config(invoke):
    """Give an event the retries and destination of the alias or version that it goes to."""

    def invoke_async(func: dict, event: object) -> None:
        config = func.get("config") or func
        _, _, _, region, account, _, name, *qualifier = config["FunctionArn"].split(":")
        function = lambda_svc._functions.get_scoped(account, region, name)
        settings = lambda_svc._event_invoke_config(function, qualifier[0] if qualifier else None)
        invoke({**func, "event_invoke_config": settings}, event)

    return invoke_async


def _metric_dimensions(config: dict) -> list[dict[str, str]]:
    """Return AWS's sets of dimensions: the function's, and those of the qualifier it ran under."""
    name = config["FunctionName"]
    sets = [{"FunctionName": name}]
    qualifier = config["FunctionArn"].split(":")[7:]
    if qualifier:
        resource = {"FunctionName": name, "Resource": f"{name}:{qualifier[0]}"}
        sets += [resource, {**resource, "ExecutedVersion": config.get("Version", "$LATEST")}]
    return sets


def _qualified(service):
    """Let a call by alias carry the alias' ARN, as the context's invoked_function_arn has it."""
    resolve = service._get_func_record_for_ref

    def resolve_qualified(function_ref: str):
        record, config, name = resolve(function_ref)
        if config and isinstance(function_ref, str) and function_ref.count(":") == 7:
            config = {**config, "FunctionArn": function_ref}
        return record, config, name

    return resolve_qualified


# ---- logs -------------------------------------------------------------------------------------


def _write_log(config: dict, stream: str, request_id: str, outcome: Outcome) -> None:
    """Write what the invocation said, between AWS's lines, if the function's role may."""
    now = int(time.time() * 1000)
    begin, end = _platform_lines(config, request_id, outcome)
    outcome.log[:0] = [(min([now, *(time_ for time_, _ in outcome.log)]), begin)]
    outcome.log += [(now, line) for line in end]
    group = log_group(config)
    if not _may_log(config, group, stream):
        logger.warning("the role %s may not write to the log group %s", config["Role"], group)
        return
    streams = _log_group_record(group)["streams"]
    if stream not in streams:
        _put(cloudwatch_logs._create_log_stream, logGroupName=group, logStreamName=stream)
    _put(
        cloudwatch_logs._put_log_events,
        logGroupName=group,
        logStreamName=stream,
        logEvents=[{"timestamp": time_, "message": message} for time_, message in outcome.log],
    )


def _may_log(config: dict, group: str, stream: str) -> bool:
    account = config["FunctionArn"].split(":")[4]
    arn = f"arn:aws:logs:{REGION}:{account}:log-group:{group}"
    streams = f"{arn}:log-stream:{stream}"
    needed = [("logs:CreateLogStream", streams), ("logs:PutLogEvents", streams)]
    if group not in cloudwatch_logs._log_groups:
        needed.append(("logs:CreateLogGroup", arn))
    return all(role_allows(config["Role"], action, resource) for action, resource in needed)


def _log_group_record(group: str) -> dict:
    if group not in cloudwatch_logs._log_groups:
        _put(cloudwatch_logs._create_log_group, logGroupName=group)
    return cloudwatch_logs._log_groups[group]


def _put(handler, **request) -> None:
    status, _, body = handler(request)
    if status != 200:
        raise RuntimeError(f"{handler.__name__} failed: {body!r}")


def _platform_lines(config: dict, request_id: str, outcome: Outcome) -> tuple[str, list[str]]:
    """Return AWS's line before the function's own, and those after."""
    version = config.get("Version", "$LATEST")
    billed = -(-outcome.milliseconds // 1)
    if (config.get("LoggingConfig") or {}).get("LogFormat") == "JSON":
        metrics = {
            "durationMs": round(outcome.milliseconds, 3),
            "billedDurationMs": int(billed),
            "memorySizeMB": config["MemorySize"],
            "maxMemoryUsedMB": outcome.megabytes,
        }
        if outcome.init_milliseconds is not None:
            metrics["initDurationMs"] = round(outcome.init_milliseconds, 3)
        report = {"requestId": request_id, "metrics": metrics, "status": _status(outcome)}
        return (
            _json_line("platform.start", {"requestId": request_id, "version": version}),
            [_json_line("platform.report", report)],
        )
    report = (
        f"REPORT RequestId: {request_id}\tDuration: {outcome.milliseconds:.2f} ms\t"
        f"Billed Duration: {billed:.0f} ms\tMemory Size: {config['MemorySize']} MB\t"
        f"Max Memory Used: {outcome.megabytes} MB"
    )
    if outcome.init_milliseconds is not None:
        report += f"\tInit Duration: {outcome.init_milliseconds:.2f} ms"
    if _status(outcome) != "success":
        report += f"\tStatus: {_status(outcome)}"
    return (
        f"START RequestId: {request_id} Version: {version}",
        [f"END RequestId: {request_id}", report],
    )


def _status(outcome: Outcome) -> str:
    if outcome.error is None:
        return "success"
    return "timeout" if outcome.error["errorType"] == "Sandbox.Timedout" else "error"


def _json_line(type_: str, record: dict) -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "type": type_, "record": record})


# ---- functions and versions -------------------------------------------------------------------


def _refusing(handler):
    """Answer with AWS's error where the handler finds the function to be impossible."""

    def answer(*args):
        try:
            return handler(*args)
        except (InvalidFunctionError, MissingCodeError, RoleError) as error:
            return error_response_json("InvalidParameterValueException", str(error), 400)

    return answer


def _code_in_s3(fetch):
    def fetch_existing(bucket: str, key: str, version_id: str | None = None) -> bytes:
        code = fetch(bucket, key, version_id)
        if code is None:
            version = f" (version {version_id})" if version_id else ""
            raise MissingCodeError(
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: "
                f"The specified key does not exist: s3://{bucket}/{key}{version}"
            )
        return code

    return fetch_existing


def _check_function(data: dict) -> None:
    if "Runtime" in data and data["Runtime"] != RUNTIME:
        raise InvalidFunctionError(
            f"local AWS runs {RUNTIME} functions, as the interpreter LOCALAWS_LAMBDA_PYTHON is; "
            f"the function asks for {data['Runtime']}"
        )
    if "Role" in data:
        try:
            trusted_role(data["Role"], "lambda.amazonaws.com")
        except RoleError as error:
            raise InvalidFunctionError(
                f"The role defined for the function cannot be assumed by Lambda: {error}"
            ) from error


def _create(create):
    @_refusing
    def create_checked(data: dict):
        _check_function(data)
        if not data.get("Code"):
            raise InvalidFunctionError("Please provide a source for function code.")
        return _publishing(create, data["FunctionName"], data)

    return create_checked


def _update_config(update):
    @_refusing
    def update_checked(name: str, data: dict):
        _check_function(data)
        return update(name, data)

    return update_checked


def _update_code(update):
    @_refusing
    def update_and_publish(name: str, data: dict):
        return _publishing(lambda request: update(name, request), name, data)

    return update_and_publish


def _publishing(change, name: str, data: dict):
    """Make the change and, where it asks to Publish, a version through publish_version."""
    response = change({key: value for key, value in data.items() if key != "Publish"})
    if data.get("Publish") and response[0] < 300:
        return lambda_svc._publish_version(name, {})
    return response


def _publish(publish):
    """Return the last version where code and configuration are what they were, as AWS does."""

    def publish_changed(name: str, data: dict):
        func = lambda_svc._functions.get(name)
        if func is not None:
            sha = func["config"]["CodeSha256"]
            if data.get("CodeSha256", sha) != sha:
                return error_response_json(
                    "InvalidParameterValueException",
                    f"CodeSHA256 ({data['CodeSha256']}) is different from current CodeSHA256 in "
                    f"$LATEST ({sha}). Please try again with the CodeSHA256 in $LATEST.",
                    400,
                )
            last = max(func["versions"], key=int, default=None)
            if last and _content(func["versions"][last]["config"]) == _content(func["config"]):
                return json_response(func["versions"][last]["config"], 201)
        return publish(name, data)

    return publish_changed


def _content(config: dict) -> dict:
    return {key: value for key, value in config.items() if key not in _NOT_CONTENT}
