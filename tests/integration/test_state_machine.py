"""The state machine as it is released, on local AWS: where files, errors and notifications go.

The functions and the job are small stand-ins that succeed or fail as each test wants; S3, SNS, the
warehouse and the machine itself are the real parts.
"""

import contextlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ops.release.render import render
from tests.localaws.workshop import TRUST, Workshop, wait_until

DEFINITION = Path(__file__).resolve().parents[2] / "step-functions/etl_pipeline.asl.json"
NAME = "Größe 1.csv"
KEY = f"data/in/{NAME}"
FROM_TOPICS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": "*",
        }
    ],
}
TABLE = {
    "Name": "products",
    "PartitionKeys": [{"Name": "_run_date", "Type": "date"}, {"Name": "_run_id", "Type": "string"}],
    "StorageDescriptor": {
        "Columns": [{"Name": "product_id", "Type": "bigint"}],
        "Location": "s3://b/",
    },
}
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}

ACCEPT = """
import boto3

def handler(event, context):
    [source] = event["sources"]
    staged = f"data/staging/{event['run_id']}/a.csv"
    boto3.client("s3").put_object(Bucket=source["bucket"], Key=staged, Body=b"as staged")
    run = {name: event[name] for name in ("run_id", "release", "config_uri")}
    return {
        **run, "dataset": "products", "run_date": "2017-01-15", "source_file_name": "a.csv",
        "schema": event["target"]["schema"], "table": "products",
        "source_prefix": "s3://b/in/", "output_prefix": "s3://b/out/",
        "history_prefix": "s3://b/history/", "page_uri": "s3://b/out/report.html",
        "sources": [{
            **source,
            "staging_copy_source": f"{source['bucket']}/{staged}",
            "archive_key": f"data/archive/{source['name']}",
        }],
    }
"""
REFUSE = """
class InvalidSourceFile(Exception):
    pass

def handler(event, context):
    raise InvalidSourceFile("a.csv has no header: send it again.")
"""
UNSTAGED = ACCEPT.replace("put_object", "head_bucket").replace(
    ', Key=staged, Body=b"as staged"', ""
)
COUNT = """
def handler(event, context):
    counts = {"rows_in": 3, "loaded": 1, "rejected": 1, "superseded": 1}
    told = {"warnings": ["brand is odd"], "rules": []}
    return {**counts, **told, "rejected_by_reason": {"no price": 1}}
"""
LOAD = """
import boto3

def handler(event, context):
    data_api = boto3.client("redshift-data")
    if event["action"] == "describe":
        statement = data_api.describe_statement(Id=event["statement_id"])
        return {"status": statement["Status"], "error": statement.get("Error", "")}
    if event["action"] == "cancel":
        return {"cancelled": data_api.cancel_statement(Id=event["statement_id"])["Status"]}
    submitted = data_api.execute_statement(
        WorkgroupName=event["workgroup"], Database=event["database"], Sql="%s"
    )
    return {"statement_id": submitted["Id"]}
"""
RAISE = """
def handler(event, context):
    raise type("%s", (Exception,), {})("brand is empty in 9 rows of 10.")
"""
SLEEP = """
import time

def handler(event, context):
    time.sleep(20)
"""
# Each action of a function raises these errors, one at each call, before it does what it is for.
FIRST_RAISE = """
import os
import boto3

act, errors = handler, %r

def handler(event, context):
    s3, bucket = boto3.client("s3"), os.environ["BUCKET"]
    calls = f"calls/{context.function_name}/{event.get('action', 'invoke')}/"
    number = s3.list_objects_v2(Bucket=bucket, Prefix=calls)["KeyCount"]
    s3.put_object(Bucket=bucket, Key=f"{calls}{number}", Body=b"")
    if number < len(errors):
        raise type(errors[number], (Exception,), {})("not now")
    return act(event, context)
"""
SLOW_TO_DESCRIBE = """
import time

act = handler

def handler(event, context):
    time.sleep(20 if event["action"] == "describe" else 0)
    return act(event, context)
"""
SLOW_JOB = "import time\ntime.sleep(60)"
# So that a load's hour takes seconds. Each number stands once in the definition.
SHORTER = {
    '"Seconds": 15,': '"Seconds": 1,',
    "$polls < 30 ": "$polls < 2 ",
    "$polls = 270 ": "$polls = 5 ",
    "$polls >= 300 ": "$polls >= 6 ",
}


