"""AWS clients, one of each service per container.

Made by botocore, which boto3 wraps: importing boto3 as well costs 33 ms (154 ms against 121) of
every cold start for its resources and transfer manager, which no function here uses.
"""

import re
from functools import cache
from typing import Any

import botocore.session


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def client(service: str) -> Any:
    """Returns the container's client of a service, such as "s3"."""
    return _session().create_client(service)


def error_code(error: Exception) -> str:
    """Returns the AWS error code of a botocore ClientError, such as "NoSuchKey"."""
    return error.response["Error"]["Code"]  # type: ignore[attr-defined]


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Returns the bucket and the key of s3://bucket/key; raises ValueError for any other text."""
    match = re.fullmatch(r"s3://([^/]+)/(.+)", uri)
    if match is None:
        raise ValueError(f"'{uri}' is not an S3 URI: expected s3://bucket/key")
    return match[1], match[2]


def read_s3(uri: str) -> bytes:
    """Returns the bytes of a small S3 object; raises ClientError when it cannot be read."""
    bucket, key = split_s3_uri(uri)
    return client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
