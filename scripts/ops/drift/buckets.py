"""What S3 notifies of beyond the templates: CloudFormation does not look where one sets nothing."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import is_missing
from ops.drift.findings import Finding, compare
from ops.environment import Environment


def findings(environment: Environment, expected: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    """Yield the notifications of buckets whose template sets none.

    `expected` has the properties that the stacks give each bucket, by its name.
    """
    client = environment.client("s3")
    for bucket, properties in expected.items():
        if "NotificationConfiguration" in properties:
            continue
        try:
            found = client.get_bucket_notification_configuration(Bucket=bucket)
        except ClientError as error:
            if not is_missing(error):
                raise
            continue  # CloudFormation says that it is gone
        found.pop("ResponseMetadata")
        yield from compare(f"bucket {bucket} notification", {}, found)
