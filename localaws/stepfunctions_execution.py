"""An execution walked to its end: states, retries, timeouts, stopping, and what is said of it.

ministack evaluates states' paths and JSONata; walking them is here, since its own walk runs the
newest definition whatever version was asked for, cannot be stopped or timed out, and ignores
MaxDelaySeconds and JitterStrategy.
"""

# pylint: disable=protected-access
import concurrent.futures
import contextlib
import contextvars
import copy
import json
import logging
import random
import threading
import time
from collections.abc import Iterator

from ministack.core.responses import get_region, now_iso
from ministack.services import stepfunctions

from localaws.stepfunctions_logs import ExecutionLog, record_end, record_start
from localaws.stepfunctions_tasks import Caller, TaskError, run_task

_MAX_STATE_BYTES = 256 * 1024

logger = logging.getLogger("localaws.stepfunctions")


class Stopped(Exception):
    """The execution was aborted, or the server stops; no state may catch this."""


class TimedOut(Stopped):
    """The execution's TimeoutSeconds have passed."""


class Execution:
    """What lives beside the record of a running execution (which is saved, and so all JSON)."""

    def __init__(self, record: dict):
        self.record = record
        self.name = record["stateMachineArn"].rsplit(":", 1)[-1]
        self.definition = json.loads(record["definition"])
        self.stopped: concurrent.futures.Future = concurrent.futures.Future()
        self.log = ExecutionLog(record)
        self.lock = threading.RLock()
        seconds = self.definition.get("TimeoutSeconds")
        self._deadline = time.monotonic() + seconds if seconds else None

    def wait(self, seconds: float) -> None:
        """Sleep; raise Stopped as soon as the execution ends."""
        self.result(None, seconds)

    def result(self, future: concurrent.futures.Future | None, seconds: float | None):
        """Return the future's result, or None after ``seconds`` without one; raise Stopped."""
        remaining = None if self._deadline is None else self._deadline - time.monotonic()
        limits = [limit for limit in (seconds, remaining) if limit is not None]
        timeout = max(0.0, min(limits)) if limits else None
        futures = [self.stopped] if future is None else [self.stopped, future]
        first = concurrent.futures.FIRST_COMPLETED
        concurrent.futures.wait(futures, timeout, return_when=first)
        self.raise_if_over()
        return future.result() if future is not None and future.done() else None

    def raise_if_over(self) -> None:
        """Raise Stopped if the execution was stopped, TimedOut if its time is up."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.stop()
            raise TimedOut()
        if self.stopped.done():
            raise Stopped()

    def stop(self) -> None:
        """Let every thread of the execution end."""
        with self.lock:
            if not self.stopped.done():
                self.stopped.set_result(None)

    def end(self, status: str, error: str | None = None, cause: str | None = None, output=None):
        """Record the end, unless it has ended: the status, its event, its metrics."""
        with self.lock:
            record = self.record
            if record["status"] != "RUNNING":
                return
            record.update(status=status, stopDate=now_iso(), output=output)
            event = {"SUCCEEDED": "Succeeded", "FAILED": "Failed", "TIMED_OUT": "TimedOut"}[status]
            if output is not None:
                details = {"output": output}
            else:
                record.update(error=error, cause=cause)
                details = {"error": error, "cause": cause}
            stepfunctions._add_event(
                record, f"Execution{event}", {f"execution{event}EventDetails": details}
            )
        record_end(record)
        stepfunctions._emit_execution_status_event(record)


running: dict[str, Execution] = {}
_current: contextvars.ContextVar[Execution] = contextvars.ContextVar("execution")


def run(execution_arn: str) -> None:
    """Walk an execution from its start to its end: the body of its thread."""
    record = stepfunctions._executions[execution_arn]
    execution = running[execution_arn]
    _current.set(execution)
    record_start(record)
    try:
        definition = execution.definition
        state_input = json.loads(record["input"])
        output = run_states(
            definition["States"],
            definition["StartAt"],
            state_input,
            record,
            _context(record, definition, state_input),
        )
        execution.end("SUCCEEDED", output=_json(output))
    except TimedOut:
        execution.end("TIMED_OUT", "States.Timeout", "The execution exceeded its TimeoutSeconds")
    except Stopped:
        pass  # who stopped it records the end: StopExecution, or the server's next start
    except TaskError as error:
        execution.end("FAILED", error.error, error.cause)
    except Exception as error:  # pylint: disable=broad-exception-caught
        # Whatever breaks, the execution must end.
        logger.exception("the execution %s broke", execution_arn)
        execution.end("FAILED", "States.Runtime", f"{type(error).__name__}: {error}")
    finally:
        execution.stop()
        running.pop(execution_arn, None)


def _context(record: dict, definition: dict, state_input) -> dict:
    """Return the context object, and ministack's variables beside it."""
    return {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": {
            "Id": record["executionArn"],
            "Input": state_input,
            "Name": record["name"],
            "RoleArn": record["roleArn"],
            "StartTime": record["startDate"],
            "RedriveCount": 0,
        },
        "StateMachine": {
            "Id": record["stateMachineArn"],
            "Name": record["stateMachineArn"].rsplit(":", 1)[-1],
        },
        "variables": {},
    }


