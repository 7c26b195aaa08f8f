"""load_warehouse: the SQL of a load, and its submission as one transaction."""

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from load_sql import identifier, literal, load_statements
from load_warehouse import handler
from pipeline_common import aws
from pipeline_common.errors import ConfigurationError, WarehouseError

ROLE = "arn:aws:iam::111111111111:role/copy"
DATASET = {
    "columns": [{"name": name} for name in ("product_id", "price", "time")],
    "upsert_keys": ["product_id", "time"],
    "target": {"table": "products"},
}
RUN = {
    "run_id": "run-1",
    "dataset": "products",
    "schema": "public",
    "run_date": "2017-01-15",
    "release": "1",
    "manifest_uri": "s3://data/data/runs/run-1/manifest.json",
    "sources": [{"name": "a.csv"}],
    "rows_in": 10,
    "loaded": 7,
    "rejected": 2,
    "superseded": 1,
}


@pytest.fixture(name="data_api")
def stubbed_data_api():
    """The Data API's client, with answers to be set; each request must match its answer's."""
    with Stubber(aws.client("redshift-data")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture(autouse=True)
def copy_role(monkeypatch):
    monkeypatch.setenv("COPY_ROLE_ARN", ROLE)


def test_a_load_is_one_transaction_that_proves_its_count():
    assert load_statements(RUN, DATASET, ROLE) == [
        'LOCK TABLE "public"."products", "public".load_history',
        'CREATE TEMP TABLE stage (LIKE "public"."products")',
        "COPY stage FROM 's3://data/data/runs/run-1/manifest.json' "
        f"IAM_ROLE '{ROLE}' FORMAT AS PARQUET MANIFEST",
        "SELECT CASE WHEN COUNT(*) = 7 THEN 0 ELSE CAST("
        "'the report says 7 loaded rows, COPY found ' || CAST(COUNT(*) AS VARCHAR(20)) "
        "AS INTEGER) END FROM stage",
        'MERGE INTO "public"."products" USING stage '
        'ON "products"."product_id" = stage."product_id" AND "products"."time" = stage."time" '
        'WHEN MATCHED THEN UPDATE SET "price" = stage."price" '
        'WHEN NOT MATCHED THEN INSERT ("product_id", "price", "time") '
        'VALUES (stage."product_id", stage."price", stage."time")',
        "DELETE FROM \"public\".load_history WHERE run_id = 'run-1'",
        'INSERT INTO "public".load_history (run_id, dataset, source_files, run_date, release, '
        "rows_in, rows_loaded, rows_rejected, rows_superseded, loaded_at) VALUES ('run-1', "
        "'products', '[\"a.csv\"]', CAST('2017-01-15' AS DATE), '1', 10, 7, 2, 1, GETDATE())",
    ]


def test_a_run_without_rows_writes_only_its_history():
    statements = load_statements({**RUN, "loaded": 0, "rejected": 9}, DATASET, ROLE)

    assert [statement.split()[0] for statement in statements] == ["DELETE", "INSERT"]


def test_a_table_of_keys_only_can_be_merged():
    keys_only = {**DATASET, "columns": [{"name": "product_id"}, {"name": "time"}]}

    merge = load_statements(RUN, keys_only, ROLE)[4]

    assert 'UPDATE SET "product_id" = stage."product_id", "time" = stage."time" WHEN' in merge


def test_a_file_name_cannot_leave_its_literal():
    run = {**RUN, "sources": [{"name": "Größe', 1); DROP TABLE products; --\\.csv"}]}

    insert = load_statements(run, DATASET, ROLE)[-1]

    assert "'[\"Größe'', 1); DROP TABLE products; --' || CHR(92) || '' || CHR(92) || '.csv\"]'" in (
        insert
    )


def test_literals_are_the_same_in_redshift_and_postgresql():
    assert literal("it's") == "'it''s'"
    assert literal("a\\b") == "'a' || CHR(92) || 'b'"


@pytest.mark.parametrize("name", ["", "a b", "Größe", 'a"; DROP', "1a", "A", "a" * 128])
def test_names_are_plain_identifiers(name):
    with pytest.raises(ConfigurationError, match="cannot be a name in SQL"):
        identifier(name)


def event(bucket):
    """Returns what the state machine passes to the function for a new load."""
    return {
        **RUN,
        "action": "submit",
        "config_uri": bucket.config_uri,
        "workgroup": "retail-pipeline-dev",
        "database": "warehouse",
    }


def test_the_run_is_the_token_so_that_a_retry_submits_nothing(bucket, context, data_api):
    names = ("product_id", "product_name", "price", "time")  # of the bucket's configuration
    dataset = {**DATASET, "columns": [{"name": name} for name in names]}
    data_api.add_response(
        "batch_execute_statement",
        {"Id": "statement-1"},
        {
            "WorkgroupName": "retail-pipeline-dev",
            "Database": "warehouse",
            "StatementName": "run-1",
            "ClientToken": "run-1",
            "Sqls": load_statements(RUN, dataset, ROLE),
        },
    )

    assert handler(event(bucket), context) == {"statement_id": "statement-1"}


@pytest.mark.parametrize(
    "described, answer",
    [
        ({"Status": "STARTED"}, {"status": "STARTED", "error": ""}),
        ({"Status": "FAILED", "Error": "no"}, {"status": "FAILED", "error": "no"}),
    ],
)
def test_a_load_is_described(context, data_api, described, answer):
    data_api.add_response(
        "describe_statement", {"Id": "statement-1", **described}, {"Id": "statement-1"}
    )
    request = {"action": "describe", "run_id": "run-1", "statement_id": "statement-1"}

    assert handler(request, context) == answer


def test_a_load_is_cancelled(context, data_api):
    data_api.add_response("cancel_statement", {"Status": True}, {"Id": "statement-1"})
    request = {"action": "cancel", "run_id": "run-1", "statement_id": "statement-1"}

    assert handler(request, context) == {"cancelled": True}


@pytest.mark.parametrize(
    "code", ["ValidationException", "ResourceNotFoundException", "AccessDeniedException"]
)
def test_a_final_refusal_is_a_warehouse_error(bucket, context, data_api, code):
    data_api.add_client_error("batch_execute_statement", code, "no such workgroup")

    with pytest.raises(
        WarehouseError, match="refuses to submit the load of run-1: .*no such workgroup"
    ):
        handler(event(bucket), context)


@pytest.mark.parametrize(
    "code",
    [
        "ActiveStatementsExceededException",
        "ActiveSessionsExceededException",
        "BatchExecuteStatementException",
        "InternalServerException",
    ],
)
def test_a_passing_refusal_keeps_the_name_that_the_state_machine_retries(
    bucket, context, data_api, code
):
    data_api.add_client_error("batch_execute_statement", code)

    with pytest.raises(ClientError) as refused:
        handler(event(bucket), context)
    assert type(refused.value).__name__ == code
