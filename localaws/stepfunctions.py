"""Step Functions as on AWS: versions and aliases that run what they name, roles, checks, limits.

ministack keeps the machines and evaluates the language; replaced here are the API actions whose
answers differ from AWS's, and (stepfunctions_execution) how an execution is walked.
"""

# pylint: disable=protected-access
import contextvars
import copy
import json
import random
import re
import threading
from datetime import datetime, timedelta, timezone

from ministack.core.responses import (
    error_response_json,
    get_account_id,
    get_region,
    json_response,
    new_uuid,
    now_iso,
    request_scope,
)
from ministack.services import stepfunctions

from localaws import hooks, stepfunctions_execution
from localaws.credentials import RoleError, role_allows, trusted_role
from localaws.settings import Settings
from localaws.stepfunctions_definition import problems
from localaws.stepfunctions_execution import Execution
from localaws.stepfunctions_logs import record_end
from localaws.stepfunctions_tasks import PRINCIPAL

_MAX_INPUT_BYTES = 256 * 1024
_NAME_KEPT = timedelta(days=90)
_BAD_NAME = re.compile(r"[\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ufffe\uffff]")
# What a machine's role needs for Step Functions to deliver its log.
_LOG_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
)
_REVISED = ("definition", "roleArn", "loggingConfiguration", "encryptionConfiguration")
_starting = threading.Lock()
_adding_event = threading.Lock()


def register() -> None:
    """Hook into ministack's Step Functions."""
    replace = hooks.replace
    replace(stepfunctions, "_create_state_machine", _create(stepfunctions._create_state_machine))
    replace(stepfunctions, "_update_state_machine", _update(stepfunctions._update_state_machine))
    replace(stepfunctions, "_delete_state_machine", _delete(stepfunctions._delete_state_machine))
    replace(stepfunctions, "_validate_state_machine_definition", _validate)
    replace(
        stepfunctions,
        "_publish_state_machine_version",
        _publish(stepfunctions._publish_state_machine_version),
    )
    replace(stepfunctions, "_start_execution", _start_execution)
    replace(stepfunctions, "_stop_execution", _stop_execution(stepfunctions._stop_execution))
    replace(stepfunctions, "_describe_execution", _describe(stepfunctions._describe_execution))
    replace(stepfunctions, "_describe_state_machine_for_execution", _describe_machine)
    replace(stepfunctions, "_list_executions", _list_executions(stepfunctions._list_executions))
    # Standard workflows only: these would run as no role.
    replace(stepfunctions, "_start_sync_execution", _unsupported("StartSyncExecution"))
    replace(stepfunctions, "_test_state", _unsupported("TestState"))
    # The walk. Map runs its items through _run_sub_machine.
    replace(stepfunctions, "_run_execution", stepfunctions_execution.run)
    replace(stepfunctions, "_run_sub_machine", stepfunctions_execution.run_states)
    replace(stepfunctions, "_with_retry_and_catch", stepfunctions_execution.with_retry_and_catch)
    replace(stepfunctions, "_scaled_sleep", stepfunctions_execution.wait)
    replace(stepfunctions, "_error_matches", stepfunctions_execution.error_matches)
    replace(stepfunctions, "_add_event", _add_event)


def start(_settings: Settings) -> None:
    """Give executions that a stop interrupted the event that ends their history."""
    for (account, region, _), record in list(stepfunctions._executions._data.items()):
        if record.get("error") != "States.ServiceRestart":
            continue
        if record["events"][-1]["type"] != "ExecutionFailed":
            details = {"error": record["error"], "cause": record["cause"]}
            with request_scope(account, region):
                _add_event(record, "ExecutionFailed", {"executionFailedEventDetails": details})


def stop() -> None:
    """Let the executions' threads end; the next start fails what they leave unfinished."""
    for execution in list(stepfunctions_execution.running.values()):
        with execution.lock:
            execution.stop()


# ---- state machines --------------------------------------------------------------------------


