"""Glue's job runs, run: a real Spark process each, with AWS's states, errors, logs and limits.

ministack calls a Spark run SUCCEEDED without running it. Here StartJobRun, GetJobRuns and
BatchStopJobRun are replaced; jobs themselves stay ministack's.
"""

# pylint: disable=protected-access
import logging
import secrets
import subprocess
import threading
from datetime import datetime, timezone

from ministack.core.concurrency import resource_lock
from ministack.core.responses import (
    error_response_json,
    get_account_id,
    get_region,
    json_response,
    request_scope,
)
from ministack.services import glue

from localaws import hooks
from localaws.glue_logs import DEFAULT_PREFIX, RunLogs
from localaws.glue_process import LaunchError, RunProcess, RunRequest
from localaws.glue_spark import find_spark
from localaws.settings import Settings

# The seconds in a minute of a job's Timeout.
_MINUTE_SECONDS = 60
_ACTIVE = ("STARTING", "RUNNING", "STOPPING")
# What CreateJob and UpdateJob take and ministack drops.
_DROPPED = ("ExecutionProperty", "ExecutionClass", "JobMode", "JobRunQueuingEnabled", "LogUri")
_INTERRUPTED = "Local AWS was stopped while the run was in flight"

logger = logging.getLogger("localaws.glue")


class _State:
    """What lives with the server: its settings and the runs whose process it watches."""

    settings: Settings | None = None
    runs: dict[str, "_Run"] = {}


def register() -> None:
    """Hook into ministack's Glue."""
    create = _create_job(glue._create_job)
    hooks.replace(glue, "_create_job", create)
    hooks.replace(glue, "_update_job", _update_job(create))
    hooks.replace(glue, "_delete_job", _delete_job(glue._delete_job))
    hooks.replace(glue, "_start_job_run", _start_job_run)
    hooks.replace(glue, "_get_job_runs", _get_job_runs)
    hooks.replace(glue, "_batch_stop_job_run", _batch_stop_job_run)


def start(settings: Settings) -> None:
    """Fail the runs that a crash interrupted."""
    _State.settings = settings
    for (account, region, _), runs in list(glue._job_runs._data.items()):
        with request_scope(account, region):
            for run in runs:
                if run["JobRunState"] in _ACTIVE:
                    _finish(run, "FAILED", _INTERRUPTED)
    if not find_spark(settings.glue_python).spark_archive.exists():
        logger.warning("there is no AppCDS archive, so Glue runs start slowly: run 'make setup'")


def stop() -> None:
    """End the processes of the runs in flight; the runs have failed when this returns."""
    for run in list(_State.runs.values()):
        run.stop("FAILED", _INTERRUPTED)
    for run in list(_State.runs.values()):
        run.thread.join()


def check() -> None:
    """Raise SparkError where no job could run."""
    find_spark(_State.settings.glue_python)


# ---- the API ---------------------------------------------------------------------------------


def _create_job(ministacks):
    """CreateJob that keeps every property of the job, and its tags where GetTags looks."""

    def create(data: dict):
        response = ministacks(data)
        if response[0] == 200:
            glue._jobs[data["Name"]].update({n: data[n] for n in _DROPPED if n in data})
            if data.get("Tags"):
                glue._tags[glue._arn("job", data["Name"])] = dict(data["Tags"])
        return response

    return create


def _update_job(create):
    """UpdateJob, which overwrites the whole definition: what it leaves out is unset."""

    def update(data: dict):
        name = data.get("JobName")
        if name not in glue._jobs:
            return error_response_json("EntityNotFoundException", f"Job {name} not found", 400)
        draft = f"{name} updated {secrets.token_hex(8)}"  # so that the job is there all the time
        create({"Name": draft, **data["JobUpdate"]})
        del glue._job_runs[draft]
        kept = {"Name": name, "CreatedOn": glue._jobs[name]["CreatedOn"]}
        glue._jobs[name] = glue._jobs.pop(draft) | kept
        return json_response({"JobName": name})

    return update


