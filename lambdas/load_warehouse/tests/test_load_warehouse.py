"""load_warehouse: the SQL of a load, and its submission as one transaction."""

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from load_sql import failure_statements, identifier, is_newer, literal, load_statements
from load_warehouse import handler
from pipeline_common import aws
from pipeline_common.config import load_config
from pipeline_common.errors import ConfigurationError, WarehouseError

ROLE = "arn:aws:iam::111111111111:role/copy"
DATASET = {
    "columns": [
        {"name": "product_id", "type": "bigint"},
        {"name": "price", "type": "decimal(12,4)"},
        {"name": "time", "type": "timestamp"},
    ],
    "upsert_keys": ["product_id"],
    "order_by": ["time"],
}
RUN = {
    "run_id": "run-1",
    "dataset": "products",
    "schema": "public",
    "table": "products",
    "replay": False,
    "run_date": "2017-01-15",
    "release": "1",
    "job_name": "etl",
    "job_run_id": "jr_1",
    "manifest_uri": "s3://data/data/runs/run-1/manifest.json",
    "sources": [{"name": "a.csv", "run_date": "2017-01-15", "arrived_at": "2017-01-16T02:00:03Z"}],
    "rows_in": 10,
    "loaded": 7,
    "rejected": 2,
    "superseded": 1,
    "rejected_by_reason": {"no_price": 2},
    "rules": [
        {
            "rule": "in_set(brand)",
            "severity": "warning",
            "state": "warned",
            "rows_judged": 8,
            "rows_unexpected": None,
            "expected": "one of A",
            "observed": "Bob's",
        }
    ],
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
    lock, stage, copy, sources, files, incoming, proof, late, merge, *closing = load_statements(
        RUN, DATASET, ROLE
    )

    assert lock == 'LOCK TABLE "public"."products", "public".load_history, "public".watermark'
    assert stage == (
        'CREATE TEMP TABLE stage ("product_id" bigint, "price" decimal(12,4), "time" timestamp, '
        '"_source" integer, "_rejected" varchar(1))'
    )
    assert copy == (
        "COPY stage FROM 's3://data/data/runs/run-1/manifest.json' "
        f"IAM_ROLE '{ROLE}' FORMAT AS PARQUET MANIFEST"
    )
    assert sources.startswith('CREATE TEMP TABLE sources ("_source" integer, "_source_file" ')
    assert files == (
        "INSERT INTO sources VALUES (0, 'a.csv', CAST('2017-01-15' AS DATE), "
        "CAST('2017-01-16 02:00:03' AS TIMESTAMP))"
    )
    assert incoming.startswith(
        'CREATE TEMP TABLE incoming AS SELECT stage."product_id", stage."price", stage."time", '
        'sources."_run_date", sources."_arrived_at", sources."_source_file", CAST(\'run-1\' AS '
    )
    assert proof == (
        "SELECT CASE WHEN COUNT(*) = 7 THEN 0 ELSE CAST("
        "'the report says 7 loaded rows, COPY found ' || CAST(COUNT(*) AS VARCHAR(20)) "
        "AS INTEGER) END FROM incoming"
    )
    assert late.startswith(
        'DELETE FROM incoming USING "public"."products" '
        'WHERE "products"."product_id" = incoming."product_id" AND ("products"."time" > incoming'
    )
    assert merge.startswith(
        'MERGE INTO "public"."products" USING incoming '
        'ON "products"."product_id" = incoming."product_id" '
        'WHEN MATCHED THEN UPDATE SET "price" = incoming."price", "time" = incoming."time", '
        '"_run_date" = incoming."_run_date", '
    )
    assert closing[2:6] == [
        "DELETE FROM \"public\".load_rejections WHERE run_id = 'run-1'",
        'INSERT INTO "public".load_rejections (run_id, dataset, reason, rows_rejected) '
        "VALUES ('run-1', 'products', 'no_price', 2)",
        "DELETE FROM \"public\".quality_results WHERE run_id = 'run-1'",
        'INSERT INTO "public".quality_results (run_id, dataset, rule, severity, state, '
        "rows_judged, rows_unexpected, expected, observed) VALUES ('run-1', 'products', "
        "'in_set(brand)', 'warning', 'warned', 8, NULL, 'one of A', 'Bob''s')",
    ]
    assert [statement.split(" ", 1)[0] for statement in closing] == [
        *["DELETE", "INSERT"] * 3,
        "UPDATE",
        "INSERT",
    ]
    assert closing[0] == "DELETE FROM \"public\".load_history WHERE run_id = 'run-1'"


def test_a_run_without_rows_writes_its_history_and_moves_the_watermark():
    statements = load_statements({**RUN, "loaded": 0, "rejected": 9}, DATASET, ROLE)

    verbs = [statement.split()[0] for statement in statements]
    assert verbs == ["LOCK", *["DELETE", "INSERT"] * 3, "UPDATE", "INSERT"]


def test_a_clean_run_leaves_no_lines_of_rejections_and_rules():
    statements = load_statements({**RUN, "rejected_by_reason": {}, "rules": []}, DATASET, ROLE)

    assert [statement.split()[0] for statement in statements[-6:-2]] == [
        "DELETE",
        "INSERT",
        "DELETE",
        "DELETE",
    ]


def test_a_table_of_keys_only_can_be_merged():
    keys_only = {**DATASET, "columns": [{"name": "product_id", "type": "bigint"}], "order_by": []}

    merge = load_statements(RUN, keys_only, ROLE)[8]

    assert 'UPDATE SET "_run_date" = incoming."_run_date"' in merge


def test_a_column_of_the_key_does_not_decide_what_is_newer():
    in_key = {**DATASET, "upsert_keys": ["product_id", "time"]}

    late = load_statements(RUN, in_key, ROLE)[7]

    assert '"time" >' not in late and '"_run_date" >' in late


def test_newer_is_decided_by_the_first_column_that_differs_and_null_is_the_least():
    assert is_newer("a", "b", ["x", "y"]) == (
        "(a.x > b.x OR (a.x IS NOT NULL AND b.x IS NULL) OR "
        "((a.x = b.x OR (a.x IS NULL AND b.x IS NULL)) AND "
        "(a.y > b.y OR (a.y IS NOT NULL AND b.y IS NULL))))"
    )


def test_a_replay_is_never_late():
    (line,) = [
        statement
        for statement in load_statements({**RUN, "replay": True}, DATASET, ROLE)
        if statement.startswith('INSERT INTO "public".load_history')
    ]

    assert "'jr_1', TRUE, FALSE, 10, 7, 2, 1, 7 - COUNT(*), GETDATE() FROM incoming" in line


def test_a_file_name_cannot_leave_its_literal():
    name = "Größe', 1); DROP TABLE products; --\\.csv"
    run = {**RUN, "sources": [{**RUN["sources"][0], "name": name}]}

    (insert,) = [
        statement
        for statement in load_statements(run, DATASET, ROLE)
        if statement.startswith('INSERT INTO "public".load_history')
    ]

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
    products = load_config(bucket.config_uri)["datasets"]["products"]
    data_api.add_response(
        "batch_execute_statement",
        {"Id": "statement-1"},
        {
            "WorkgroupName": "retail-pipeline-dev",
            "Database": "warehouse",
            "StatementName": "run-1",
            "ClientToken": "run-1",
            "Sqls": load_statements(RUN, products, ROLE),
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


def described(data_api, **answer):
    """Lets the Data API describe the statement so."""
    data_api.add_response(
        "describe_statement", {"Id": "statement-1", **answer}, {"Id": "statement-1"}
    )


FAILED = {
    "action": "record_failure",
    "workgroup": "etl",
    "database": "warehouse",
    "run_id": "run-1",
    "schema": "public",
    "release": "1",
    "sources": [{"name": "Bob's.csv"}],
    "failure": {"State": "ValidateInput", "Error": "InvalidSourceFile", "Cause": "Bob's.csv: no"},
}


def test_a_failure_is_recorded_as_one_line_with_what_is_known(context, data_api):
    data_api.add_response(
        "batch_execute_statement",
        {"Id": "statement-1"},
        {
            "WorkgroupName": "etl",
            "Database": "warehouse",
            "StatementName": "run-1",
            "Sqls": [
                'LOCK TABLE "public".failed_runs',
                "DELETE FROM \"public\".failed_runs WHERE run_id = 'run-1'",
                'INSERT INTO "public".failed_runs (run_id, source_files, release, state, error, '
                "cause, failed_at, dataset, job_name, job_run_id, run_date) VALUES ('run-1', "
                "'[\"Bob''s.csv\"]', '1', 'ValidateInput', 'InvalidSourceFile', 'Bob''s.csv: no', "
                "GETDATE(), NULL, NULL, NULL, NULL)",
            ],
        },
    )

    for status in ("STARTED", "FINISHED"):
        described(data_api, Status=status)

    assert handler(FAILED, context) == {"status": "FINISHED", "error": ""}


def test_a_failure_that_is_not_recorded_is_an_error(context, data_api):
    data_api.add_response("batch_execute_statement", {"Id": "statement-1"})
    described(data_api, Status="FAILED", Error="no such table")

    with pytest.raises(WarehouseError, match="run-1 is not recorded: .*no such table"):
        handler(FAILED, context)


def test_of_a_long_cause_a_statement_has_the_beginning_without_nul():
    failure = FAILED["failure"] | {"Cause": "\0l'été\n" * 20_000}

    insert = failure_statements(FAILED | {"failure": failure})[-1]

    assert "'l''été\nl''été\n" in insert and "\0" not in insert
    assert len(insert.encode()) < 10_000


@pytest.mark.parametrize(
    "code", ["ValidationException", "ResourceNotFoundException", "AccessDeniedException"]
)
def test_a_final_refusal_is_a_warehouse_error(bucket, context, data_api, code):
    data_api.add_client_error("batch_execute_statement", code, "no such workgroup")

    with pytest.raises(
        WarehouseError, match="refuses to submit for the run run-1: .*no such workgroup"
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