def _refusal(data: dict, arn: str):
    """Return AWS's refusal of a definition, role or logging configuration; None if all are good."""
    if "definition" in data:
        faults = problems(data["definition"])
        if faults:
            message = "Invalid State Machine Definition: " + ", ".join(f"'{f}'" for f in faults)
            return error_response_json("InvalidDefinition", message, 400)
    role = data.get("roleArn")
    if role is not None:
        try:
            trusted_role(role, PRINCIPAL, arn)
        except RoleError as error:
            message = (
                "Neither the global service principal states.amazonaws.com, nor the regional one "
                f"is authorized to assume the provided role: {error}"
            )
            return error_response_json("AccessDeniedException", message, 400)
    logging = data.get("loggingConfiguration") or {}
    if role is not None and logging.get("level", "OFF") != "OFF":
        denied = [action for action in _LOG_DELIVERY if not role_allows(role, action, "*")]
        if denied:
            message = (
                "The state machine IAM Role is not authorized to access the Log Destination: "
                f"{role} may not {', '.join(denied)}"
            )
            return error_response_json("AccessDeniedException", message, 400)
    return None


def _create(ministacks):
    def create(data: dict):
        arn = (
            f"arn:aws:states:{get_region()}:{get_account_id()}:stateMachine:{data.get('name', '')}"
        )
        refusal = _refusal(data, arn)
        if refusal:
            return refusal
        response = ministacks(data)
        if response[0] == 200:
            _keep_tracing(arn, {"tracingConfiguration": {"enabled": False}} | data)
        return response

    return create


def _keep_tracing(arn: str, data: dict) -> None:
    """Keep what ministack has no field for; DescribeStateMachine shows what the record holds."""
    if "tracingConfiguration" in data:
        stepfunctions._state_machines[arn]["tracingConfiguration"] = data["tracingConfiguration"]


def _update(ministacks):
    """UpdateStateMachine that checks first, and keeps the revision when nothing is revised."""

    def update(data: dict):
        arn = data.get("stateMachineArn")
        machine = stepfunctions._state_machines.get(arn)
        if machine is None:
            return ministacks(data)
        wanted = {"roleArn": machine["roleArn"], **data}
        refusal = _refusal(wanted, arn)
        if refusal:
            return refusal
        before = copy.deepcopy({name: machine.get(name) for name in _REVISED})
        revision = machine["revisionId"]
        publishing = ("publish", "versionDescription")
        response = ministacks({k: v for k, v in data.items() if k not in publishing})
        if response[0] != 200:
            return response
        _keep_tracing(arn, data)
        if before == {name: machine.get(name) for name in _REVISED}:
            machine["revisionId"] = revision
        answer = json.loads(response[2]) | {"revisionId": machine["revisionId"]}
        if data.get("publish"):
            description = {"description": data.get("versionDescription", "")}
            published = stepfunctions._publish_state_machine_version(
                {"stateMachineArn": arn, **description}
            )
            answer["stateMachineVersionArn"] = json.loads(published[2])["stateMachineVersionArn"]
        return json_response(answer)

    return update


def _publish(ministacks):
    """PublishStateMachineVersion: the same revision is the same version."""

    def publish(data: dict):
        machine = stepfunctions._state_machines.get(data.get("stateMachineArn"))
        asked = data.get("revisionId")
        if machine is not None and asked in (None, machine["revisionId"]):
            for version in stepfunctions._state_machine_versions.values():
                if version["stateMachineArn"] != machine["stateMachineArn"]:
                    continue
                if version["stateMachineRevisionId"] == machine["revisionId"]:
                    names = ("stateMachineVersionArn", "creationDate")
                    return json_response({name: version[name] for name in names})
        return ministacks(data)

    return publish


def _delete(ministacks):
    """DeleteStateMachine, which takes the versions and aliases with it."""

    def delete(data: dict):
        arn = data.get("stateMachineArn")
        response = ministacks(data)
        if response[0] == 200:
            for store in (
                stepfunctions._state_machine_versions,
                stepfunctions._state_machine_aliases,
            ):
                for name in [name for name in store if name.startswith(f"{arn}:")]:
                    del store[name]
        return response

    return delete


