"""Fixtures for the tests of the Lambda functions: AWS by moto, an empty account for each test."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from moto import mock_aws
from pipeline_common.aws import client
from pipeline_common.config import load_config

REGION = "us-east-1"
CONFIG_KEY = "releases/1/config/dev.json"
PATTERN = r"^Products_(?P<run_date>\d{8})\.csv(\.gz)?$"
PRODUCTS = {
    "name": "products",
    "file_pattern": PATTERN,
    "format": {"encoding": "UTF-8", "delimiter": ",", "multi_line": True},
    "columns": [
        {"source": "Product@ID", "name": "product_id", "type": "bigint", "required": True},
        {"source": "Product Name!", "name": "product_name", "type": "varchar(255)"},
        {"source": "Price ($)", "name": "price", "type": "decimal(12,4)"},
        {"source": "Time", "name": "time", "type": "timestamp", "required": True},
    ],
    "upsert_keys": ["product_id", "time"],
    "order_by": ["time"],
    "target": {"table": "products"},
    "expectations": {
        "expect_table_row_count_to_be_between": {
            "type": "expect_table_row_count_to_be_between",
            "kwargs": {"min_value": 1},
        },
    },
}
CONFIG = {"environment": "dev", "datasets": {"products": PRODUCTS}}


@dataclass(frozen=True)
class Bucket:
    """A versioned bucket with the release's configuration in it."""

    name: str
    s3: Any
    config_uri: str

    def put(self, key: str, body: bytes) -> dict[str, Any]:
        """Puts an object and returns it as a source of an execution."""
        put = self.s3.put_object(Bucket=self.name, Key=key, Body=body, ChecksumAlgorithm="SHA256")
        return {
            "bucket": self.name,
            "key": key,
            "version_id": put["VersionId"],
            "content_id": put["ChecksumSHA256"],
            "arrived_at": "2017-01-16T02:00:00Z",
            "size": len(body),
            "name": key.rsplit("/", 1)[-1],
            "copy_source": "not used here",
        }

    def put_json(self, key: str, value: Any) -> str:
        """Puts a value as JSON and returns its URI."""
        self.put(key, json.dumps(value).encode())
        return f"s3://{self.name}/{key}"

    def read(self, key: str) -> bytes:
        """Returns the bytes of an object's current version."""
        return self.s3.get_object(Bucket=self.name, Key=key)["Body"].read()

    def versions(self, prefix: str) -> list[str]:
        """Returns the version ids under a prefix."""
        listed = self.s3.list_object_versions(Bucket=self.name, Prefix=prefix)
        return [version["VersionId"] for version in listed.get("Versions", [])]


@pytest.fixture(autouse=True)
def new_account() -> Iterator[None]:
    """Gives each test an empty account; the clients, slow to make, serve every test."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        load_config.cache_clear()
        yield


@pytest.fixture
def bucket() -> Bucket:
    """A data bucket, which is the artifact bucket too."""
    s3 = client("s3")
    s3.create_bucket(Bucket="data")
    s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    data = Bucket("data", s3, f"s3://data/{CONFIG_KEY}")
    data.put_json(CONFIG_KEY, CONFIG)
    return data


@pytest.fixture
def context() -> SimpleNamespace:
    """What Lambda's runtime passes to a handler."""
    return SimpleNamespace(
        function_name="retail-pipeline-dev-x", function_version="7", aws_request_id="request-1"
    )
