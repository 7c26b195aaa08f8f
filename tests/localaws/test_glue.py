"""Glue: a run is a real Spark process, with AWS's states, errors, limits, logs and permissions."""

import json
import os
import signal
import time
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.conftest import LocalAws, free_port, new_home
from tests.localaws.workshop import archive, wait_until
from tests.localaws.stepfunctions_machines import Machines, allow, machine, task

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "glue.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
LOGS = allow(
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    on="arn:aws:logs:*:*:log-group:/aws-glue/*",
)
FINAL = ("SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT")
MAY_RUN = allow("glue:StartJobRun", "glue:GetJobRun", "glue:BatchStopJobRun")


class Jobs(Machines):
    """Makes Glue jobs, each with a bucket, a role and a name of its own, and runs them."""

    def __init__(self, session):
        super().__init__(session)
        self.glue = session.client("glue")

    def job(self, script: str, *statements, **settings) -> str:
        """Make a job with this script; return its name. Its role may read its bucket's code/."""
        bucket = self.bucket()
        self.s3.put_object(Bucket=bucket, Key="code/job.py", Body=script)
        code = allow("s3:GetObject", on=f"arn:aws:s3:::{bucket}/code/*")
        name = f"job-{uuid.uuid4().hex[:8]}"
        self.glue.create_job(
            **{
                "Name": name,
                "Role": self.role(code, LOGS, *statements, trust=TRUST),
                "Command": {"Name": "glueetl", "ScriptLocation": f"s3://{bucket}/code/job.py"},
                "GlueVersion": "5.1",
                "WorkerType": "G.1X",
                "NumberOfWorkers": 2,
                **settings,
            }
        )
        return name

    def start_run(self, job: str, arguments: dict | None = None, **settings) -> str:
        """Start a run; return its id."""
        return self.glue.start_job_run(JobName=job, Arguments=arguments or {}, **settings)[
            "JobRunId"
        ]

    def describe(self, job: str, run_id: str) -> dict:
        """Return what GetJobRun says."""
        return self.glue.get_job_run(JobName=job, RunId=run_id)["JobRun"]

    def wait_run(self, job: str, run_id: str, states=FINAL, seconds: float = 90) -> dict:
        """Return the run as soon as it is in one of the states."""
        return wait_until(
            lambda: (run := self.describe(job, run_id))["JobRunState"] in states and run, seconds
        )

    def run_job(self, job: str, arguments: dict | None = None, **settings) -> dict:
        """Start a run and return it when it has ended."""
        return self.wait_run(job, self.start_run(job, arguments, **settings))

    def lines(self, name: str, run_id: str, prefix: str = "/aws-glue/jobs") -> list[str]:
        """Return the run's lines in ``output`` or ``error``."""
        try:
            events = self.logs.get_log_events(
                logGroupName=f"{prefix}/{name}", logStreamName=run_id, startFromHead=True
            )["events"]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in events]


@pytest.fixture(name="jobs", scope="module")
def fixture_jobs(local_aws) -> Jobs:
    return Jobs(local_aws.session("dev"))


@pytest.fixture(name="overdue", scope="module", autouse=True)
def fixture_overdue(jobs) -> tuple[str, str]:
    """A run that sleeps past its timeout of a minute, started first since it takes the longest."""
    job = jobs.job("import time; time.sleep(300)", Timeout=1)
    return job, jobs.start_run(job)


# ---- Spark -----------------------------------------------------------------------------------

