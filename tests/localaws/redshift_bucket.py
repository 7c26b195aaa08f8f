"""A bucket that a test's warehouse copies from and unloads to."""

import io
import json
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
from tests.localaws.redshift_warehouse import Warehouse, make_role


class Bucket:
    """A bucket, the role with which COPY and UNLOAD use it, and its Parquet files' schema."""

    def __init__(self, local_aws, name: str, role: str, schema: pa.Schema):
        self.client = local_aws.session("dev").client("s3")
        self.name, self.role, self.schema = name, role, schema

    def put(self, key: str, content: bytes) -> str:
        """Put an object and return its URI."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)
        return f"s3://{self.name}/{key}"

    def get(self, key: str) -> bytes:
        """Return an object's content."""
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        """Return the keys under a prefix."""
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix).get("Contents", [])
        return [one["Key"] for one in found]

    def parquet(
        self, key: str, rows: list[dict], schema: pa.Schema | None = None, **options
    ) -> str:
        """Put rows as a Parquet file and return its URI."""
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema or self.schema), sink, **options)
        return self.put(key, sink.getvalue())

    def manifest(self, key: str, *uris: str, **entry) -> str:
        """Put a manifest of files and return its URI."""
        entries = []
        for uri in uris:
            size = len(self.get(uri.partition(f"{self.name}/")[2])) if "missing" not in uri else 1
            entries.append({"url": uri, "mandatory": True, "meta": {"content_length": size}})
            entries[-1].update(entry)
        return self.put(key, json.dumps({"entries": entries}).encode())


def make_bucket(local_aws, warehouse: Warehouse, schema: pa.Schema) -> Bucket:
    """Create a bucket; the namespace's role may use its prefixes in/ and out/ only."""
    name = f"copy-{uuid.uuid4().hex[:8]}"
    arn = f"arn:aws:s3:::{name}"
    role = make_role(
        local_aws,
        "dev",
        {"Service": "redshift.amazonaws.com"},
        [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{arn}/in/*"},
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:DeleteObject"],
                "Resource": f"{arn}/out/*",
            },
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": arn},
        ],
    )
    made = Bucket(local_aws, name, role, schema)
    made.client.create_bucket(Bucket=name)
    local_aws.session("dev").client("redshift-serverless").update_namespace(
        namespaceName=warehouse.workgroup, iamRoles=[role], defaultIamRoleArn=role
    )
    return made