def _delete_job(ministacks):
    """DeleteJob, which takes the tags with it."""

    def delete(data: dict):
        glue._tags.pop(glue._arn("job", data.get("JobName")), None)
        return ministacks(data)

    return delete


def _start_job_run(data: dict):
    name = data.get("JobName")
    with resource_lock("glue", f"{get_account_id()}/{name}"):
        job = glue._jobs.get(name)
        if job is None:
            return error_response_json(
                "EntityNotFoundException", f"Job with name: {name} not found", 400
            )
        runs = glue._job_runs.setdefault(name, [])
        active = sum(run["JobRunState"] in _ACTIVE for run in runs)
        if active >= int(job.get("ExecutionProperty", {}).get("MaxConcurrentRuns", 1)):
            return error_response_json(
                "ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}", 400
            )
        run = _Run(job, data)
        runs.append(run.record)
    _State.runs[run.record["Id"]] = run
    run.thread.start()
    return json_response({"JobRunId": run.record["Id"]})


def _get_job_runs(data: dict):
    """The job's runs, newest first, in pages of MaxResults (200)."""
    name = data.get("JobName")
    if name not in glue._jobs:
        return error_response_json(
            "EntityNotFoundException", f"Job with name: {name} not found", 400
        )
    runs = glue._job_runs.get(name, [])[::-1]
    begin = int(data.get("NextToken") or 0)
    end = begin + int(data.get("MaxResults") or 200)
    page = {"JobRuns": runs[begin:end]}
    if end < len(runs):
        page["NextToken"] = str(end)
    return json_response(page)


def _batch_stop_job_run(data: dict):
    name = data.get("JobName")
    records = {record["Id"]: record for record in glue._job_runs.get(name, [])}
    stopped, errors = [], []
    for run_id in data.get("JobRunIds", []):
        record = records.get(run_id)
        if record is None:
            code, message = "EntityNotFoundException", f"Job run {run_id} not found"
        elif record["JobRunState"] not in _ACTIVE:
            code = "JobRunNotInTerminalStateException"
            message = f"Job run {run_id} is in the state {record['JobRunState']}"
        else:
            if run := _State.runs.get(run_id):  # none: it has just ended
                run.stop("STOPPED", None)
            stopped.append({"JobName": name, "JobRunId": run_id})
            continue
        detail = {"ErrorCode": code, "ErrorMessage": message}
        errors.append({"JobName": name, "JobRunId": run_id, "ErrorDetail": detail})
    return json_response({"SuccessfulSubmissions": stopped, "Errors": errors})


# ---- a run -----------------------------------------------------------------------------------