ETL = """
import json, os, sys
import boto3
from awsglue.context import GlueContext
from awsglue.job import Job
from awsglue.utils import getResolvedOptions
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from greetings.words import greet

args = getResolvedOptions(sys.argv, ["JOB_NAME", "bucket", "colour"])
glue_context = GlueContext(SparkContext.getOrCreate())
spark = glue_context.spark_session
job = Job(glue_context)
job.init(args["JOB_NAME"], args)

bucket = args["bucket"]
rows = spark.read.option("header", True).csv(f"s3://{bucket}/in/rows.csv")
rows.write.partitionBy("colour").parquet(f"s3://{bucket}/out/")
rows.where("colour = 'red'").write.mode("overwrite").parquet(f"s3a://{bucket}/out/")
read_again = [tuple(row) for row in spark.read.parquet(f"s3://{bucket}/out/").collect()]

def error_of(call):
    try:
        call()
    except (Py4JJavaError, NotImplementedError) as error:
        return f"{type(error).__name__} {error}"

print(json.dumps({
    "args": {name: args[name] for name in ("JOB_NAME", "JOB_RUN_ID", "colour")},
    "greeting": greet("Glue"),
    "versions": [spark.version, ".".join(map(str, sys.version_info[:2]))],
    "java": spark._jvm.System.getProperty("java.version"),
    "doubled": spark.range(3).rdd.map(lambda row: row.id * 2).collect(),
    "rows": read_again,
    "who": boto3.client("sts").get_caller_identity()["Arn"],
    "environment": sorted(os.environ),
    "setting": spark.conf.get("spark.sql.session.timeZone"),
    "denied": error_of(lambda: rows.write.parquet(f"s3://{bucket}/elsewhere/")),
    "catalog": error_of(lambda: glue_context.create_dynamic_frame.from_catalog("d", "t")),
}))
print("a warning", file=sys.stderr)
job.commit()
"""


@pytest.fixture(name="etl", scope="module")
def fixture_etl(jobs) -> tuple[dict, dict, str]:
    """One real run: (GetJobRun's answer, what the script printed, its bucket)."""
    bucket = jobs.bucket()
    content = archive(
        {"greetings/__init__.py": "", "greetings/words.py": "def greet(who): return f'Hi {who}'"}
    )
    wheel = "greetings-1.0-py3-none-any.whl"
    jobs.s3.put_object(Bucket=bucket, Key=f"code/{wheel}", Body=content)
    jobs.s3.put_object(Bucket=bucket, Key="code/etl.py", Body=ETL)
    rows = "id,colour\n1,red\n2,blue\n"
    jobs.s3.put_object(Bucket=bucket, Key="in/rows.csv", Body=rows)
    job = jobs.job(
        "raise SystemExit('not the release of this run')",
        allow("s3:ListBucket", on=f"arn:aws:s3:::{bucket}"),
        allow("s3:GetObject", on=f"arn:aws:s3:::{bucket}/*"),
        allow(
            "s3:PutObject",
            "s3:DeleteObject",
            on=[f"arn:aws:s3:::{bucket}/out", f"arn:aws:s3:::{bucket}/out/*"],
        ),
        DefaultArguments={
            "--colour": "grey",
            "--conf": "spark.sql.session.timeZone=Asia/Tokyo --conf spark.app.name=tested",
        },
    )
    arguments = {
        "--bucket": bucket,
        "--colour": "red",
        "--scriptLocation": f"s3://{bucket}/code/etl.py",
        "--extra-py-files": f"s3://{bucket}/code/{wheel}",
    }
    run = jobs.run_job(job, arguments)
    assert run["JobRunState"] == "SUCCEEDED", jobs.lines("error", run["Id"])[-20:]
    return run, json.loads(jobs.lines("output", run["Id"])[-1]), bucket


def test_a_run_has_spark_its_script_its_packages_and_its_arguments(etl):
    run, printed, _ = etl
    assert printed["args"] == {
        "JOB_NAME": run["JobName"],
        "JOB_RUN_ID": run["Id"],
        "colour": "red",
    }, "a run's arguments overlay the job's"
    assert printed["greeting"] == "Hi Glue"
    assert printed["versions"] == ["3.5.6", "3.11"]
    assert printed["java"].startswith("17.")
    assert printed["doubled"] == [0, 2, 4], "Python workers run"
    assert printed["setting"] == "Asia/Tokyo", "--conf reaches Spark"


