"""Starts one execution of the pipeline for each object that arrives in the inbox.

The execution's name comes from the object's key and content, and Step Functions gives a name to one
execution only, so that events that are repeated, late or out of order start nothing twice. The same
bytes put again start nothing either, unless others have come between under the same key.

Environment: STATE_MACHINE_ALIAS_ARN, the alias `live` of the state machine.
"""

import json
import os
import re
from datetime import UTC
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError
from pipeline_common.aws import client, error_code
from pipeline_common.errors import ConfigurationError
from pipeline_common.log import bind, logged, logger
from pipeline_common.run_names import run_id

INBOX = "data/in/"
TARGET = {"schema": "public", "archive_prefix": "data/archive/", "failed_prefix": "data/failed/"}
# Somebody who puts the same file this often needs a person, not another attempt.
MAX_ATTEMPTS = 50
GONE = {"404", "NoSuchKey", "NoSuchVersion"}


@logged
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Handles one EventBridge "Object Created" event; returns the outcome, and the run's id if
    there is a run.

    Raises ConfigurationError when the bucket is not versioned or an object has had MAX_ATTEMPTS
    runs.
    """
    bucket = event["detail"]["bucket"]["name"]
    created = event["detail"]["object"]
    key = created["key"]  # EventBridge, unlike S3's own notifications, does not URL-encode it
    bind(bucket=bucket, key=key)

    if not key.startswith(INBOX):
        return _outcome("not_in_inbox")
    if key.endswith("/"):
        return _outcome("folder_marker")
    if "version-id" not in created:
        raise ConfigurationError(
            f"The bucket {bucket} is not versioned, so a run cannot hold on to {key}: "
            "turn versioning on."
        )
    source = _source(bucket, key, created["version-id"])
    if source is None:
        return _outcome("already_gone")
    return _start(source)


def _outcome(outcome: str, **fields: Any) -> dict[str, Any]:
    logger.info(outcome, extra=fields)
    return {"outcome": outcome, **fields}


def _source(bucket: str, key: str, version_id: str) -> dict[str, Any] | None:
    """Returns the object version as an execution's source; None when an earlier run has moved
    it."""
    try:
        head = client("s3").head_object(
            Bucket=bucket, Key=key, VersionId=version_id, ChecksumMode="ENABLED"
        )
    except ClientError as error:
        if error_code(error) not in GONE:
            raise
        return None
    return {
        "bucket": bucket,
        "key": key,
        "version_id": version_id,
        "content_id": _content_id(head),
        "arrived_at": f"{head['LastModified'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "size": head["ContentLength"],
        "name": key.rsplit("/", 1)[-1],
        "copy_source": f"{quote(f'{bucket}/{key}')}?versionId={quote(version_id)}",
    }


def _content_id(head: dict[str, Any]) -> str:
    """Returns the same for the same bytes where they were put with their SHA-256, else for one put.

    Under SSE-KMS an ETag is no hash of the content: the same bytes get another one with each put.
    """
    return head.get("ChecksumSHA256") or head["ETag"].strip('"')


def _start(source: dict[str, Any]) -> dict[str, Any]:
    """Starts the run of a source under its first free name, unless the last to come under its key
    were its bytes."""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        name = run_id(source["key"], source["content_id"], attempt)
        execution_input = {"run_id": name, "sources": [source], "target": TARGET}
        bind(run_id=name, execution=_execution_arn(name))
        try:
            # The same name and input again, while that execution runs, is answered as if started.
            client("stepfunctions").start_execution(
                stateMachineArn=os.environ["STATE_MACHINE_ALIAS_ARN"],
                name=name,
                input=json.dumps(execution_input),
            )
            return _outcome("started", run_id=name)
        except ClientError as error:
            if error_code(error) != "ExecutionAlreadyExists":
                raise
        earlier = client("stepfunctions").describe_execution(executionArn=_execution_arn(name))
        if earlier["status"] in {"RUNNING", "SUCCEEDED"} and not _has_successor(earlier, source):
            return _leave_to(earlier, source)
    raise ConfigurationError(
        f"{source['key']} with content {source['content_id']} has had {MAX_ATTEMPTS} runs: "
        "correct the file, or the release, before it is put again."
    )


def _has_successor(earlier: dict[str, Any], source: dict[str, Any]) -> bool:
    """Returns whether other bytes came under the key since the earlier execution's, so that the
    source, though its bytes were loaded before, is what is to be loaded last."""
    [started] = json.loads(earlier["input"])["sources"]
    if source["version_id"] == started["version_id"]:
        return False
    listed = client("s3").list_object_versions(Bucket=source["bucket"], Prefix=source["key"])
    waiting = [
        _source(source["bucket"], source["key"], version["VersionId"])
        for version in listed.get("Versions", [])
        if version["Key"] == source["key"]
    ]
    if any(other and other["content_id"] != source["content_id"] for other in waiting):
        return True
    if earlier["status"] == "RUNNING":
        return False
    [loaded] = json.loads(earlier["output"])["sources"]
    return not _is_archived(source, loaded["archive_key"])


def _is_archived(source: dict[str, Any], archive_key: str) -> bool:
    """Returns whether a run of the source's bytes was the last that archived a file there."""
    try:
        head = client("s3").head_object(Bucket=source["bucket"], Key=archive_key)
    except ClientError as error:
        if error_code(error) not in GONE:
            raise
        return False  # no longer kept: loading it again changes nothing but keeps it
    first_run = re.escape(run_id(source["key"], source["content_id"]))
    return bool(re.fullmatch(rf"{first_run}(-\d+)?", head["Metadata"].get("run-id", "")))


def _leave_to(earlier: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """Leaves a source to the execution that has its bytes.

    A new version of the same bytes would stay in the inbox for ever, since that execution moves
    only its own: it is deleted here. Nothing is lost: the execution archives those bytes, or files
    them as failed.
    """
    own_version = json.loads(earlier["input"])["sources"][0]["version_id"]
    if earlier["status"] == "SUCCEEDED" or source["version_id"] != own_version:
        client("s3").delete_object(
            Bucket=source["bucket"], Key=source["key"], VersionId=source["version_id"]
        )
    outcome = "already_loaded" if earlier["status"] == "SUCCEEDED" else "already_running"
    return _outcome(outcome, run_id=earlier["name"])


def _execution_arn(name: str) -> str:
    """Returns the ARN of an execution: the state machine's, with its kind replaced and its alias
    left out."""
    arn = os.environ["STATE_MACHINE_ALIAS_ARN"]
    machine = arn.rsplit(":", 1)[0]
    return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