class _Run:  # pylint: disable=too-many-instance-attributes
    """A run in flight: its record (what GetJobRun shows) and the thread that carries it out."""

    def __init__(self, job: dict, request: dict, previous: dict | None = None):
        self._job = job
        self._request = request
        self._account = get_account_id()
        self._region = get_region()
        self._ending = threading.Lock()
        self._end: tuple[str, str | None] | None = None
        self._over = False  # from here on nothing changes how it ended
        self._process: RunProcess | None = None
        self.record = self._new_record(previous)
        self.thread = threading.Thread(target=self._run, name=self.record["Id"], daemon=True)

    def stop(self, state: str, message: str | None) -> None:
        """End the run early in the given state."""
        with self._ending:
            if self._end is None and not self._over:
                self._end = (state, message)
                self.record["JobRunState"] = "STOPPING"
                if self._process is not None:
                    self._process.end()

    def _new_record(self, previous: dict | None) -> dict:
        job, request = self._job, self._request
        workers = request.get("NumberOfWorkers") or job.get("NumberOfWorkers") or 2
        now = _now()
        record = {
            "Id": "jr_" + secrets.token_hex(32),
            "Attempt": 0,
            "JobName": job["Name"],
            "StartedOn": now,
            "LastModifiedOn": now,
            "JobRunState": "STARTING",
            "Arguments": request.get("Arguments", {}),
            "PredecessorRuns": [],
            "AllocatedCapacity": int(workers),
            "ExecutionTime": 0,
            "Timeout": int(request.get("Timeout") or job.get("Timeout") or 2880),
            "MaxCapacity": float(workers),
            "WorkerType": request.get("WorkerType") or job.get("WorkerType") or "G.1X",
            "NumberOfWorkers": int(workers),
            "LogGroupName": "/aws-glue/jobs",
            "GlueVersion": job.get("GlueVersion", "5.1"),
            "ExecutionClass": request.get("ExecutionClass")
            or job.get("ExecutionClass")
            or "STANDARD",
        }
        if previous is not None:
            first = previous["Id"].split("_attempt_")[0]
            attempt = previous["Attempt"] + 1
            record.update(
                Id=f"{first}_attempt_{attempt}", Attempt=attempt, PreviousRunId=previous["Id"]
            )
        return record

    def _run(self) -> None:
        with request_scope(self._account, self._region):
            try:
                state, message = self._carry_out()
            except Exception as error:  # pylint: disable=broad-exception-caught
                # A fault of the runner must not leave the run RUNNING.
                logger.exception("the Glue run %s broke", self.record["Id"])
                state, message = "FAILED", f"Internal error of local AWS: {error}"
            retry = state == "FAILED" and message != _INTERRUPTED
            if retry and self.record["Attempt"] < int(self._job.get("MaxRetries") or 0):
                self._try_again()
            _finish(self.record, state, message)
            _State.runs.pop(self.record["Id"], None)

    def _try_again(self) -> None:
        again = _Run(self._job, self._request, previous=self.record)
        glue._job_runs[self._job["Name"]].append(again.record)
        _State.runs[again.record["Id"]] = again
        again.thread.start()

    def _carry_out(self) -> tuple[str, str | None]:
        """Run the process to its end; return the final state and the error message."""
        role = self._job.get("Role", "")
        if not role.startswith("arn:"):
            role = f"arn:aws:iam::{self._account}:role/{role}"
        request = self._run_request(role)
        prefix = request.arguments.get("--custom-logGroup-prefix", DEFAULT_PREFIX)
        logs = RunLogs(self.record["Id"], role, prefix)
        process = RunProcess(_State.settings, request)
        try:
            process.start(logs.write)
            with self._ending:
                self._process = process
                if self._end is None:
                    self.record["JobRunState"] = "RUNNING"
            if self._end is None:
                process.wait(self.record["Timeout"] * _MINUTE_SECONDS)
        except LaunchError as error:
            logs.write("error", str(error))
            return "FAILED", str(error)
        except subprocess.TimeoutExpired:
            minutes = self.record["Timeout"]
            return "TIMEOUT", f"The run exceeded its timeout of {minutes} minutes"
        finally:
            process.end()
            logs.flush()
            error = process.result() if process.started else None
            process.delete()
        with self._ending:
            self._over = True
        if self._end is not None:
            return self._end
        return ("FAILED", error) if error else ("SUCCEEDED", None)

    def _run_request(self, role: str) -> RunRequest:
        command = self._job.get("Command", {})
        arguments = {
            **self._job.get("DefaultArguments", {}),
            **self._request.get("Arguments", {}),
            **self._job.get("NonOverridableArguments", {}),
            "--JOB_NAME": self._job["Name"],
            "--JOB_RUN_ID": self.record["Id"],
        }
        return RunRequest(
            run_id=self.record["Id"],
            role_arn=role,
            script=arguments.get("--scriptLocation") or command.get("ScriptLocation", ""),
            arguments=arguments,
            workers=self.record["NumberOfWorkers"],
        )


def _finish(record: dict, state: str, message: str | None) -> None:
    now = _now()
    if message:
        record["ErrorMessage"] = message
    record["CompletedOn"] = record["LastModifiedOn"] = now
    record["ExecutionTime"] = round(now - record["StartedOn"])
    # Last: who sees a final state may read the rest.
    record["JobRunState"] = state


def _now() -> float:
    return round(datetime.now(timezone.utc).timestamp(), 3)