def test_spark_overwrites_a_folder_whole(jobs, etl):
    _, printed, bucket = etl
    assert printed["rows"] == [["1", "red"]]
    listed = jobs.s3.list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]
    keys = [item["Key"] for item in listed]
    assert "out/_SUCCESS" in keys
    assert len([key for key in keys if key.endswith(".parquet")]) == 1, keys
    assert not [key for key in keys if "colour=" in key or "_temporary" in key], keys


def test_a_run_is_its_role_and_no_more(etl):
    _, printed, _ = etl
    assert ":assumed-role/role-" in printed["who"]
    assert "403" in printed["denied"] or "AccessDenied" in printed["denied"], printed["denied"]


def test_a_run_sees_nothing_of_the_host(etl):
    names = set(etl[1]["environment"])
    assert {"AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"} <= names
    host = {"LOCALAWS_HOME", "AUTH", "STATE_DIR", "AWS_PROFILE", "VIRTUAL_ENV", "JAVA_HOME"}
    assert not names & host


def test_what_needs_glues_own_classes_says_so(etl):
    assert "NotImplementedError GlueContext.from_catalog" in etl[1]["catalog"]


def test_output_and_errors_are_in_their_log_groups(jobs, etl):
    run, _, _ = etl
    assert "a warning" in jobs.lines("error", run["Id"])
    assert run["StartedOn"] < run["CompletedOn"]
    assert run["ExecutionTime"] >= 1
    assert run["LogGroupName"] == "/aws-glue/jobs"


def test_a_job_may_have_log_groups_of_its_own(jobs):
    job = jobs.job("print('hello')", DefaultArguments={"--custom-logGroup-prefix": "/aws-glue/own"})
    run = jobs.run_job(job)
    assert run["JobRunState"] == "SUCCEEDED", run
    assert jobs.lines("output", run["Id"], "/aws-glue/own") == ["hello"]
    assert not jobs.lines("output", run["Id"])


# ---- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise ValueError('price is abc\\nand more')", "ValueError: price is abc"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("def main(:", "SyntaxError: invalid syntax (job.py, line 1)"),
        ("import os; os.kill(os.getpid(), 9)", "Command failed with exit code -9"),
        (
            "from awsglue.utils import getResolvedOptions as g\nimport sys; g(sys.argv,['colour'])",
            "GlueArgumentError: the following arguments are required: --colour",
        ),
    ],
)
def test_a_failed_run_says_what_failed(jobs, script, message):
    run = jobs.run_job(jobs.job(script))
    assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", message)


def test_the_traceback_is_the_scripts_own(jobs):
    job = jobs.job("def price():\n    raise ValueError('abc')\nprice()\n")
    run = jobs.run_job(job)
    trace = "\n".join(jobs.lines("error", run["Id"]))
    assert "job.py" in trace and "line 2, in price" in trace
    assert "bootstrap" not in trace


@pytest.mark.parametrize(
    ("settings", "arguments", "words"),
    [
        ({}, {"--scriptLocation": "s3://BUCKET/code/none.py"}, ["none.py", "NoSuchKey"]),
        ({}, {"--scriptLocation": "s3://BUCKET/secret.py"}, ["secret.py", "AccessDenied", "role/"]),
        ({}, {"--scriptLocation": "/etc/passwd"}, ["not an S3 address"]),
        ({}, {"--extra-py-files": "s3://BUCKET/code/none.whl"}, ["none.whl", "NoSuchKey"]),
        ({}, {"--additional-python-modules": "requests"}, ["--extra-py-files"]),
        ({"Role": "no-such-role"}, {}, ["no-such-role", "does not exist"]),
    ],
)
def test_a_run_that_cannot_start_fails_and_says_why(jobs, settings, arguments, words):
    job = jobs.job("print('ran')", **settings)
    location = jobs.glue.get_job(JobName=job)["Job"]["Command"]["ScriptLocation"]
    bucket = location.split("/")[2]
    given = {name: value.replace("BUCKET", bucket) for name, value in arguments.items()}
    run = jobs.run_job(job, given)
    assert run["JobRunState"] == "FAILED"
    for word in words:
        assert word in run["ErrorMessage"]
    assert not jobs.lines("output", run["Id"])


