"""COPY and UNLOAD: real files in S3, read and written under the role that the statement names."""

# pylint: disable=redefined-outer-name  # pytest's way of asking for fixtures

import gzip
import io
import json
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.localaws.redshift_bucket import Bucket, make_bucket
from tests.localaws.redshift_warehouse import make_role

COLUMNS = (
    "id BIGINT, name VARCHAR(5), price DECIMAL(10,2), quantity INT, seen TIMESTAMP, day DATE, "
    "ok BOOLEAN, share FLOAT8"
)
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("price", pa.decimal128(10, 2)),
        ("quantity", pa.int32()),
        ("seen", pa.timestamp("us")),
        ("day", pa.date32()),
        ("ok", pa.bool_()),
        ("share", pa.float64()),
    ]
)
ROW = {
    "id": 1,
    "name": 'a"\n,',
    "price": Decimal("1.50"),
    "quantity": 2,
    "seen": datetime(2017, 1, 15, 10, 30, 0, 123456),
    "day": date(2017, 1, 15),
    "ok": True,
    "share": 0.1,
}
LOADED = (1, 'a"\n,', "1.50", 2, "2017-01-15 10:30:00.123456", "2017-01-15", True, 0.1)
NOTHING = dict.fromkeys(ROW)


@pytest.fixture(scope="module")
def bucket(local_aws, warehouse) -> Bucket:
    return make_bucket(local_aws, warehouse, SCHEMA)


@pytest.fixture
def table(warehouse, schema) -> str:
    warehouse.run(f"CREATE TABLE {schema}.t ({COLUMNS})")
    return f"{schema}.t"


@pytest.fixture
def key() -> str:
    """A prefix of the test's own, which the role may read."""
    return f"in/{uuid.uuid4().hex[:8]}"


def copy(table: str, uri: str, role: str, options: str) -> str:
    return f"COPY {table} FROM '{uri}' IAM_ROLE '{role}' {options}"


def test_parquet_by_manifest(warehouse, bucket, table, key):
    first = bucket.parquet(f"{key}/a.parquet", [ROW])
    second = bucket.parquet(f"{key}/b.parquet", [NOTHING])
    bucket.parquet(f"{key}/not-in-the-manifest.parquet", [ROW])
    manifest = bucket.manifest(f"{key}/manifest.json", first, second)
    warehouse.run(copy(table, manifest, bucket.role, "FORMAT AS PARQUET MANIFEST"))
    assert warehouse.run(f"SELECT * FROM {table} ORDER BY id") == [LOADED, (None,) * len(LOADED)]


def test_parquet_by_prefix_as_spark_writes_it(warehouse, bucket, table, key):
    bucket.parquet(f"{key}/part-0.snappy.parquet", [ROW, ROW], use_deprecated_int96_timestamps=True)
    bucket.put(f"{key}/_SUCCESS", b"")
    warehouse.run(f"COPY {table} FROM 's3://{bucket.name}/{key}' IAM_ROLE default PARQUET")
    assert warehouse.run(f"SELECT * FROM {table}") == [LOADED, LOADED]


def test_sparks_int96_timestamps_reach_beyond_nanoseconds(warehouse, bucket, table, key):
    far = ROW | {"seen": datetime(2500, 1, 15, 10, 30)}
    uri = bucket.parquet(f"{key}/part-0.parquet", [far], use_deprecated_int96_timestamps=True)
    warehouse.run(copy(table, uri, bucket.role, "FORMAT AS PARQUET"))
    assert warehouse.run(f"SELECT seen FROM {table}") == [("2500-01-15 10:30:00",)]


def test_copy_into_named_columns_within_a_transaction(warehouse, bucket, table, key):
    schema = pa.schema([("a", pa.string()), ("b", pa.int64())])
    uri = bucket.parquet(f"{key}/a.parquet", [{"a": "x", "b": 7}], schema)
    into = copy(f"{table} (name, id)", uri, bucket.role, "PARQUET")
    assert warehouse.run(into, f"SELECT id, name, price FROM {table}") == [(7, "x", None)]
    assert "Divide by zero" in warehouse.error(into, "SELECT 1/0")
    assert warehouse.run(f"SELECT COUNT(*) FROM {table}") == [(1,)]


def test_what_copy_loads_is_in_the_history(warehouse, bucket, table, key):
    uri = bucket.parquet(f"{key}/a.parquet", [ROW])
    warehouse.run(copy(table, uri, bucket.role, "PARQUET"))
    assert warehouse.run(
        "SELECT status, file_format, loaded_rows, source_file_count FROM sys_load_history "
        f"WHERE data_source = '{uri}'"
    ) == [("completed", "parquet", 1, 1)]


