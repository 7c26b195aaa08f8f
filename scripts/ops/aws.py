"""What the tools ask of AWS in more than one place."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from botocore.exceptions import ClientError

CALLS_AT_ONCE = 16
DELETED_AT_ONCE = 1000  # the most that S3 takes

_MISSING_CODES = (
    "404",
    "EntityNotFoundException",
    "NoSuchKey",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "StateMachineDoesNotExist",
)


def is_missing(error: ClientError) -> bool:
    """Return whether AWS says that there is no such thing."""
    return error.response["Error"]["Code"] in _MISSING_CODES


def metric_alarms(cloudwatch, prefix: str) -> Iterator[dict]:
    """Yield the alarms whose names begin with a prefix, as CloudWatch describes them."""
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
    for page in pages:
        yield from page["MetricAlarms"]


def list_keys(s3, bucket: str, prefix: str) -> Iterator[str]:
    """Yield the keys under a prefix."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            yield item["Key"]


def delete_keys(s3, bucket: str, keys: Iterable[str]) -> None:
    """Delete objects in the order given; raise ClientError for the first that stays."""
    keys = list(keys)
    for start in range(0, len(keys), DELETED_AT_ONCE):
        objects = [{"Key": key} for key in keys[start : start + DELETED_AT_ONCE]]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", []):
            raise ClientError({"Error": error}, "DeleteObjects")


def or_none(call: Callable[..., Any], **arguments: Any) -> Any:
    """Return what a call answers, None where AWS says that there is no such thing."""
    try:
        return call(**arguments)
    except ClientError as error:
        if not is_missing(error):
            raise
        return None


def own_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return the tags that are not AWS's own, such as CloudFormation's, which nobody may set."""
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}