def trust(service: str) -> dict[str, Any]:
    """Returns a trust policy for a service."""
    return json.loads(json.dumps(TRUST).replace("lambda.amazonaws.com", service))


@dataclass
class Pipeline:
    """A rendered state machine, its bucket and the queue that gets its notifications."""

    workshop: Workshop
    machine: str
    bucket: str
    queue: str
    topic: str

    def __post_init__(self):
        self.s3 = self.workshop.session.client("s3")
        self.states = self.workshop.session.client("stepfunctions")

    def put(self) -> dict[str, Any]:
        """Puts a file into the inbox and returns it as a source."""
        version = self.s3.put_object(Bucket=self.bucket, Key=KEY, Body=b"as sent")["VersionId"]
        quoted = "data/in/Gr%C3%B6%C3%9Fe%201.csv"
        return {
            "bucket": self.bucket,
            "key": KEY,
            "version_id": version,
            "arrived_at": "2017-01-16T02:00:03Z",
            "name": NAME,
            "copy_source": f"{self.bucket}/{quoted}?versionId={version}",
        }

    def start(self, source: dict[str, Any], replay: bool = False, **target: str) -> str:
        """Starts a source's execution and returns its ARN."""
        places = {"archive_prefix": "data/archive/", "failed_prefix": "data/failed/"}
        started = self.states.start_execution(
            stateMachineArn=self.machine,
            name="run-1",
            input=json.dumps(
                {
                    "run_id": "run-1",
                    "sources": [source],
                    "target": {"schema": "public", **({} if replay else places), **target},
                }
            ),
        )
        return started["executionArn"]

    def end(self, execution: str) -> dict[str, Any]:
        """Waits for an execution's end and returns the execution."""

        def ended():
            described = self.states.describe_execution(executionArn=execution)
            return described if described["status"] != "RUNNING" else None

        return wait_until(ended, seconds=60)

    def run(self, source: dict[str, Any], replay: bool = False, **target: str) -> dict[str, Any]:
        """Runs a source to its end and returns the execution."""
        return self.end(self.start(source, replay, **target))

    def events(self, execution: str) -> list[dict[str, Any]]:
        """Returns the execution's history so far."""
        pages = self.states.get_paginator("get_execution_history")
        found = pages.paginate(executionArn=execution)
        return [event for page in found for event in page["events"]]

    def entered(self, execution: str) -> list[str]:
        """Returns the names of the states that the execution has entered, in order."""
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in self.events(execution)
            if "stateEnteredEventDetails" in event
        ]

    def errors(self, execution: str) -> list[str]:
        """Returns the errors of each attempt of a task that failed, in order."""
        kinds = ("taskFailedEventDetails", "taskTimedOutEventDetails")
        return [
            event[kind]["error"]
            for event in self.events(execution)
            for kind in kinds
            if kind in event
        ]

    def keys(self) -> list[str]:
        """Returns the keys of the current objects, without the run's own copies."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="data/").get("Contents", [])
        return [item["Key"] for item in listed if not item["Key"].startswith("data/staging/")]

    def read(self, key: str) -> bytes:
        """Returns an object's bytes."""
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    @property
    def catalog(self) -> str:
        """The Data Catalog's database: it is called as the machine is."""
        return self.machine.rpartition(":")[2]

    @property
    def glue(self):
        """The client of the Data Catalog."""
        return self.workshop.session.client("glue")

    def partitions(self) -> list[dict[str, Any]]:
        """Returns the loads that the Data Catalog has of the table."""
        found = self.glue.get_partitions(DatabaseName=self.catalog, TableName="products")
        return found["Partitions"]

    def job_runs(self) -> list[dict[str, Any]]:
        """Returns the runs of the pipeline's job, which is called as the machine is."""
        return self.glue.get_job_runs(JobName=self.catalog)["JobRuns"]

    def notification(self) -> dict[str, Any]:
        """Returns the message of the run's notification."""
        return json.loads(self.workshop.receive(self.queue)["Message"])

    def failure(self) -> dict[str, Any]:
        """Returns the reason beside the file that failed, once the file and the notification are
        seen to agree with it."""
        place = f"data/failed/run-1/{NAME}"
        assert self.keys() == [place, f"{place}.reason.json"]
        assert self.read(place) == b"as sent"
        reason = json.loads(self.read(f"{place}.reason.json"))
        told = self.notification()
        assert told["files"] == [{"file": KEY, "moved_to": place}]
        for name in ("state", "error", "cause"):
            assert told[name] == reason[name]
        return reason


