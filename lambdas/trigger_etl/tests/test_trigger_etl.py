"""trigger_etl: one execution for each object, whatever happens to its events."""

import json

import pytest
from botocore.exceptions import ClientError
from moto.stepfunctions.models import stepfunctions_backends
from pipeline_common import aws
from pipeline_common.errors import ConfigurationError
from pipeline_common.run_names import run_id
from trigger_etl import handler

KEY = "data/in/Products_20170115.csv"
ARCHIVED = "data/archive/products/2017-01-15/Products_20170115.csv"
ACCOUNT, REGION = "123456789012", "us-east-1"
ALIAS = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:etl:live"


@pytest.fixture(name="machine", autouse=True)
def state_machine(monkeypatch):
    """A state machine, started through its alias; gives its executions, in order."""
    monkeypatch.setenv("STATE_MACHINE_ALIAS_ARN", ALIAS)
    states = aws.client("stepfunctions")
    states.create_state_machine(
        name="etl", definition="{}", roleArn=f"arn:aws:iam::{ACCOUNT}:role/etl"
    )

    def without_alias(params, **_kwargs):
        # moto knows no aliases: what is tested is that the function uses one.
        assert params["stateMachineArn"] == ALIAS
        params["stateMachineArn"] = ALIAS.removesuffix(":live")

    states.meta.events.register("provide-client-params.sfn.StartExecution", without_alias)
    yield stepfunctions_backends[ACCOUNT][REGION].state_machines[0].executions
    states.meta.events.unregister("provide-client-params.sfn.StartExecution", without_alias)


def archive(bucket, execution):
    """Ends an execution as one that has archived its file."""
    metadata = {"run-id": execution.name}
    bucket.s3.put_object(Bucket="data", Key=ARCHIVED, Body=b"", Metadata=metadata)
    execution.output = json.dumps({"sources": [{"archive_key": ARCHIVED}]})
    execution.status = "SUCCEEDED"


def event(source, **changes):
    """Returns EventBridge's event for an object, as S3 sends it."""
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {
            "bucket": {"name": source["bucket"]},
            "object": {
                "key": source["key"],
                "size": source["size"],
                "etag": "an ETag that nobody reads",
                "version-id": source["version_id"],
                **changes,
            },
        },
    }


def test_starts_the_exact_version_under_its_run_id(bucket, context, machine):
    source = bucket.put(KEY, b"old")
    bucket.put(KEY, b"newer")

    outcome = handler(event(source), context)

    name = run_id(KEY, source["content_id"])
    assert outcome == {"outcome": "started", "run_id": name}
    assert [execution.name for execution in machine] == [name]
    head = bucket.s3.head_object(Bucket="data", Key=KEY, VersionId=source["version_id"])
    assert json.loads(machine[0].execution_input) == {
        "run_id": name,
        "sources": [
            {
                **source,
                "arrived_at": f"{head['LastModified']:%Y-%m-%dT%H:%M:%SZ}",
                "size": 3,
                "copy_source": f"data/{KEY}?versionId={source['version_id']}",
            }
        ],
        "target": {
            "schema": "public",
            "archive_prefix": "data/archive/",
            "failed_prefix": "data/failed/",
        },
    }


def test_a_key_with_spaces_and_unicode_is_encoded_for_s3_only(bucket, context, machine):
    source = bucket.put("data/in/a+b/Größe %41 1.csv", b"x")

    handler(event(source), context)

    [started] = json.loads(machine[0].execution_input)["sources"]
    assert (started["key"], started["name"]) == (source["key"], "Größe %41 1.csv")
    encoded = "data/data/in/a%2Bb/Gr%C3%B6%C3%9Fe%20%2541%201.csv"
    assert started["copy_source"] == f"{encoded}?versionId={source['version_id']}"


def test_a_repeated_event_starts_nothing(bucket, context, machine):
    source = bucket.put(KEY, b"x")

    handler(event(source), context)
    assert handler(event(source), context)["outcome"] == "started"  # the same execution's answer

    assert len(machine) == 1 and bucket.versions(KEY) == [source["version_id"]]


def test_an_event_of_an_object_that_was_moved_starts_nothing(bucket, context, machine):
    source = bucket.put(KEY, b"x")
    bucket.s3.delete_object(Bucket="data", Key=KEY, VersionId=source["version_id"])

    assert handler(event(source), context) == {"outcome": "already_gone"}
    assert machine == []


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_a_file_whose_run_failed_gets_another_attempt(bucket, context, machine, status):
    source = bucket.put(KEY, b"x")
    handler(event(source), context)
    machine[0].status = status

    again = bucket.put(KEY, b"x")
    outcome = handler(event(again), context)

    assert outcome == {"outcome": "started", "run_id": run_id(KEY, source["content_id"], attempt=2)}
    assert json.loads(machine[1].execution_input)["sources"][0]["version_id"] == again["version_id"]


@pytest.mark.parametrize(
    "status, outcome", [("SUCCEEDED", "already_loaded"), ("RUNNING", "already_running")]
)
def test_the_same_bytes_again_are_cleared_away(bucket, context, machine, status, outcome):
    source = bucket.put(KEY, b"x")
    handler(event(source), context)
    archive(bucket, machine[0])
    machine[0].status = status

    again = bucket.put(KEY, b"x")

    assert handler(event(again), context) == {
        "outcome": outcome,
        "run_id": run_id(KEY, source["content_id"]),
    }
    # The first run's own version is that run's to move.
    assert len(machine) == 1 and bucket.versions(KEY) == [source["version_id"]]


