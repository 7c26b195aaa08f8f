"""Each function and the job by itself on local AWS: as packaged, with its template's role."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ACCOUNTS, REPOSITORY
from tests.integration.cloudformation_stacks import STACKS, Deployer, load
from tests.localaws.workshop import wait_until

ENV = "prod"  # the accounts of other modules are the others
PREFIX = f"retail-pipeline-{ENV}"
ARTIFACTS, DATA = (f"{PREFIX}-{kind}-{ACCOUNTS[ENV]}" for kind in ("artifacts", "data"))
MACHINE = f"arn:aws:states:us-east-1:{ACCOUNTS[ENV]}:stateMachine:{PREFIX}-etl"
NAME = "Products_20170115.csv"
HEADER = (
    "Product@ID,Product Name!,Department,Brand,Product Category,Package Size,Price ($),Quantity,"
    "Store ID,Time"
)
ROW = "{},Milk,GROCERY,National,MILK,1 L,{},2,7,2017-01-15 08:00:00"
# The first row again, corrected, and one whose price is none.
LINES = [*(ROW.format(number, "1.25") for number in range(1, 101)), ROW.format(1, "1.35")]
CONTENT = "\n".join([HEADER, *LINES, ROW.format(101, "free"), ""]).encode()
ACCOUNT = {"rows_in": 102, "loaded": 100, "rejected": 1, "superseded": 1}
LOADED = sorted([("1", "1.35"), *((str(number), "1.25") for number in range(2, 101))])


@dataclass(frozen=True)
class Deployed:
    """The four stacks of a build, and one run's way through them, a component at a time."""

    session: boto3.Session
    version: str

    def put(self, bucket: str, key: str, content: bytes) -> str:
        """Put an object; return its version."""
        put = self.session.client("s3").put_object(Bucket=bucket, Key=key, Body=content)
        return put.get("VersionId", "")

    def read(self, uri: str) -> bytes:
        """Return an object's content."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.session.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()

    def parquet(self, prefix: str) -> list[dict[str, Any]]:
        """Return the rows of the Parquet files under a prefix."""
        bucket, _, key = prefix.removeprefix("s3://").partition("/")
        listed = self.session.client("s3").list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
        keys = [item["Key"] for item in listed if item["Key"].endswith(".parquet")]
        files = [pq.read_table(io.BytesIO(self.read(f"s3://{bucket}/{key}"))) for key in keys]
        return pa.concat_tables(files).to_pylist()

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        """Call a function; return what it answers, or its error."""
        answer = self.session.client("lambda").invoke(
            FunctionName=f"{PREFIX}-{function}", Payload=json.dumps(event)
        )
        return json.load(answer["Payload"])

    def source(self, name: str, content: bytes) -> dict[str, Any]:
        """Put a file into the inbox; return it as a run's source."""
        key = f"data/in/{name}"
        version = self.put(DATA, key, content)
        return {
            "bucket": DATA,
            "key": key,
            "version_id": version,
            "content_id": "x",
            "arrived_at": "2017-01-16T02:00:03Z",
            "size": len(content),
            "name": name,
            "copy_source": f"{DATA}/{key}?versionId={version}",
        }

    def validate(self, name: str, content: bytes, run_id: str) -> dict[str, Any]:
        """Let validate_input look at a file."""
        places = {"archive_prefix": "data/archive/", "failed_prefix": "data/failed/"}
        return self.invoke(
            "validate-input",
            {
                "run_id": run_id,
                "sources": [self.source(name, content)],
                "target": {"schema": "public", **places},
                "config_uri": f"s3://{ARTIFACTS}/releases/{self.version}/config/{ENV}.json",
                "release": self.version,
                "execution": f"arn:aws:states:us-east-1:{ACCOUNTS[ENV]}:execution:x:{run_id}",
            },
        )

    def run_job(self, run: dict[str, Any]) -> dict[str, Any]:
        """Let Glue run the job on a validated run; return the job run."""
        glue, release = self.session.client("glue"), f"s3://{ARTIFACTS}/releases/{self.version}"
        (wheel,) = (REPOSITORY / "build" / self.version / "glue").glob("*.whl")
        names = ("config_uri", "release", "run_id", "dataset", "run_date", "source_file_name")
        names += ("source_prefix", "output_prefix", "history_prefix")
        started = glue.start_job_run(
            JobName=f"{PREFIX}-etl",
            Arguments={
                "--scriptLocation": f"{release}/glue/etl_main.py",
                "--extra-py-files": f"{release}/glue/{wheel.name}",
                **{f"--{name}": run[name] for name in names},
                "--is_replay": str(run["replay"]).lower(),
            },
        )

        def ended():
            found = glue.get_job_run(JobName=f"{PREFIX}-etl", RunId=started["JobRunId"])["JobRun"]
            return found if found["JobRunState"] in ("SUCCEEDED", "FAILED") else None

        return wait_until(ended, seconds=90)