@pytest.fixture(name="pipeline")
def make_pipeline(local_aws, warehouse):
    """Makes pipelines of the codes that their functions and their job shall have.

    What is `denied` is denied to all of their roles. The state `timeout_of` has one second.
    """
    workshop = Workshop(local_aws.session("dev"))
    s3, sns = workshop.session.client("s3"), workshop.session.client("sns")
    glue = workshop.session.client("glue")

    def make(
        validate: str = ACCEPT,
        *,
        check: str = COUNT,
        load: str = LOAD % "SELECT 1",
        job: str = "print('done')",
        denied: tuple[str, str] | None = None,
        timeout_of: str = "",
    ) -> Pipeline:
        statements = [EVERYTHING, *([deny(*denied)] if denied else [])]
        bucket = workshop.bucket()
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket=bucket, Key="job.py", Body=job.encode())
        s3.put_object(Bucket=bucket, Key="job.whl", Body=b"")
        name = f"pipeline-{uuid.uuid4().hex[:12]}"
        glue.create_job(
            Name=name,
            Role=workshop.role(*statements, trust=trust("glue.amazonaws.com")),
            GlueVersion="5.1",
            WorkerType="G.1X",
            NumberOfWorkers=2,
            Command={"Name": "glueetl", "ScriptLocation": f"s3://{bucket}/job.py"},
        )
        glue.create_database(DatabaseInput={"Name": name})
        glue.create_table(DatabaseName=name, TableInput=TABLE)
        topic = sns.create_topic(Name=name)["TopicArn"]
        queue = workshop.queue(Policy=json.dumps(FROM_TOPICS))
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue[1])
        settings = {
            "role": workshop.role(*statements),
            "Environment": {"Variables": {"BUCKET": bucket}},
            "Timeout": 30,
        }
        values = {
            "ValidateInputArn": workshop.function(validate, **settings),
            "CheckQualityArn": workshop.function(check, **settings),
            "LoadWarehouseArn": workshop.function(load, **settings),
            "GlueJobName": name,
            "GlueScriptUri": f"s3://{bucket}/job.py",
            "GlueWheelUri": f"s3://{bucket}/job.whl",
            "ConfigUri": f"s3://{bucket}/config.json",
            "ReleaseVersion": "1",
            "NotificationsTopicArn": topic,
            "DataBucket": bucket,
            "WorkgroupName": warehouse.workgroup,
            "Database": warehouse.database,
            "CatalogDatabase": name,
        }
        rendered = render(DEFINITION.read_text(encoding="utf-8"), values)
        machine = workshop.session.client("stepfunctions").create_state_machine(
            name=name,
            definition=impatient(rendered, timeout_of),
            roleArn=workshop.role(*statements, trust=trust("states.amazonaws.com")),
        )["stateMachineArn"]
        return Pipeline(workshop, machine, bucket, queue[0], topic)

    return make


def deny(action: str, resource: str) -> dict[str, str]:
    """Returns a statement of a policy that denies an action."""
    return {"Effect": "Deny", "Action": action, "Resource": resource}