@pytest.mark.parametrize(
    ("change", "type_", "complaint"),
    [
        ({"id": 1}, pa.int32(), "Column type: BIGINT, Parquet schema: int32"),
        ({"id": "1"}, pa.string(), "Column type: BIGINT, Parquet schema: string"),
        ({"quantity": 1}, pa.int64(), "Column type: INT, Parquet schema: int64"),
        ({"price": 1.5}, pa.float64(), "Column type: DECIMAL(10,2), Parquet schema: double"),
        ({"price": Decimal("1.500")}, pa.decimal128(10, 3), "Column type: DECIMAL(10,2)"),
        ({"name": 5}, pa.int64(), "Column type: VARCHAR(5), Parquet schema: int64"),
        (
            {"name": "ééé"},
            pa.string(),
            "The length of the data column name is longer than the length defined in the table. "
            "Table: 5, Data: 6",
        ),
    ],
)
def test_parquet_must_fit_the_table(warehouse, bucket, table, key, change, type_, complaint):
    (name,) = change
    schema = SCHEMA.set(SCHEMA.get_field_index(name), pa.field(name, type_))
    uri = bucket.parquet(f"{key}/a.parquet", [ROW | change], schema)
    error = warehouse.error(copy(table, uri, bucket.role, "PARQUET"))
    assert error.startswith("ERROR: Spectrum Scan Error\n  Detail:")
    assert complaint in error
    assert f"{key}/a.parquet" in error
    assert warehouse.run(f"SELECT COUNT(*) FROM {table}") == [(0,)]


def test_parquet_must_have_the_tables_number_of_columns(warehouse, bucket, table, key):
    uri = bucket.parquet(f"{key}/a.parquet", [{"id": 1}], pa.schema([("id", pa.int64())]))
    assert "Table columns: 8, Data columns: 1" in warehouse.error(
        copy(table, uri, bucket.role, "PARQUET")
    )


def test_a_file_must_be_parquet(warehouse, bucket, table, key):
    uri = bucket.put(f"{key}/a.parquet", b"id,name\n1,x\n")
    assert "is not a Parquet file" in warehouse.error(copy(table, uri, bucket.role, "PARQUET"))


def test_a_null_for_a_required_column(warehouse, bucket, schema, key):
    warehouse.run(f"CREATE TABLE {schema}.r (id BIGINT NOT NULL)")
    uri = bucket.parquet(f"{key}/a.parquet", [{"id": None}], pa.schema([("id", pa.int64())]))
    assert "Cannot insert a NULL value into column id" in warehouse.error(
        copy(f"{schema}.r", uri, bucket.role, "PARQUET")
    )


def test_nothing_is_loaded_unless_every_mandatory_file_is_there(warehouse, bucket, table, key):
    there = bucket.parquet(f"{key}/a.parquet", [ROW])
    missing = f"s3://{bucket.name}/{key}/missing.parquet"
    manifest = bucket.manifest(f"{key}/manifest.json", there, missing)
    error = warehouse.error(copy(table, manifest, bucket.role, "PARQUET MANIFEST"))
    assert (
        "S3ServiceException:The specified key does not exist.,Status 404,Error NoSuchKey" in error
    )
    assert "missing.parquet" in error
    assert warehouse.run(f"SELECT COUNT(*) FROM {table}") == [(0,)]
    manifest = bucket.manifest(f"{key}/manifest.json", there, missing, mandatory=False)
    warehouse.run(copy(table, manifest, bucket.role, "PARQUET MANIFEST"))
    assert warehouse.run(f"SELECT COUNT(*) FROM {table}") == [(1,)]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"meta": {"content_length": 5}}, "InvalidRange"),
        ({"meta": {"content_length": 10**6}}, "InvalidRange"),
        ({"meta": {}}, "'content_length'"),
        ({"url": None}, "'url'"),
    ],
)
def test_a_manifest_of_parquet_gives_each_files_length(
    warehouse, bucket, table, key, entry, complaint
):
    uri = bucket.parquet(f"{key}/a.parquet", [ROW])
    manifest = bucket.manifest(f"{key}/manifest.json", uri, **entry)
    assert complaint in warehouse.error(copy(table, manifest, bucket.role, "PARQUET MANIFEST"))


def test_a_manifest_entry_needs_meta(warehouse, bucket, table, key):
    manifest = bucket.put(
        f"{key}/m.json", json.dumps({"entries": [{"url": "s3://x/y", "mandatory": True}]}).encode()
    )
    error = warehouse.error(copy(table, manifest, bucket.role, "PARQUET MANIFEST"))
    assert "File entry does not have 'meta' key." in error