def test_a_role_that_does_not_trust_glue_runs_nothing(jobs):
    run = jobs.run_job(jobs.job("print('ran')", Role=jobs.role()))
    assert run["JobRunState"] == "FAILED"
    assert "does not trust glue.amazonaws.com" in run["ErrorMessage"]


def test_a_job_that_does_not_exist_is_not_started(jobs):
    with pytest.raises(ClientError) as caught:
        jobs.start_run("no-such-job")
    assert caught.value.response["Error"]["Code"] == "EntityNotFoundException"


def test_a_failed_run_is_tried_again_max_retries_times(jobs):
    job = jobs.job("raise ValueError('again')", MaxRetries=1)
    first = jobs.run_job(job)
    second = jobs.wait_run(job, f"{first['Id']}_attempt_1")
    assert (first["Attempt"], second["Attempt"]) == (0, 1)
    assert second["PreviousRunId"] == first["Id"]
    listed = jobs.glue.get_job_runs(JobName=job)["JobRuns"]
    assert [run["Id"] for run in listed] == [second["Id"], first["Id"]], "newest first, no third"


def test_a_role_that_may_not_write_logs_leaves_none(jobs):
    bucket = jobs.bucket()
    jobs.s3.put_object(Bucket=bucket, Key="job.py", Body="print('unheard')")
    code = allow("s3:GetObject", on=f"arn:aws:s3:::{bucket}/job.py")
    job = jobs.job("", Role=jobs.role(code, trust=TRUST))
    run = jobs.run_job(job, {"--scriptLocation": f"s3://{bucket}/job.py"})
    assert run["JobRunState"] == "SUCCEEDED"
    assert jobs.lines("output", run["Id"]) == []


# ---- limits and stopping ---------------------------------------------------------------------

TALKS_AND_SLEEPS = """
import os, subprocess, time
subprocess.Popen(["sleep", "300"])
print(os.getpid(), flush=True)
time.sleep(300)
"""


def process_of(jobs, run_id: str) -> int:
    """Return the process group of a run that prints its id, which is to be read while it runs."""
    lines = wait_until(lambda: jobs.lines("output", run_id), 60)
    os.killpg(int(lines[0]), 0)
    return int(lines[0])