def impatient(definition: str, timeout_of: str = "") -> str:
    """Returns the definition with one retry everywhere and seconds in an hour, for tests of what
    does not come back; the state `timeout_of` has one second."""
    for long, short in SHORTER.items():
        assert definition.count(long) == 1, long
        definition = definition.replace(long, short)
    machine = json.loads(re.sub(r'"MaxAttempts": [1-9]\d*', '"MaxAttempts": 1', definition))
    if timeout_of:
        machine["States"][timeout_of]["TimeoutSeconds"] = 1
    return json.dumps(machine)


@contextlib.contextmanager
def locked_table(warehouse, schema: str) -> Iterator[str]:
    """Gives an SQL statement that adds a row to a table that is locked: it waits for the end."""
    warehouse.run(
        f"CREATE TABLE {schema}.t (a INTEGER)",
        f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC",
        f"GRANT INSERT ON {schema}.t TO PUBLIC",
    )
    lock = warehouse.submit(f"LOCK TABLE {schema}.t", "SELECT pg_sleep(120)")
    wait_until(lambda: warehouse.client.describe_statement(Id=lock)["Status"] == "STARTED")
    try:
        yield f"INSERT INTO {schema}.t VALUES (1)"
    finally:
        warehouse.client.cancel_statement(Id=lock)
        warehouse.wait(lock)


def test_a_loaded_file_is_archived_as_it_was_staged(pipeline):
    made = pipeline()
    source = made.put()
    newer = made.s3.put_object(Bucket=made.bucket, Key=KEY, Body=b"a newer file")["VersionId"]

    ended = made.run(source)

    assert ended["status"] == "SUCCEEDED", ended["cause"]
    output = json.loads(ended["output"])
    assert (output["rows_in"], output["loaded"], output["rejected"]) == (3, 1, 1)
    assert made.read(f"data/archive/{NAME}") == b"as staged"
    archived = made.s3.head_object(Bucket=made.bucket, Key=f"data/archive/{NAME}")
    assert archived["Metadata"] == {"arrived-at": "2017-01-16T02:00:03Z", "run-id": "run-1"}
    # The newer file has a run of its own: it stays.
    assert made.s3.head_object(Bucket=made.bucket, Key=KEY)["VersionId"] == newer
    notification = made.notification()
    assert (notification["status"], notification["loaded"]) == ("loaded", 1)
    assert notification["files"] == [f"data/archive/{NAME}"]


@pytest.mark.parametrize("validate, status", [(ACCEPT, "SUCCEEDED"), (REFUSE, "FAILED")])
def test_a_replayed_file_stays_where_it_is(pipeline, validate, status):
    made = pipeline(validate)
    source = made.put()

    ended = made.run(source, replay=True)

    assert ended["status"] == status
    assert made.keys() == [KEY]
    assert made.s3.head_object(Bucket=made.bucket, Key=KEY)["VersionId"] == source["version_id"]
    assert made.notification()["status"] == {"SUCCEEDED": "loaded", "FAILED": "failed"}[status]


def test_a_refused_file_is_set_aside_with_its_reason(pipeline):
    made = pipeline(REFUSE)

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidSourceFile")
    assert ended["cause"] == "a.csv has no header: send it again."
    place = f"data/failed/run-1/{NAME}"
    assert made.keys() == [place, f"{place}.reason.json"]
    assert made.read(place) == b"as sent"
    reason = json.loads(made.read(f"{place}.reason.json"))
    assert reason["error"] == "InvalidSourceFile" and reason["cause"] == ended["cause"]
    assert (reason["state"], reason["source"]) == ("ValidateInput", KEY)
    notification = made.notification()
    assert (notification["status"], notification["cause"]) == ("failed", ended["cause"])
    assert notification["files"] == [{"file": KEY, "moved_to": place}]


def test_a_file_that_vanished_does_not_hide_why_its_run_failed(pipeline):
    made = pipeline(REFUSE)
    source = made.put()
    made.s3.delete_object(Bucket=made.bucket, Key=KEY, VersionId=source["version_id"])

    ended = made.run(source)

    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidSourceFile")
    notification = made.notification()
    assert notification["error"] == "InvalidSourceFile"
    [file] = notification["files"]
    assert file["file"] == KEY and file["not_moved"].startswith("S3.")