def test_an_empty_prefix(warehouse, bucket, table, key):
    error = warehouse.error(copy(table, f"s3://{bucket.name}/{key}/none", bucket.role, "PARQUET"))
    assert f"The specified S3 prefix '{key}/none' does not exist" in error


def test_the_roles_policy_decides(warehouse, bucket, table):
    uri = bucket.parquet("secret/a.parquet", [ROW])
    error = warehouse.error(copy(table, uri, bucket.role, "PARQUET"))
    assert error.startswith("ERROR: S3ServiceException:")
    assert "Status 403,Error AccessDenied" in error
    assert uri in error


def test_the_role_must_be_the_namespaces(warehouse, bucket, table, key, local_aws):
    everything = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    stranger = make_role(local_aws, "dev", {"Service": "redshift.amazonaws.com"}, everything)
    uri = bucket.parquet(f"{key}/a.parquet", [ROW])
    error = warehouse.error(copy(table, uri, stranger, "PARQUET"))
    assert f"is not authorized to assume IAM Role {stranger}" in error


def test_the_role_must_trust_redshift(warehouse, bucket, table, key, local_aws):
    everything = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    lambdas = make_role(local_aws, "dev", {"Service": "lambda.amazonaws.com"}, everything)
    serverless = local_aws.session("dev").client("redshift-serverless")
    serverless.update_namespace(namespaceName=warehouse.workgroup, iamRoles=[bucket.role, lambdas])
    uri = bucket.parquet(f"{key}/a.parquet", [ROW])
    error = warehouse.error(copy(table, uri, lambdas, "PARQUET"))
    assert f"is not authorized to assume IAM Role {lambdas}" in error
    assert "does not trust" in error


CSV = b'id,name,price\r\n1,"a ""b"",",1.50\r\n2,,\r\n3,"x\ny",0\r\n'


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_csv(warehouse, bucket, schema, key, packed):
    warehouse.run(f"CREATE TABLE {schema}.c (id INT, name VARCHAR(10), price DECIMAL(5,2))")
    uri = bucket.put(f"{key}/a.csv", gzip.compress(CSV) if packed else CSV)
    options = "FORMAT AS CSV IGNOREHEADER 1" + (" GZIP" if packed else "")
    warehouse.run(copy(f"{schema}.c", uri, bucket.role, options))
    assert warehouse.run(f"SELECT * FROM {schema}.c ORDER BY id") == [
        (1, 'a "b",', "1.50"),
        (2, "", None),
        (3, "x\ny", "0.00"),
    ]