def is_gone(group: int) -> bool:
    """Whether no process of the group is left: neither Python nor the JVM."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_stopped_run_ends_with_all_its_processes(jobs):
    job = jobs.job(TALKS_AND_SLEEPS)
    run_id = jobs.start_run(job)
    group = process_of(jobs, run_id)
    begun = time.monotonic()
    stopped = jobs.glue.batch_stop_job_run(JobName=job, JobRunIds=[run_id, "jr_none"])
    assert time.monotonic() - begun < 10, "nothing holds its output open"
    assert [done["JobRunId"] for done in stopped["SuccessfulSubmissions"]] == [run_id]
    assert stopped["Errors"][0]["ErrorDetail"]["ErrorCode"] == "EntityNotFoundException"
    run = jobs.wait_run(job, run_id, seconds=10)
    assert run["JobRunState"] == "STOPPED"
    wait_until(lambda: is_gone(group))


def test_no_more_runs_at_once_than_the_job_allows(jobs):
    job = jobs.job(TALKS_AND_SLEEPS, ExecutionProperty={"MaxConcurrentRuns": 2})
    assert jobs.glue.get_job(JobName=job)["Job"]["ExecutionProperty"]["MaxConcurrentRuns"] == 2
    runs = [jobs.start_run(job), jobs.start_run(job)]
    with pytest.raises(ClientError) as caught:
        jobs.start_run(job)
    assert caught.value.response["Error"]["Code"] == "ConcurrentRunsExceededException"
    jobs.glue.batch_stop_job_run(JobName=job, JobRunIds=runs)
    for run_id in runs:
        jobs.wait_run(job, run_id, seconds=20)
    again = jobs.start_run(job)
    jobs.glue.batch_stop_job_run(JobName=job, JobRunIds=[again])
    jobs.wait_run(job, again, seconds=20)


# ---- Step Functions --------------------------------------------------------------------------


def sync_machine(job: str, **fields) -> dict:
    return machine(("Run", task("glue:startJobRun.sync", {"JobName": job}, **fields)))


def test_a_state_machine_waits_for_the_run_and_returns_it(jobs):
    job = jobs.job("print('done')")
    done = jobs.run(jobs.create(sync_machine(job), MAY_RUN))
    assert done["status"] == "SUCCEEDED", done["cause"]
    run = json.loads(done["output"])
    assert run["JobRunState"] == "SUCCEEDED"
    assert run["JobName"] == job
    assert abs(run["StartedOn"] / 1000 - time.time()) < 120, "milliseconds since 1970"
    types = jobs.event_types(done["executionArn"])
    assert types.index("TaskSubmitted") < types.index("TaskSucceeded")


def test_without_sync_a_state_machine_goes_on_while_the_run_does(jobs):
    job = jobs.job(TALKS_AND_SLEEPS)
    done = jobs.run(
        jobs.create(machine(("Run", task("glue:startJobRun", {"JobName": job}))), MAY_RUN)
    )
    assert done["status"] == "SUCCEEDED", done["cause"]
    run_id = json.loads(done["output"])["JobRunId"]
    assert jobs.describe(job, run_id)["JobRunState"] in ("STARTING", "RUNNING")
    jobs.glue.batch_stop_job_run(JobName=job, JobRunIds=[run_id])
    jobs.wait_run(job, run_id, seconds=20)


def test_a_failed_run_fails_the_task_with_the_run_as_its_cause(jobs):
    job = jobs.job("raise ValueError('price is abc')")
    done = jobs.run(jobs.create(sync_machine(job), MAY_RUN))
    assert (done["status"], done["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(done["cause"])
    assert cause["JobRunState"] == "FAILED"
    assert cause["ErrorMessage"] == "ValueError: price is abc"


def test_a_task_waits_its_turn_when_all_runs_are_taken(jobs):
    job = jobs.job("import time; time.sleep(3)")
    running = jobs.start_run(job)
    retry = {
        "ErrorEquals": ["Glue.ConcurrentRunsExceededException"],
        "IntervalSeconds": 1,
        "BackoffRate": 1.0,
        "MaxAttempts": 30,
    }
    done = jobs.run(jobs.create(sync_machine(job, Retry=[retry]), MAY_RUN))
    assert done["status"] == "SUCCEEDED", done["cause"]
    assert "TaskFailed" in jobs.event_types(done["executionArn"]), "it had to wait"
    assert jobs.describe(job, running)["JobRunState"] == "SUCCEEDED"
    refused = jobs.start_run(job)
    done = jobs.run(jobs.create(sync_machine(job), MAY_RUN))
    assert done["error"] == "Glue.ConcurrentRunsExceededException"
    jobs.glue.batch_stop_job_run(JobName=job, JobRunIds=[refused])


@pytest.mark.parametrize("how", ["stop", "timeout"])
def test_a_run_ends_with_the_execution_that_waits_for_it(jobs, how):
    job = jobs.job(TALKS_AND_SLEEPS)
    seconds = {"TimeoutSeconds": 3} if how == "timeout" else {}
    execution = jobs.start(jobs.create(sync_machine(job, **seconds), MAY_RUN))
    (run,) = wait_until(lambda: jobs.glue.get_job_runs(JobName=job)["JobRuns"])
    if how == "stop":
        jobs.states.stop_execution(executionArn=execution)
    done = jobs.wait(execution)
    assert done.get("error") == (None if how == "stop" else "States.Timeout")
    assert jobs.wait_run(job, run["Id"], seconds=10)["JobRunState"] == "STOPPED"


def test_the_machines_role_must_be_allowed_to_run_the_job(jobs):
    job = jobs.job("print('ran')")
    done = jobs.run(jobs.create(sync_machine(job)))
    assert done["status"] == "FAILED"
    assert "not authorized to perform: glue:StartJobRun" in done["cause"]
    assert jobs.glue.get_job_runs(JobName=job)["JobRuns"] == []


# ---- the server's end ------------------------------------------------------------------------


def test_what_is_in_flight_ends_with_the_server_and_has_failed_at_its_return():
    with new_home() as home:
        aws = LocalAws(home, free_port())
        assert aws.run("up").returncode == 0
        try:
            jobs = Jobs(aws.session("dev"))
            job = jobs.job(TALKS_AND_SLEEPS, ExecutionProperty={"MaxConcurrentRuns": 2})
            run_id = jobs.start_run(job)
            group = process_of(jobs, run_id)
            waiting = jobs.start(jobs.create(machine(("Wait", {"Type": "Wait", "Seconds": 300}))))
            ended = jobs.run(jobs.create(machine(("Pass", {"Type": "Pass"}))))
            history = jobs.events(ended["executionArn"])
            assert "its state is kept" in aws.run("down").stderr
            wait_until(lambda: is_gone(group))
            assert aws.run("up").returncode == 0
            run = jobs.describe(job, run_id)
            assert run["JobRunState"] == "FAILED"
            assert "Local AWS was stopped" in run["ErrorMessage"]
            interrupted = jobs.wait(waiting, 1)
            assert (interrupted["status"], interrupted["error"]) == (
                "FAILED",
                "States.ServiceRestart",
            )
            assert jobs.event_types(waiting)[-1] == "ExecutionFailed"
            assert jobs.events(ended["executionArn"]) == history

            run_id = jobs.start_run(job)
            orphans = process_of(jobs, run_id)
            saved = home / "state/glue.json"
            wait_until(lambda: run_id in saved.read_text(encoding="utf-8"))
            status = json.loads(aws.run("status").stdout)
            os.kill(status["pid"], signal.SIGKILL)
            wait_until(lambda: is_gone(orphans))
            assert aws.run("up").returncode == 0
            assert jobs.describe(job, run_id)["JobRunState"] == "FAILED"
        finally:
            assert aws.run("down").returncode == 0


# Last: it has waited for its minute meanwhile.
def test_a_run_past_its_timeout_is_ended(jobs, overdue):
    job, run_id = overdue
    run = jobs.wait_run(job, run_id, seconds=90)
    assert run["JobRunState"] == "TIMEOUT"
    assert "timeout of 1 minutes" in run["ErrorMessage"]
    assert 59 <= run["ExecutionTime"] <= 75


def test_an_update_overwrites_the_whole_definition(jobs):
    job = jobs.job("", Timeout=7, DefaultArguments={"--a": "b"}, Tags={"team": "one"})
    found = jobs.glue.get_job(JobName=job)["Job"]
    update = {name: found[name] for name in ("Role", "Command", "GlueVersion", "WorkerType")}

    jobs.glue.update_job(
        JobName=job, JobUpdate=update | {"ExecutionProperty": {"MaxConcurrentRuns": 3}}
    )

    updated = jobs.glue.get_job(JobName=job)["Job"]
    assert updated["CreatedOn"] == found["CreatedOn"]
    assert updated["ExecutionProperty"] == {"MaxConcurrentRuns": 3}
    assert (updated["Timeout"], updated["DefaultArguments"]) == (2880, {})


def test_a_deleted_job_leaves_no_tags_behind(jobs):
    job = jobs.job("", Tags={"team": "one"})
    account = jobs.session.client("sts").get_caller_identity()["Account"]
    arn = f"arn:aws:glue:us-east-1:{account}:job/{job}"
    assert jobs.glue.get_tags(ResourceArn=arn)["Tags"] == {"team": "one"}
    jobs.glue.delete_job(JobName=job)
    assert jobs.glue.get_tags(ResourceArn=arn)["Tags"] == {}