def test_without_a_topic_the_run_still_ends_with_its_own_error(pipeline):
    made = pipeline(REFUSE)
    made.workshop.session.client("sns").delete_topic(TopicArn=made.topic)

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidSourceFile")
    assert made.keys()[0] == f"data/failed/run-1/{NAME}"


def test_a_load_that_was_rolled_back_is_a_failure_of_the_warehouse(pipeline):
    made = pipeline(load=LOAD % "SELECT 1 / 0")

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "WarehouseError")
    assert re.search("rolled back.*divide by zero", ended["cause"], re.IGNORECASE)
    assert made.keys()[0] == f"data/failed/run-1/{NAME}"
    assert made.notification()["state"] == "LoadWarehouse"


def test_loaded_rows_are_never_said_to_have_failed(pipeline):
    made = pipeline(UNSTAGED)  # there is nothing to archive

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "LoadedButUnfinished")
    assert ended["cause"].startswith("The rows of run-1 are loaded, but ArchiveSource failed")
    assert made.keys() == [KEY]
    notification = made.notification()
    assert (notification["status"], notification["loaded"]) == ("loaded but not archived", 1)
    assert notification["files"] == [{"file": KEY, "place": f"data/archive/{NAME}"}]


@pytest.mark.parametrize("replay", [False, True])
def test_a_load_becomes_a_partition_that_says_what_it_came_from(pipeline, replay):
    made = pipeline()

    ended = made.run(made.put(), replay)

    assert ended["status"] == "SUCCEEDED", ended["cause"]
    (partition,) = made.partitions()
    assert partition["Values"] == ["2017-01-15", "run-1"]
    storage = partition["StorageDescriptor"]
    assert storage == {**TABLE["StorageDescriptor"], "Location": "s3://b/out/rows/outcome=loaded/"}
    assert (partition["Parameters"]["release"], partition["Parameters"]["source_files"]) == (
        "1",
        NAME,
    )
    assert partition["Parameters"]["job_run_id"].startswith("jr_")


@pytest.mark.parametrize("target", [{"schema": "smoke"}, {"table": "products_anew"}])
def test_what_no_reader_shall_see_is_in_no_catalog(pipeline, target):
    made = pipeline()

    assert made.run(made.put(), **target)["status"] == "SUCCEEDED"
    assert made.partitions() == []


def test_a_load_that_failed_is_in_no_catalog(pipeline):
    made = pipeline(load=LOAD % "SELECT 1 / 0")

    assert made.run(made.put())["status"] == "FAILED"
    assert made.partitions() == []


def test_a_partition_that_an_earlier_attempt_has_added_is_no_fault(pipeline):
    made = pipeline()
    made.glue.create_partition(
        DatabaseName=made.catalog,
        TableName="products",
        PartitionInput={"Values": ["2017-01-15", "run-1"]},
    )

    assert made.run(made.put())["status"] == "SUCCEEDED"


def test_rows_that_no_catalog_shows_are_still_said_to_be_loaded(pipeline):
    made = pipeline()
    made.glue.delete_table(DatabaseName=made.catalog, Name="products")

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "LoadedButUnfinished")
    assert "DescribeCatalogTable failed with Glue.EntityNotFoundException" in ended["cause"]
    assert made.keys() == [f"data/archive/{NAME}"]
    notification = made.notification()
    assert (notification["status"], notification["loaded"]) == (
        "loaded but not in the Data Catalog",
        1,
    )


@pytest.mark.parametrize(
    "job, cause",
    [
        ("raise ValueError('Price ($) is no column')", "Price ($) is no column"),
        ("import sys\nsys.exit(3)", "3"),
    ],
)
def test_a_job_that_fails_says_why_in_its_own_words(pipeline, job, cause):
    made = pipeline(job=job)

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    (run,) = made.job_runs()
    assert run["JobRunState"] == "FAILED"
    assert ended["cause"] == run["ErrorMessage"] and cause in ended["cause"]
    reason = made.failure()
    assert (reason["state"], reason["cause"]) == ("StartGlueJob", ended["cause"])