def run_states(states: dict, name: str, state_input, record: dict, context: dict):
    """Run states from ``name`` to an end and return the output; also a Map's and a Parallel's.

    Raises TaskError where a state fails and nothing catches it, and Stopped.
    """
    execution = _current.get()
    value = copy.deepcopy(state_input)
    while name is not None:
        execution.raise_if_over()
        state = states[name]
        kind = state["Type"]
        context["State"] = {"Name": name, "EnteredTime": now_iso(), "RetryCount": 0}
        entered = {"name": name, "input": _json(value)}
        stepfunctions._add_event(
            record, f"{kind}StateEntered", {"stateEnteredEventDetails": entered}
        )
        if kind == "Fail":
            raise TaskError(*stepfunctions._fail_state_error(state, value, context))
        value, following = _run_state(kind, state, value, record, context)
        text = _json(value)
        if len(text.encode()) > _MAX_STATE_BYTES:
            raise TaskError(
                "States.DataLimitExceeded",
                f"The state {name!r} returned a result with a size exceeding the maximum number "
                "of bytes service limit",
            )
        exited = {"name": name, "output": text}
        stepfunctions._add_event(record, f"{kind}StateExited", {"stateExitedEventDetails": exited})
        name = following
    return value


def _run_state(kind: str, state: dict, value, record: dict, context: dict):
    if kind == "Succeed":
        if stepfunctions._state_query_language(state, context) == "JSONata":
            output = stepfunctions._apply_jsonata_output(state, value, context, default=value)
        else:
            output = stepfunctions._apply_output_path(
                state, stepfunctions._apply_input_path(state, value, context), context
            )
        return output, None
    if kind == "Task":
        return with_retry_and_catch(
            state, value, context, lambda: _attempt_task(state, value, record, context)
        )
    if kind == "Parallel":
        return with_retry_and_catch(
            state, value, context, lambda: _attempt_parallel(state, value, record, context)
        )
    if kind == "Map":
        return stepfunctions._execute_map(state, value, record, context)
    handler = {
        "Pass": stepfunctions._execute_pass,
        "Choice": stepfunctions._execute_choice,
        "Wait": stepfunctions._execute_wait,
    }[kind]
    return handler(state, value, context)


def wait(seconds: float) -> None:
    """Sleep in the name of the execution that this thread runs."""
    _current.get().wait(seconds)


# ---- Parallel ----------------------------------------------------------------------------------


def _attempt_parallel(state: dict, value, record: dict, context: dict):
    """Run a Parallel's branches once, each in a thread; the first failure is the state's."""
    jsonata = stepfunctions._state_query_language(state, context) == "JSONata"
    if jsonata:
        branch_input = stepfunctions._apply_jsonata_arguments(state, value, context)
    else:
        selected = stepfunctions._apply_input_path(state, value, context)
        branch_input = stepfunctions._apply_parameters(state, selected, context)
    branches = state["Branches"]
    with concurrent.futures.ThreadPoolExecutor(len(branches)) as pool:
        futures = [
            pool.submit(
                contextvars.copy_context().run,
                run_states,
                branch["States"],
                branch["StartAt"],
                branch_input,
                record,
                copy.deepcopy(context),
            )
            for branch in branches
        ]
    result = [future.result() for future in futures]
    return _output(state, value, context, result, jsonata)


# ---- Task ------------------------------------------------------------------------------------


def _attempt_task(state: dict, value, record: dict, context: dict):
    """Run a Task once; return its output and the next state."""
    jsonata = stepfunctions._state_query_language(state, context) == "JSONata"
    if jsonata:
        arguments = stepfunctions._apply_jsonata_arguments(state, value, context)
    else:
        selected = stepfunctions._apply_input_path(state, value, context)
        arguments = stepfunctions._apply_parameters(state, selected, context)
    seconds = _timeout_seconds(state, value, context)
    result = _timed_task(state["Resource"], arguments, seconds, record)
    return _output(state, value, context, result, jsonata)


def _output(state: dict, value, context: dict, result, jsonata: bool):
    """Return a state's output, made from its result, and the next state."""
    if jsonata:
        output = stepfunctions._apply_jsonata_output(
            state, value, context, result=result, default=result
        )
        stepfunctions._apply_state_assign(state, value, context, result=result)
    else:
        selected = stepfunctions._apply_result_selector(state, result)
        output = stepfunctions._apply_result_path(state, value, selected)
        output = stepfunctions._apply_output_path(state, output, context)
    return output, stepfunctions._next_or_end(state)


