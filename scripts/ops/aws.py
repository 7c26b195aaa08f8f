"""What the tools ask of AWS in more than one place."""

from collections.abc import Iterator

from botocore.exceptions import ClientError

CALLS_AT_ONCE = 16

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