def test_a_job_run_that_somebody_stops_is_said_to_be_stopped(pipeline):
    made = pipeline(job=SLOW_JOB)
    execution = made.start(made.put())
    (run,) = wait_until(
        lambda: [run for run in made.job_runs() if run["JobRunState"] == "RUNNING"], seconds=30
    )

    made.glue.batch_stop_job_run(JobName=made.catalog, JobRunIds=[run["Id"]])

    assert made.end(execution)["status"] == "FAILED"
    reason = made.failure()
    assert (reason["state"], reason["error"]) == ("StartGlueJob", "States.TaskFailed")
    assert reason["cause"] == "the job run ended as STOPPED"


def test_a_job_that_cannot_be_started_says_why(pipeline):
    made = pipeline(denied=("glue:StartJobRun", "*"))

    assert made.run(made.put())["status"] == "FAILED"
    reason = made.failure()
    assert (reason["state"], reason["error"]) == ("StartGlueJob", "Glue.AccessDeniedException")
    assert "glue:StartJobRun" in reason["cause"]
    assert not made.job_runs()


@pytest.mark.parametrize(
    "error, cause",
    [
        ("QualityBreach", "brand is empty in 9 rows of 10."),
        ("ZeroDivisionError", '"errorMessage": "brand is empty in 9 rows of 10."'),
    ],
)
def test_rows_that_are_not_as_they_shall_be_are_not_loaded(pipeline, error, cause):
    made = pipeline(check=RAISE % error)
    execution = made.start(made.put())

    ended = made.end(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", error)
    reason = made.failure()
    assert (reason["state"], reason["error"]) == ("CheckQuality", error)
    # What was foreseen is told alone; what was not, with its traceback.
    assert reason["cause"] == cause or (error != "QualityBreach" and cause in reason["cause"])
    # It was not tried again: that would change nothing.
    assert made.errors(execution) == [error]
    assert "LoadWarehouse" not in made.entered(execution)


def test_what_passes_is_tried_again_until_it_has_passed(pipeline):
    lambdas, others = "Lambda.ServiceException", "ClientError"
    warehouses = "ActiveStatementsExceededException"
    made = pipeline(
        ACCEPT + FIRST_RAISE % [lambdas, others],
        check=COUNT + FIRST_RAISE % [others, lambdas],
        load=LOAD % "SELECT 1" + FIRST_RAISE % [lambdas, warehouses, others],
    )
    execution = made.start(made.put())

    ended = made.end(execution)

    assert ended["status"] == "SUCCEEDED", ended["cause"]
    assert made.errors(execution) == [
        *(lambdas, others),  # ValidateInput
        *(others, lambdas),  # CheckQuality
        *(lambdas, warehouses, others),  # LoadWarehouse
        *(lambdas, warehouses, others),  # DescribeLoad
    ]
    assert made.keys() == [f"data/archive/{NAME}"]
    assert made.notification()["status"] == "loaded"


@pytest.mark.parametrize(
    "state, slow, attempts",
    [("CheckQuality", {"check": SLEEP}, 2), ("StartGlueJob", {"job": SLOW_JOB}, 1)],
)
def test_what_takes_too_long_is_given_up(pipeline, state, slow, attempts):
    made = pipeline(**slow, timeout_of=state)
    execution = made.start(made.put())

    ended = made.end(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    reason = made.failure()
    assert (reason["state"], reason["error"]) == (state, "States.Timeout")
    assert reason["cause"] == "no cause was given: see the log"
    assert made.errors(execution) == attempts * ["States.Timeout"]
    # No job goes on for a run that has ended.
    runs = 1 if state == "StartGlueJob" else 0
    wait_until(lambda: [run["JobRunState"] for run in made.job_runs()][:runs] == runs * ["STOPPED"])


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"denied": ("redshift-data:DescribeStatement", "*")}, "redshift-data:DescribeStatement"),
        (
            {"timeout_of": "DescribeLoad", "load": LOAD % "SELECT 1" + SLOW_TO_DESCRIBE},
            "States.Timeout",
        ),
    ],
)
def test_a_load_whose_end_is_not_known_is_not_said_to_have_failed(pipeline, changes, why):
    made = pipeline(**changes)

    ended = made.run(made.put())

    assert ended["status"] == "FAILED"
    reason = made.failure()
    assert reason["state"] == "DescribeLoad"
    assert reason["cause"].startswith("Whether the load was committed is not known")
    assert why in reason["cause"]