@pytest.fixture(scope="module", name="deployed")
def fixture_deployed(local_aws) -> Deployed:
    """The build of this checkout, in stacks of its own, with the warehouse's tables."""
    build = [REPOSITORY / "scripts/build.sh"]
    built = subprocess.run(build, capture_output=True, text=True, check=True)
    deployed = Deployed(local_aws.session(ENV), built.stdout.strip())
    root = REPOSITORY / "build" / deployed.version
    deployer = Deployer(deployed.session)
    for stack in STACKS:
        names = {"ProjectName": "retail-pipeline", "EnvironmentName": ENV}
        release = {"ReleaseVersion": deployed.version} if stack == "application" else {}
        deployer.deploy(f"{PREFIX}-{stack}", load(stack), names | release)
        if stack == "artifacts":
            for file in filter(Path.is_file, root.rglob("*")):
                key = f"releases/{deployed.version}/{file.relative_to(root)}"
                deployed.put(ARTIFACTS, key, file.read_bytes())
    prepare = ["-m", "ops.data.tables", "prepare", "--env", ENV]
    environment = local_aws.env | {"AWS_PROFILE": ENV, "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, *prepare], env=environment, check=True, cwd=REPOSITORY)
    return deployed


@pytest.fixture(scope="module", name="run")
def fixture_run(deployed) -> dict[str, Any]:
    """A file that validate_input has accepted."""
    return deployed.validate(NAME, CONTENT, "run-1")


@pytest.fixture(scope="module", name="job_run")
def fixture_job_run(deployed, run) -> dict[str, Any]:
    """The job's run of that file."""
    return deployed.run_job(run)


def test_validate_input_gives_the_run_a_copy_of_its_own(deployed, run):
    assert (run["dataset"], run["run_date"]) == ("products", "2017-01-15"), run
    assert deployed.read(f"{run['source_prefix']}{NAME}") == CONTENT


def test_validate_input_refuses_a_file_by_its_own_exception(deployed):
    error = deployed.validate("Products_20170116.csv", b"", "run-2")
    assert error["errorType"] == "InvalidSourceFile"
    assert "Products_20170116.csv is an empty file" in error["errorMessage"]


def test_the_job_writes_loaded_and_rejected_rows_and_their_account(deployed, run, job_run):
    assert job_run["JobRunState"] == "SUCCEEDED", job_run.get("ErrorMessage")
    loaded = deployed.parquet(f"{run['output_prefix']}rows/outcome=loaded/")
    assert sorted((str(row["product_id"]), f"{row['price']:.2f}") for row in loaded) == LOADED
    (rejected,) = deployed.parquet(f"{run['output_prefix']}rejected/")
    assert (rejected["price"], rejected["reasons"]) == ("free", ["price_not_a_decimal"])
    report = json.loads(deployed.read(run["report_uri"]))
    assert report | ACCOUNT == report
    manifest = json.loads(deployed.read(run["manifest_uri"]))
    assert manifest["entries"] and all(entry["mandatory"] for entry in manifest["entries"])


def test_a_job_that_cannot_read_its_file_says_so_and_leaves_nothing_to_load(deployed, run):
    lost = run | {"run_id": "run-3", "source_prefix": f"s3://{DATA}/data/staging/nowhere/"}
    lost["output_prefix"] = f"s3://{DATA}/data/runs/run-3/"
    failed = deployed.run_job(lost)
    assert failed["JobRunState"] == "FAILED"
    assert f"SourceReadError: {NAME}: there is no such file" in failed["ErrorMessage"]
    listed = deployed.session.client("s3").list_objects_v2(Bucket=DATA, Prefix="data/runs/run-3/")
    assert "Contents" not in listed


@pytest.mark.usefixtures("job_run")
def test_check_quality_accepts_an_account_that_adds_up_and_no_other(deployed, run):
    execution = {"execution": f"{MACHINE}:run-1"}
    checked = deployed.invoke("check-quality", run | execution)
    assert checked | ACCOUNT == checked, checked

    report = json.loads(deployed.read(run["report_uri"]))
    lost = json.dumps(report | {"loaded": 99, "run_id": "run-4"}).encode()
    deployed.put(DATA, "data/runs/run-4/report.json", lost)
    tampered = {"run_id": "run-4", "report_uri": f"s3://{DATA}/data/runs/run-4/report.json"}
    error = deployed.invoke("check-quality", run | execution | tampered)
    assert error["errorType"] == "RowAccountMismatch", error


@pytest.mark.usefixtures("job_run")
def test_load_warehouse_merges_the_runs_rows_once(deployed, run):
    checked = deployed.invoke("check-quality", run | {"execution": f"{MACHINE}:run-1"})
    load_event = (
        run
        | checked
        | {
            "job_name": f"{PREFIX}-etl",
            "job_run_id": "jr_1",
            "workgroup": PREFIX,
            "database": "warehouse",
        }
    )
    for _ in range(2):  # the second is the same statement
        submitted = deployed.invoke("load-warehouse", load_event | {"action": "submit"})
        described = wait_until(
            lambda event={"action": "describe", "run_id": "run-1", **submitted}: _ended(
                deployed.invoke("load-warehouse", event)
            )
        )
        assert described == {"status": "FINISHED", "error": ""}
    rows = query(deployed, "SELECT product_id, price, _source_file, _run_id FROM public.products")
    assert sorted((str(row[0]), f"{float(row[1]):.2f}") for row in rows) == LOADED
    assert {tuple(row[2:]) for row in rows} == {(NAME, "run-1")}
    ((history,),) = query(deployed, "SELECT count(*) FROM public.load_history")
    assert history == 1


def test_trigger_etl_starts_one_execution_for_an_event_that_comes_twice(deployed):
    states = deployed.session.client("stepfunctions")
    version = states.publish_state_machine_version(stateMachineArn=MACHINE)
    states.create_state_machine_alias(
        name="live",
        routingConfiguration=[
            {"stateMachineVersionArn": version["stateMachineVersionArn"], "weight": 100}
        ],
    )
    source = deployed.source("Products_20170117.csv", CONTENT)
    detail = {"bucket": {"name": DATA}, "object": {"key": source["key"]}}
    detail["object"]["version-id"] = source["version_id"]
    answers = [deployed.invoke("trigger-etl", {"detail": detail}) for _ in range(2)]

    started = states.list_executions(stateMachineArn=MACHINE)["executions"]
    names = [one["name"] for one in started if answers[0]["run_id"] == one["name"]]
    assert len(names) == 1 and answers[0]["outcome"] == "started", answers


def _ended(described: dict[str, Any]) -> dict[str, Any] | None:
    return described if described.get("status") not in ("SUBMITTED", "PICKED", "STARTED") else None


def query(deployed: Deployed, sql: str) -> list[list[Any]]:
    """Return the rows of a query by the warehouse's administrator."""
    data = deployed.session.client("redshift-data")
    namespace = deployed.session.client("redshift-serverless").get_namespace(namespaceName=PREFIX)
    statement = data.execute_statement(
        WorkgroupName=PREFIX,
        Database="warehouse",
        SecretArn=namespace["namespace"]["adminPasswordSecretArn"],
        Sql=sql,
    )["Id"]
    wait_until(lambda: data.describe_statement(Id=statement)["Status"] == "FINISHED")
    records = data.get_statement_result(Id=statement)["Records"]
    return [[next(iter(value.values())) for value in record] for record in records]
