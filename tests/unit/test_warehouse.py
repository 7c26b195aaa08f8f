"""Tables follow from the configuration; fingerprints from rows, whatever their order."""

import pytest
from ops.environment import Environment, OperationError
from ops.data.warehouse import (
    Warehouse,
    WarehouseError,
    fingerprint_of,
    fingerprint_sql,
    grants,
    prepare,
    table_ddl,
)

DATASET = {
    "name": "things",
    "columns": [
        {"name": "id", "type": "bigint", "required": True},
        {"name": "time", "type": "timestamp"},
        {"name": "label", "type": "varchar(9)"},
    ],
    "target": {"table": "things"},
}
CONFIG = {
    "project": "p",
    "environment": "dev",
    "aws": {"account_id": "111111111111", "region": "us-east-1"},
    "datasets": {"things": DATASET},
}


class DataApi:
    """The Data API: answers each statement with the pages prepared for it."""

    def __init__(self, pages=(), status="FINISHED", error=None):
        self.pages, self.status, self.error = list(pages), status, error
        self.submitted = []

    def get_namespace(self, **_):
        return {"namespace": {"adminPasswordSecretArn": "arn:secret"}}

    def execute_statement(self, **request):
        assert request["SecretArn"] == "arn:secret"
        self.submitted.append(request["Sql"])
        return {"Id": "1"}

    def batch_execute_statement(self, **request):
        self.submitted.extend(request["Sqls"])
        return {"Id": "2"}

    def describe_statement(self, Id):  # pylint: disable=invalid-name
        has_rows = Id == "1" and bool(self.pages)
        return {"Status": self.status, "HasResultSet": has_rows, "Error": self.error}

    def get_statement_result(
        self, Id, NextToken="0"
    ):  # pylint: disable=invalid-name,unused-argument
        number = int(NextToken)
        page = {"ColumnMetadata": [{"name": "a"}, {"name": "b"}], "Records": self.pages[number]}
        return page | ({"NextToken": str(number + 1)} if number + 1 < len(self.pages) else {})


def warehouse(monkeypatch, api):
    monkeypatch.setattr(Environment, "client", lambda self, service: api)
    return Warehouse(Environment("dev", CONFIG))


def test_ddl_makes_each_table_in_each_schema_with_names_that_may_be_keywords():
    statements = table_ddl(CONFIG)
    assert statements[0] == (
        'CREATE TABLE IF NOT EXISTS public."things" '
        '("id" bigint NOT NULL, "time" timestamp, "label" varchar(9))'
    )
    assert statements[1].startswith('CREATE TABLE IF NOT EXISTS public."load_history" (')
    assert statements[2] == "CREATE SCHEMA IF NOT EXISTS smoke"
    assert len(statements) == 5


def test_fingerprint_query_casts_what_is_no_text():
    sql = fingerprint_sql("smoke", DATASET, "id > 1")
    assert "COALESCE(CAST(\"id\" AS VARCHAR(64)), '~null~')" in sql
    assert "COALESCE(\"label\", '~null~')" in sql
    assert sql.endswith('FROM smoke."things" WHERE id > 1')


def test_fingerprint_does_not_depend_on_the_order_of_rows():
    rows = [("1", "x", None), ("2", "y", "z")]
    assert fingerprint_of(rows) == fingerprint_of(reversed(rows))


@pytest.mark.parametrize("other", [[("1", None)], [("1", "x"), ("1", "x")], [("1", "y")], []])
def test_fingerprint_tells_other_rows_apart(other):
    assert fingerprint_of([("1", "x")]) != fingerprint_of(other)


def test_rows_come_from_every_page_and_null_is_none(monkeypatch):
    pages = [
        [[{"longValue": 1}, {"isNull": True}]],
        [[{"longValue": 2}, {"stringValue": "x"}]],
    ]
    result = warehouse(monkeypatch, DataApi(pages)).run("SELECT 1")
    assert result.columns == ["a", "b"]
    assert list(result.rows) == [(1, None), (2, "x")]


def test_failed_statement_raises_the_warehouses_own_words(monkeypatch):
    api = DataApi(status="FAILED", error='relation "prodcuts" does not exist')
    with pytest.raises(WarehouseError, match='relation "prodcuts" does not exist'):
        warehouse(monkeypatch, api).run("SELECT * FROM prodcuts")


def test_loader_may_change_rows_and_nothing_else():
    statements = grants(CONFIG, "IAMR:p-dev-load-warehouse")
    assert 'GRANT USAGE ON SCHEMA smoke TO "IAMR:p-dev-load-warehouse"' in statements
    assert len(statements) == 6
    assert not any("ALL" in statement or "CREATE" in statement for statement in statements)


def test_table_with_other_columns_is_refused_with_both_lists(monkeypatch):
    found = [
        [{"stringValue": s}, {"stringValue": "things"}, {"stringValue": "id"}] for s in ("public",)
    ]
    with pytest.raises(OperationError, match="public.things has the columns id; .*id, time, label"):
        prepare(warehouse(monkeypatch, DataApi([found])), CONFIG)