def test_a_load_that_takes_longer_is_waited_for(pipeline, warehouse, schema):
    with locked_table(warehouse, schema) as insert:
        made = pipeline(load=LOAD % insert)
        execution = made.start(made.put())
        wait_until(lambda: "WaitLonger" in made.entered(execution), seconds=60)

    ended = made.end(execution)

    assert ended["status"] == "SUCCEEDED", ended["cause"]
    # A second between two looks at first, later more.
    waits = [name for name in made.entered(execution) if name.startswith("Wait")]
    assert waits[:3] == ["WaitForLoad", "WaitForLoad", "WaitLonger"]
    assert set(waits[3:]) <= {"WaitLonger"}
    assert warehouse.run(f"SELECT COUNT(*), SUM(a) FROM {schema}.t") == [(1, 1)]


def test_a_load_that_does_not_end_is_cancelled_and_leaves_no_row(pipeline, warehouse, schema):
    with locked_table(warehouse, schema) as insert:
        made = pipeline(load=LOAD % insert)
        execution = made.start(made.put())
        ended = made.end(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", "WarehouseError")
    assert made.entered(execution).count("CancelLoad") == 1
    reason = made.failure()
    assert reason["state"] == "LoadWarehouse"
    assert reason["cause"].startswith("The load was rolled back")
    assert warehouse.run(f"SELECT COUNT(*) FROM {schema}.t") == [(0,)]


def test_a_load_that_cannot_be_cancelled_is_given_up_with_its_statement_named(
    pipeline, warehouse, schema
):
    with locked_table(warehouse, schema) as insert:
        made = pipeline(load=LOAD % insert, denied=("redshift-data:CancelStatement", "*"))
        execution = made.start(made.put())
        ended = made.end(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", "WarehouseError")
    entered = made.entered(execution)
    # The refusal is no end: it might have been cancelled, or finished, by the next look.
    assert entered[entered.index("CancelLoad") + 1 :][:2] == ["WaitLonger", "DescribeLoad"]
    assert entered.count("CancelLoad") == 1 and entered.count("DescribeLoad") == 6
    reason = made.failure()
    assert reason["state"] == "LoadWarehouse"
    assert re.search(r"look at statement [0-9a-f-]{36} before", reason["cause"])
    # Giving it up does not end it.
    wait_until(lambda: warehouse.run(f"SELECT COUNT(*) FROM {schema}.t") == [(1,)])


def test_rows_that_nobody_is_told_of_are_still_said_to_be_loaded(pipeline):
    made = pipeline()
    made.workshop.session.client("sns").delete_topic(TopicArn=made.topic)

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "LoadedButUnfinished")
    assert ended["cause"].startswith("The rows of run-1 are loaded, but NotifySuccess failed")
    # All else is done.
    assert made.keys() == [f"data/archive/{NAME}"]
    assert len(made.partitions()) == 1


def test_a_file_without_a_reason_beside_it_is_still_set_aside(pipeline):
    made = pipeline(REFUSE, denied=("s3:PutObject", "arn:aws:s3:::*/*.reason.json"))

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidSourceFile")
    place = f"data/failed/run-1/{NAME}"
    assert made.keys() == [place]
    assert made.read(place) == b"as sent"
    # The notification has the reason.
    notification = made.notification()
    assert (notification["cause"], notification["files"]) == (
        ended["cause"],
        [{"file": KEY, "moved_to": place}],
    )


def test_a_failed_file_that_cannot_leave_the_inbox_is_said_to_be_there(pipeline):
    made = pipeline(REFUSE, denied=("s3:DeleteObjectVersion", "*"))

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidSourceFile")
    assert KEY in made.keys()
    [file] = made.notification()["files"]
    assert file["file"] == KEY and file["not_moved"].startswith("S3.")
