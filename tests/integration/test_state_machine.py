"""The state machine as it is released, on local AWS: where files and notifications go."""

import json
import re

import pytest
from tests.integration.state_machine import (
    ACCEPT,
    KEY,
    LOAD,
    NAME,
    REFUSE,
    TABLE,
    UNSTAGED,
)


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
