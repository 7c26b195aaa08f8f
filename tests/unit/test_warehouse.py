"""Statements and their results; fingerprints of rows, whatever their order."""

import pytest
from ops.environment import Environment
from ops.data.warehouse import (
    Warehouse,
    WarehouseError,
    fingerprint_of,
    fingerprint_sql,
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
        has_rows = Id == "2" or bool(self.pages)  # of a batch: whether any statement has rows
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


def test_a_transaction_asks_for_no_result(monkeypatch):
    api = DataApi(status="FINISHED")
    api.get_statement_result = None
    warehouse(monkeypatch, api).run_all(["LOCK TABLE a", "SELECT 1"])
    assert api.submitted == ["LOCK TABLE a", "SELECT 1"]
