"""The state machine as it is released, on local AWS: where files, errors and notifications go.

The functions and the job are small stand-ins that succeed or fail as each test wants; S3, SNS, the
warehouse and the machine itself are the real parts.
"""

import json
import re
import uuid
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
    submitted = data_api.execute_statement(
        WorkgroupName=event["workgroup"], Database=event["database"], Sql="%s"
    )
    return {"statement_id": submitted["Id"]}
"""


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

    def run(self, source: dict[str, Any], replay: bool = False, **target: str) -> dict[str, Any]:
        """Runs a source to its end and returns the execution."""
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

        def ended():
            execution = self.states.describe_execution(executionArn=started["executionArn"])
            return execution if execution["status"] != "RUNNING" else None

        return wait_until(ended, seconds=60)

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

    def notification(self) -> dict[str, Any]:
        """Returns the message of the run's notification."""
        return json.loads(self.workshop.receive(self.queue)["Message"])


@pytest.fixture(name="pipeline")
def make_pipeline(local_aws, warehouse):
    """Makes pipelines of the codes that their functions shall have."""
    workshop = Workshop(local_aws.session("dev"))
    s3, sns = workshop.session.client("s3"), workshop.session.client("sns")
    role = workshop.role(EVERYTHING)

    def make(validate: str = ACCEPT, load_sql: str = "SELECT 1") -> Pipeline:
        bucket = workshop.bucket()
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket=bucket, Key="job.py", Body=b"print('done')")
        s3.put_object(Bucket=bucket, Key="job.whl", Body=b"")
        name = f"pipeline-{uuid.uuid4().hex[:12]}"
        workshop.session.client("glue").create_job(
            Name=name,
            Role=workshop.role(EVERYTHING, trust=trust("glue.amazonaws.com")),
            GlueVersion="5.1",
            WorkerType="G.1X",
            NumberOfWorkers=2,
            Command={"Name": "glueetl", "ScriptLocation": f"s3://{bucket}/job.py"},
        )
        workshop.session.client("glue").create_database(DatabaseInput={"Name": name})
        workshop.session.client("glue").create_table(DatabaseName=name, TableInput=TABLE)
        topic = sns.create_topic(Name=name)["TopicArn"]
        queue, queue_arn = workshop.queue(Policy=json.dumps(FROM_TOPICS))
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
        values = {
            "ValidateInputArn": workshop.function(validate, role),
            "CheckQualityArn": workshop.function(COUNT, role),
            "LoadWarehouseArn": workshop.function(LOAD % load_sql, role),
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
        machine = workshop.session.client("stepfunctions").create_state_machine(
            name=name,
            definition=impatient(render(DEFINITION.read_text(encoding="utf-8"), values)),
            roleArn=workshop.role(EVERYTHING, trust=trust("states.amazonaws.com")),
        )["stateMachineArn"]
        return Pipeline(workshop, machine, bucket, queue, topic)

    return make


def impatient(definition: str) -> str:
    """Returns the definition with one retry everywhere, for tests of what does not come back."""
    return re.sub(r'"MaxAttempts": [1-9]\d*', '"MaxAttempts": 1', definition)


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
    made = pipeline(load_sql="SELECT 1 / 0")

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
    assert storage == {**TABLE["StorageDescriptor"], "Location": "s3://b/out/loaded/"}
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
    made = pipeline(load_sql="SELECT 1 / 0")

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
