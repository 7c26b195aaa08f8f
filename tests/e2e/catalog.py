"""What a reader of the Data Catalog finds, such as Athena: partitions, and the rows in them."""

import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.e2e.project import PREFIX
from tests.e2e.reference import Expected, Kind

DATABASE = PREFIX.replace("-", "_")
# What the Catalog calls the types of Parquet's columns; decimals are named alike.
HIVE_TYPES = {pa.int64(): "bigint", pa.int32(): "int", pa.string(): "string"}


def partitions(project, table: str) -> list[dict[str, Any]]:
    """Return the partitions of a table."""
    pages = project.client("glue").get_paginator("get_partitions")
    found = pages.paginate(DatabaseName=DATABASE, TableName=table)
    return [partition for page in found for partition in page["Partitions"]]


def rows_of(project, partition: dict[str, Any], kind: Kind) -> str:
    """Return count and hash of a partition's rows, in the columns and types that it is said to
    have."""
    columns = {
        column["Name"]: column["Type"] for column in partition["StorageDescriptor"]["Columns"]
    }
    found = Expected()
    for file in _files(project, partition["StorageDescriptor"]["Location"]):
        types = {field.name: _hive_type(field.type) for field in file.schema}
        assert types == {**columns, "_rejected": "string"}
        for row in file.drop_columns(["_source", "_rejected"]).to_pylist():
            values = tuple(map(_text, row.values()))
            found.rows[tuple(values[place] for place in kind.key)] = values
    return found.fingerprint()


def _files(project, location: str) -> Iterator[pa.Table]:
    s3 = project.client("s3")
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        if item["Key"].endswith(".parquet"):
            content = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
            yield pq.read_table(io.BytesIO(content))


def _hive_type(found: pa.DataType) -> str:
    if pa.types.is_timestamp(found):
        return "timestamp"
    if pa.types.is_decimal(found):
        return f"decimal({found.precision},{found.scale})"
    return HIVE_TYPES[found]


def _text(value: object) -> str | None:
    """Return a value as the warehouse prints it."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return None if value is None else str(value)