def _timeout_seconds(state: dict, value, context: dict) -> float | None:
    if "TimeoutSecondsPath" in state:
        return stepfunctions._resolve_path_or_ctx(state["TimeoutSecondsPath"], value, context)
    if isinstance(state.get("TimeoutSeconds"), str):
        return stepfunctions._jsonata_state_field(state, "TimeoutSeconds", "number", value, context)
    return state.get("TimeoutSeconds")


def _timed_task(resource: str, arguments, seconds: float | None, record: dict):
    """Make a task's call within its time, with the events that the history has of it."""
    execution = _current.get()
    kind, action = _split(resource)
    about = {"resourceType": kind, "resource": action}
    scheduled = about | {"region": get_region(), "parameters": _json(arguments)}
    if seconds is not None:
        scheduled["timeoutInSeconds"] = int(seconds)
    with _task_events(record, about, scheduled) as succeed:
        cancelled = threading.Event()
        caller = Caller(
            record["roleArn"],
            execution.name,
            cancelled,
            lambda output: stepfunctions._add_event(
                record,
                "TaskSubmitted",
                {"taskSubmittedEventDetails": about | {"output": _json(output)}},
            ),
        )
        future: concurrent.futures.Future = concurrent.futures.Future()
        threading.Thread(
            target=contextvars.copy_context().run,
            args=(_fulfil, future, resource, arguments, caller),
            name=f"task-{execution.name}",
            daemon=True,
        ).start()
        try:
            result = execution.result(future, seconds)
            if not future.done():
                raise TaskError("States.Timeout", "")  # AWS gives no cause
        finally:
            # Nothing to a task that has ended; a job run of one that has not is stopped.
            cancelled.set()
        succeed(_json(result))
        return result


def _fulfil(future: concurrent.futures.Future, resource: str, arguments, caller: Caller) -> None:
    try:
        future.set_result(run_task(resource, arguments, caller))
    except TaskError as error:
        if caller.cancelled.is_set():
            logger.info("the cancelled task %s ended with %s", resource, error)
        future.set_exception(error)
    except Exception as error:  # pylint: disable=broad-exception-caught
        # An argument of a wrong type can break the SDK anywhere; the state fails, uncaught.
        logger.exception("the task %s broke", resource)
        future.set_exception(TaskError("States.Runtime", f"{type(error).__name__}: {error}"))


@contextlib.contextmanager
def _task_events(record: dict, about: dict, scheduled: dict) -> Iterator:
    def add(kind: str, details: dict) -> None:
        key = f"task{kind}EventDetails"
        stepfunctions._add_event(record, f"Task{kind}", {key: details})

    add("Scheduled", scheduled)
    add("Started", about)
    try:
        yield lambda output: add("Succeeded", about | {"output": output})
    except TaskError as error:
        kind = "TimedOut" if error.error == "States.Timeout" else "Failed"
        add(kind, about | {"error": error.error, "cause": error.cause})
        raise


def _split(resource: str) -> tuple[str, str]:
    """Return a Resource's resourceType and resource as the history names them."""
    if ":function:" in resource:
        return "lambda", resource
    kind, _, action = resource.removeprefix("arn:aws:states:::").rpartition(":")
    return kind, action


# ---- Retry and Catch -------------------------------------------------------------------------


def with_retry_and_catch(state: dict, value, context: dict, attempt):
    """Run a Task, Parallel or Map attempt under the state's Retry and Catch fields."""
    own_state = context["State"]
    counts: dict[int, int] = {}
    while True:
        # Branches share the context and leave their own State in it.
        context["State"] = {**own_state, "RetryCount": sum(counts.values())}
        try:
            return attempt()
        except TaskError as error:
            _current.get().raise_if_over()
            context["State"] = {**own_state, "RetryCount": sum(counts.values())}
            retrier, index = stepfunctions._find_matching_retrier(
                state.get("Retry", []), error.error, counts
            )
            if retrier is not None:
                wait(retry_delay(retrier, counts.get(index, 0)))
                counts[index] = counts.get(index, 0) + 1
                continue
            catcher = stepfunctions._find_matching_catcher(state.get("Catch", []), error.error)
            if catcher is None:
                raise
            caught = {"Error": error.error, "Cause": error.cause}
            language = stepfunctions._state_query_language(state, context)
            output = stepfunctions._apply_catcher(catcher, value, context, language, caught)
            return output, catcher["Next"]


def retry_delay(retrier: dict, count: int) -> float:
    """Return the seconds before the retry after ``count`` others of this retrier."""
    seconds = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** count
    seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
    return random.uniform(0, seconds) if retrier.get("JitterStrategy") == "FULL" else seconds


def error_matches(error_equals: list[str], error: str) -> bool:
    """Whether a retrier's or catcher's ErrorEquals takes the error; some ends cannot be caught."""
    if error in error_equals:
        return True
    if error in ("States.Runtime", "States.DataLimitExceeded"):
        return False
    if "States.ALL" in error_equals:
        return True
    return "States.TaskFailed" in error_equals and error != "States.Timeout"


def _json(value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
