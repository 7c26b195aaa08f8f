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
        "schema": event["target"]["schema"], "table": "products", "replay": False,
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
import json
import os
import boto3

def handler(event, context):
    if event["action"] == "record_failure":
        bucket, body = os.environ["BUCKET"], json.dumps(event).encode()
        boto3.client("s3").put_object(Bucket=bucket, Key="recorded.json", Body=body)
        return {}
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

    def recorded(self) -> dict[str, Any]:
        """Returns what the warehouse was asked to record of the run's failure."""
        return json.loads(self.read("recorded.json"))

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