def test_the_same_bytes_after_others_are_loaded_again(bucket, context, machine):
    first, others = bucket.put(KEY, b"x"), bucket.put(KEY, b"y")
    for source, execution in ((first, 0), (others, 1)):
        handler(event(source), context)
        archive(bucket, machine[execution])
        bucket.s3.delete_object(Bucket="data", Key=KEY, VersionId=source["version_id"])

    again = bucket.put(KEY, b"x")
    outcome = handler(event(again), context)

    assert outcome == {"outcome": "started", "run_id": run_id(KEY, first["content_id"], attempt=2)}
    assert json.loads(machine[2].execution_input)["sources"][0]["version_id"] == again["version_id"]

    # Once more, with nothing in between: they are what was loaded last, by the second run of them.
    archive(bucket, machine[2])
    once_more = bucket.put(KEY, b"x")
    assert handler(event(once_more), context)["outcome"] == "already_loaded"
    assert len(machine) == 3 and once_more["version_id"] not in bucket.versions(KEY)


@pytest.mark.parametrize("status", ["SUCCEEDED", "RUNNING"])
def test_the_same_bytes_after_others_that_still_wait(bucket, context, machine, status):
    first = bucket.put(KEY, b"x")
    handler(event(first), context)
    archive(bucket, machine[0])
    machine[0].status = status
    bucket.put(KEY, b"y")
    bucket.put(f"{KEY}.csv", b"another key that begins alike")

    again = bucket.put(KEY, b"x")

    assert handler(event(again), context)["run_id"] == run_id(KEY, first["content_id"], attempt=2)


def test_the_same_bytes_as_a_file_that_is_no_longer_kept(bucket, context, machine):
    first = bucket.put(KEY, b"x")
    handler(event(first), context)
    archive(bucket, machine[0])
    bucket.s3.delete_object(Bucket="data", Key=ARCHIVED)

    assert handler(event(bucket.put(KEY, b"x")), context)["outcome"] == "started"


def test_the_version_of_a_running_run_is_left_to_it(bucket, context, machine):
    source = bucket.put(KEY, b"x")
    handler(event(source), context)
    machine[0].execution_input += " "  # the same version under another input: another release's

    assert handler(event(source), context)["outcome"] == "already_running"
    assert bucket.versions(KEY) == [source["version_id"]]


def test_a_put_without_sha256_is_known_by_its_etag(bucket, context, machine):
    put = bucket.s3.put_object(Bucket="data", Key=KEY, Body=b"x", ChecksumAlgorithm="CRC32")
    source = {"bucket": "data", "key": KEY, "size": 1, "version_id": put["VersionId"]}

    handler(event(source), context)

    assert [execution.name for execution in machine] == [run_id(KEY, put["ETag"].strip('"'))]


def test_changed_bytes_under_the_same_name_get_a_run_of_their_own(bucket, context, machine):
    handler(event(bucket.put(KEY, b"x")), context)
    handler(event(bucket.put(KEY, b"y")), context)

    assert len({execution.name for execution in machine}) == 2


@pytest.mark.parametrize(
    "key, outcome",
    [
        ("data/in/", "folder_marker"),
        ("data/in/products/", "folder_marker"),
        ("data/archive/products/2017-01-15/Products_20170115.csv", "not_in_inbox"),
    ],
)
def test_what_is_no_new_file_is_ignored(bucket, context, machine, capsys, key, outcome):
    assert handler(event(bucket.put(key, b"")), context) == {"outcome": outcome}
    assert machine == []
    assert json.loads(capsys.readouterr().out.splitlines()[0])["key"] == key


def test_a_bucket_without_versions_is_refused(bucket, context):
    unversioned = event(bucket.put(KEY, b"x"))
    del unversioned["detail"]["object"]["version-id"]

    with pytest.raises(ConfigurationError, match="bucket data is not versioned"):
        handler(unversioned, context)


def test_endless_attempts_end(bucket, context, machine, monkeypatch):
    monkeypatch.setattr("trigger_etl.MAX_ATTEMPTS", 1)
    source = bucket.put(KEY, b"x")
    handler(event(source), context)
    machine[0].status = "FAILED"

    with pytest.raises(ConfigurationError, match="has had 1 runs"):
        handler(event(source), context)


def test_other_errors_of_aws_pass_so_that_the_event_is_retried(bucket, context, monkeypatch):
    source = bucket.put(KEY, b"x")
    states = aws.client("stepfunctions")
    states.delete_state_machine(stateMachineArn=ALIAS.removesuffix(":live"))
    with pytest.raises(ClientError, match="StateMachineDoesNotExist"):
        handler(event(source), context)

    def denied(**_arguments):
        raise ClientError({"Error": {"Code": "403"}}, "HeadObject")

    monkeypatch.setattr(aws.client("s3"), "head_object", denied)
    with pytest.raises(ClientError, match="403"):
        handler(event(source), context)