def test_delimited_text_and_its_options(warehouse, bucket, schema, key):
    warehouse.run(f"CREATE TABLE {schema}.c (id INT, name VARCHAR(3), at TIMESTAMP)")
    uri = bucket.put(f"{key}/a.txt", b"1;long enough;2017-01-15 10:00:00\n2;NONE;\n3;;\n")
    warehouse.run(
        copy(
            f"{schema}.c",
            uri,
            bucket.role,
            "DELIMITER ';' NULL AS 'NONE' EMPTYASNULL TRUNCATECOLUMNS TIMEFORMAT 'auto' "
            "REGION 'us-east-1'",
        )
    )
    assert warehouse.run(f"SELECT * FROM {schema}.c ORDER BY id") == [
        (1, "lon", "2017-01-15 10:00:00"),
        (2, None, None),
        (3, None, None),
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"1,a\n2,toolong\n", (2, "name", "toolong", "String length exceeds DDL length")),
        (b"1,a\n2,a,b\n", (2, "", "2,a,b", "Extra column(s) found")),
        (b"1,a\n2\n", (2, "name", "", "Delimiter not found")),
        (b"1,a\nx,b\n", (2, "id", "x", 'invalid input syntax for type integer: "x"')),
        (b"1,a\n2,\xe9\n", (2, "", "", "String contains invalid or unsupported UTF8 codepoints.")),
    ],
)
def test_a_bad_line_fails_the_load_and_is_kept(warehouse, bucket, schema, key, lines, expected):
    warehouse.run(f"CREATE TABLE {schema}.c (id INT, name VARCHAR(3))")
    uri = bucket.put(f"{key}/a.csv", lines)
    error = warehouse.error(copy(f"{schema}.c", uri, bucket.role, "CSV"))
    assert "Check 'stl_load_errors' system table for details." in error
    assert warehouse.run(f"SELECT COUNT(*) FROM {schema}.c") == [(0,)]
    assert warehouse.run(
        "SELECT line_number, colname, raw_field_value, err_reason FROM stl_load_errors "
        f"WHERE filename = '{uri}'"
    ) == [expected]


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("COPY t FROM 's3://b/k' IAM_ROLE 'r' FORMAT AS AVRO", "FORMAT AVRO"),
        ("COPY t FROM 's3://b/k' IAM_ROLE 'r' ACCEPTINVCHARS", "ACCEPTINVCHARS"),
        ("COPY t FROM 's3://b/k' IAM_ROLE 'r' MAXERROR 5", "MAXERROR"),
        ("COPY t FROM 's3://b/k' CREDENTIALS 'aws_access_key_id=x'", "CREDENTIALS"),
        ("COPY t FROM 's3://b/k' PARQUET", "IAM_ROLE"),
        ("COPY t FROM 'emr://x' IAM_ROLE 'r'", "only s3://"),
        ("COPY t", "syntax error at end of input"),
        ("UNLOAD ('select 1 limit 1') TO 's3://b/k' IAM_ROLE 'r'", "Limit clause is not supported"),
        ("UNLOAD ('select 1') TO 's3://b/k' IAM_ROLE 'r' PARTITION BY (a)", "PARTITION"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(warehouse, statement, complaint):
    assert complaint in warehouse.error("CREATE TEMP TABLE t (a INT)", statement)


def unload(query: str, bucket: Bucket, key: str, options: str) -> str:
    quoted = query.replace("'", "''")
    return (
        f"UNLOAD ('{quoted}') TO 's3://{bucket.name}/out/{key}/' IAM_ROLE '{bucket.role}' {options}"
    )


def test_unload_parquet_and_copy_it_back(warehouse, bucket, table, key):
    uri = bucket.parquet(f"{key}/a.parquet", [ROW, NOTHING])
    warehouse.run(copy(table, uri, bucket.role, "PARQUET"))
    warehouse.run(
        unload(f"SELECT * FROM {table} ORDER BY id", bucket, key, "FORMAT PARQUET MANIFEST")
    )
    assert bucket.keys(f"out/{key}/") == [f"out/{key}/0000_part_00.parquet", f"out/{key}/manifest"]
    content = bucket.get(f"out/{key}/0000_part_00.parquet")
    unloaded = pq.read_table(io.BytesIO(content))
    assert unloaded.schema.equals(SCHEMA)
    assert unloaded.to_pylist() == [ROW, NOTHING]
    assert json.loads(bucket.get(f"out/{key}/manifest"))["entries"] == [
        {
            "url": f"s3://{bucket.name}/out/{key}/0000_part_00.parquet",
            "meta": {"content_length": len(content)},
        }
    ]


def test_unload_csv(warehouse, bucket, key):
    query = "SELECT 1 AS a, 'x,y' AS b UNION ALL SELECT 2, NULL ORDER BY 1"
    warehouse.run(unload(query, bucket, key, "CSV HEADER PARALLEL OFF"))
    assert bucket.get(f"out/{key}/000") == b'a,b\n1,"x,y"\n2,\n'


def test_unload_overwrites_only_when_told(warehouse, bucket, key):
    warehouse.run(unload("SELECT 1", bucket, key, "CSV"))
    error = warehouse.error(unload("SELECT 2", bucket, key, "CSV"))
    assert "Specified unload destination on S3 is not empty." in error
    assert bucket.get(f"out/{key}/0000_part_00") == b"1\n"
    warehouse.run(unload("SELECT 2", bucket, key, "CSV ALLOWOVERWRITE"))
    assert bucket.get(f"out/{key}/0000_part_00") == b"2\n"
    warehouse.run(unload("SELECT 3", bucket, key, "CSV PARALLEL OFF CLEANPATH"))
    assert bucket.keys(f"out/{key}/") == [f"out/{key}/000"]


def test_unload_needs_the_roles_permission(warehouse, bucket):
    error = warehouse.error(
        f"UNLOAD ('SELECT 1') TO 's3://{bucket.name}/secret/new/' IAM_ROLE '{bucket.role}' CSV"
    )
    assert "Status 403,Error AccessDenied" in error
    assert "secret/new/0000_part_00" in error


def test_timestamps_of_a_zone_are_utc(warehouse, bucket, schema, key):
    warehouse.run(f"CREATE TABLE {schema}.z (a TIMESTAMP, b TIMESTAMPTZ)")
    moment = datetime(2017, 1, 15, 10, tzinfo=UTC)
    zoned = pa.schema([("a", pa.timestamp("us", "UTC")), ("b", pa.timestamp("us", "UTC"))])
    uri = bucket.parquet(f"{key}/a.parquet", [{"a": moment, "b": moment}], zoned)
    warehouse.run(copy(f"{schema}.z", uri, bucket.role, "PARQUET"))
    assert warehouse.run(f"SELECT * FROM {schema}.z") == [
        ("2017-01-15 10:00:00", "2017-01-15 10:00:00+00")
    ]