def _validate(data: dict):
    faults = problems(data.get("definition", ""))
    diagnostics = [
        {"severity": "ERROR", "code": fault.partition(":")[0], "message": fault} for fault in faults
    ]
    result = "FAIL" if faults else "OK"
    return json_response({"result": result, "diagnostics": diagnostics, "truncated": False})


def _unsupported(action: str):
    def refuse(_data: dict):
        message = f"local AWS does not have {action}: it runs standard workflows only"
        return error_response_json("ValidationException", message, 400)

    return refuse


# ---- executions ------------------------------------------------------------------------------


def _start_execution(data: dict):
    """StartExecution of a machine, one of its versions or an alias, which picks a version."""
    requested = data.get("stateMachineArn", "")
    base = stepfunctions._resolve_state_machine_arn(requested)
    if base is None:
        message = f"State Machine Does Not Exist: '{requested}'"
        return error_response_json("StateMachineDoesNotExist", message, 400)
    machine = stepfunctions._state_machines[base]
    name = data.get("name") or new_uuid()
    refusal = _refused_start(name, data.get("input", "{}"))
    if refusal:
        return refusal
    arn = f"arn:aws:states:{get_region()}:{get_account_id()}:execution:{machine['name']}:{name}"
    with _starting:
        existing = stepfunctions._executions.get(arn)
        if existing is not None and not _name_is_free(existing):
            same = existing["status"] == "RUNNING" and existing["input"] == data.get("input", "{}")
            if same:
                started = {"executionArn": arn, "startDate": existing["startDate"]}
                return json_response(started)
            message = f"Execution Already Exists: '{arn}'"
            return error_response_json("ExecutionAlreadyExists", message, 400)
        record = _new_record(arn, name, machine, requested, data.get("input", "{}"))
        stepfunctions._executions[arn] = record
        execution = stepfunctions_execution.running[arn] = Execution(record)
        started = {"input": record["input"], "roleArn": record["roleArn"]}
        stepfunctions._add_event(
            record, "ExecutionStarted", {"executionStartedEventDetails": started}
        )
    stepfunctions._emit_execution_status_event(record)
    threading.Thread(
        target=contextvars.copy_context().run,
        args=(stepfunctions._run_execution, arn),
        name=execution.name,
        daemon=True,
    ).start()
    return json_response({"executionArn": arn, "startDate": record["startDate"]})


def _refused_start(name: str, execution_input: str):
    if not 1 <= len(name) <= 80 or _BAD_NAME.search(name):
        return error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
    if len(execution_input.encode()) > _MAX_INPUT_BYTES:
        message = f"The input has more than {_MAX_INPUT_BYTES} bytes"
        return error_response_json("ValidationException", message, 400)
    try:
        json.loads(execution_input)
    except ValueError as error:
        message = f"Invalid State Machine Execution Input: '{error}'"
        return error_response_json("InvalidExecutionInput", message, 400)
    return None


def _name_is_free(record: dict) -> bool:
    """Whether an execution ended so long ago that its name may be used again."""
    if not record.get("stopDate"):
        return False
    ended = datetime.fromisoformat(record["stopDate"])
    return datetime.now(timezone.utc) - ended > _NAME_KEPT


def _new_record(arn: str, name: str, machine: dict, requested: str, execution_input: str) -> dict:
    version_arn = _version_to_run(requested)
    run = stepfunctions._state_machine_versions.get(version_arn) or machine
    alias = requested if requested in stepfunctions._state_machine_aliases else None
    return {
        "executionArn": arn,
        "stateMachineArn": machine["stateMachineArn"],
        "stateMachineVersionArn": version_arn,
        "stateMachineAliasArn": alias,
        "name": name,
        "status": "RUNNING",
        "startDate": now_iso(),
        "stopDate": None,
        "input": execution_input,
        "inputDetails": {"included": True},
        "output": None,
        "outputDetails": {"included": True},
        "events": [],
        # What it runs, whatever becomes of the machine meanwhile.
        "definition": run["definition"],
        "roleArn": run["roleArn"],
        "loggingConfiguration": copy.deepcopy(run["loggingConfiguration"]),
        "encryptionConfiguration": copy.deepcopy(run.get("encryptionConfiguration")),
    }


def _version_to_run(requested: str) -> str | None:
    """Return the version itself; of an alias one at random, by weight; None for a machine."""
    alias = stepfunctions._state_machine_aliases.get(requested)
    if alias is None:
        return stepfunctions._execution_version_arn(requested)
    routes = alias["routingConfiguration"]
    (chosen,) = random.choices(routes, [route["weight"] for route in routes])
    return chosen["stateMachineVersionArn"]


def _stop_execution(ministacks):
    def stop_execution(data: dict):
        arn = data.get("executionArn")
        execution = stepfunctions_execution.running.get(arn)
        if execution is None:
            return ministacks(data)
        with execution.lock:
            was_running = execution.record["status"] == "RUNNING"
            response = ministacks(data)
            execution.stop()
        if was_running and response[0] == 200:
            record_end(execution.record)
        return response

    return stop_execution


def _describe(ministacks):
    def describe(data: dict):
        response = ministacks(data)
        if response[0] != 200:
            return response
        answer = json.loads(response[2])
        record = stepfunctions._executions[data["executionArn"]]
        for name in ("stateMachineVersionArn", "stateMachineAliasArn"):
            if record.get(name):
                answer[name] = record[name]
        return json_response({k: v for k, v in answer.items() if v is not None})

    return describe


def _describe_machine(data: dict):
    """DescribeStateMachineForExecution: what the execution ran, not what the machine is now."""
    arn = data.get("executionArn")
    record = stepfunctions._executions.get(arn)
    if record is None:
        message = f"Execution Does Not Exist: '{arn}'"
        return error_response_json("ExecutionDoesNotExist", message, 400)
    names = ("definition", "roleArn", "loggingConfiguration", "encryptionConfiguration")
    return json_response(
        {
            "stateMachineArn": record["stateMachineVersionArn"] or record["stateMachineArn"],
            "name": record["stateMachineArn"].rsplit(":", 1)[-1],
            "updateDate": record["startDate"],
            **{name: record[name] for name in names if record.get(name)},
        }
    )


def _list_executions(ministacks):
    """ListExecutions, also of one version's or one alias's."""

    def list_executions(data: dict):
        asked = data.get("stateMachineArn")
        qualified = {
            name: store
            for name, store in (
                ("stateMachineVersionArn", stepfunctions._state_machine_versions),
                ("stateMachineAliasArn", stepfunctions._state_machine_aliases),
            )
            if asked in store
        }
        base = asked.rsplit(":", 1)[0] if qualified else asked
        response = ministacks({**data, "stateMachineArn": base})
        if response[0] != 200:
            return response
        answer = json.loads(response[2])
        for item in answer["executions"]:
            record = stepfunctions._executions[item["executionArn"]]
            for name in ("stateMachineVersionArn", "stateMachineAliasArn"):
                if record.get(name):
                    item[name] = record[name]
        if qualified:
            answer["executions"] = [
                item for item in answer["executions"] if asked in (item.get(n) for n in qualified)
            ]
        return json_response(answer)

    return list_executions


def _add_event(record: dict, kind: str, details: dict | None = None) -> dict:
    """Add an event to the history, and to the log if the machine has one."""
    with _adding_event:
        event = {
            "id": len(record["events"]) + 1,
            "type": kind,
            "timestamp": now_iso(),
            "previousEventId": len(record["events"]),
            **(details or {}),
        }
        record["events"].append(event)
    execution = stepfunctions_execution.running.get(record["executionArn"])
    if execution is not None:
        execution.log.write(event)
    return event
