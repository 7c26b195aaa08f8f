"""The warehouse, reached through the Redshift Data API: its statements and its fingerprints."""

import argparse
import hashlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.environment import WAREHOUSE_DATABASE, Environment, OperationError, command

LIVE_SCHEMA = "public"
SMOKE_SCHEMA = "smoke"
SCHEMAS = (LIVE_SCHEMA, SMOKE_SCHEMA)

NULL_TEXT = "~null~"
HASH_HEX_DIGITS = 15  # the most that fit a signed 64-bit integer
MAX_STATEMENTS = 40  # that the Data API takes as one transaction
STATEMENT_TIMEOUT_SECONDS = 900
POLL_SECONDS = (0.05, 2.0)  # the first pause and the longest

Row = tuple[Any, ...]


class WarehouseError(OperationError):
    """The warehouse refused a statement; the message is its own."""


@dataclass(frozen=True)
class Result:
    """A statement's result: column names, and rows that are fetched as they are read."""

    columns: list[str]
    rows: Iterator[Row]


@dataclass(frozen=True)
class Fingerprint:
    """What a set of rows holds, whatever their order: how many, and the sum of their hashes."""

    rows: int
    content: int

    def __str__(self) -> str:
        return f"{self.rows} rows, content hash {self.content:x}"


class Warehouse:
    """Runs SQL in an environment's warehouse, as its administrator, and waits for it.

    Raises OperationError where there is no warehouse.
    """

    def __init__(self, environment: Environment):
        self._target = {
            "WorkgroupName": environment.prefix,
            "Database": WAREHOUSE_DATABASE,
            "SecretArn": administrator_secret(environment),
        }
        self._client = environment.client("redshift-data")

    def run(self, sql: str) -> Result:
        """Run one statement; raise WarehouseError with the warehouse's own message."""
        statement = self._submit(self._client.execute_statement, Sql=sql)
        return self._result(statement, self._finish(statement))

    def run_all(self, statements: Sequence[str]) -> None:
        """Run statements, MAX_STATEMENTS at most, as one transaction: all of them or none."""
        self._finish(self._submit(self._client.batch_execute_statement, Sqls=list(statements)))

    def one(self, sql: str) -> Row:
        """Return the only row of a query."""
        (row,) = self.run(sql).rows
        return row

    def fingerprint(
        self, schema: str, dataset: dict[str, Any], where: str = "TRUE", table: str = ""
    ) -> Fingerprint:
        """Return the fingerprint of a dataset's table, or of the part that `where` selects.

        `table` is another one with the dataset's columns.
        """
        rows, content = self.one(fingerprint_sql(schema, dataset, where, table))
        return Fingerprint(int(rows), int(content or 0))

    def _submit(self, call, **arguments) -> str:
        try:
            return call(**self._target, **arguments)["Id"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException":
                raise WarehouseError(error.response["Error"]["Message"]) from error
            raise

    def _finish(self, statement: str) -> dict[str, Any]:
        deadline = time.monotonic() + STATEMENT_TIMEOUT_SECONDS
        pause, longest = POLL_SECONDS
        while True:
            state = self._client.describe_statement(Id=statement)
            if state["Status"] == "FINISHED":
                return state
            if state["Status"] in ("FAILED", "ABORTED"):
                raise WarehouseError(state.get("Error") or f"statement {state['Status'].lower()}")
            if time.monotonic() > deadline:
                self._client.cancel_statement(Id=statement)
                raise WarehouseError(
                    f"cancelled: it ran for more than {STATEMENT_TIMEOUT_SECONDS} s"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, longest)

    def _result(self, statement: str, state: dict[str, Any]) -> Result:
        if not state.get("HasResultSet"):
            return Result([], iter(()))
        page = self._client.get_statement_result(Id=statement)
        columns = [column["name"] for column in page["ColumnMetadata"]]
        return Result(columns, self._rows(statement, page))

    def _rows(self, statement: str, page: dict[str, Any]) -> Iterator[Row]:
        while True:
            for record in page["Records"]:
                yield tuple(_value(field) for field in record)
            if not page.get("NextToken"):
                return
            page = self._client.get_statement_result(Id=statement, NextToken=page["NextToken"])


def administrator_secret(environment: Environment) -> str:
    """Return the ARN of the administrator's password, which AWS keeps and rotates.

    A caller known by IAM alone would be a database user without any rights.
    """
    try:
        answer = environment.client("redshift-serverless").get_namespace(
            namespaceName=environment.prefix
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise OperationError(
            f"{environment.name} has no warehouse; run: make deploy ENV={environment.name}"
        ) from error
    return answer["namespace"]["adminPasswordSecretArn"]


def _value(field: dict[str, Any]) -> Any:
    """Return a Data API field as a Python value: {'isNull': True}, {'longValue': 1} and so on."""
    ((kind, value),) = field.items()
    return None if kind == "isNull" else value


def quote(identifier: str) -> str:
    """Return an SQL identifier that may be a keyword, such as time."""
    return '"' + identifier.replace('"', '""') + '"'


# ---- fingerprints
# --------------------------------------------------------------------------------


def fingerprint_sql(
    schema: str, dataset: dict[str, Any], where: str = "TRUE", table: str = ""
) -> str:
    """Return the query of a table's row count and content hash, over the dataset's columns.

    A row's hash is the first 60 bits of the MD5 of its values as text; the sum does not depend on
    the rows' order.
    """
    line = " || '|' || ".join(_as_text(column) for column in dataset["columns"])
    hashed = f"STRTOL(SUBSTRING(MD5({line}), 1, {HASH_HEX_DIGITS}), 16)"
    name = f"{schema}.{quote(table or dataset['target']['table'])}"
    return f"SELECT COUNT(*), SUM(CAST({hashed} AS DECIMAL(38,0))) FROM {name} WHERE {where}"


def _as_text(column: dict[str, Any]) -> str:
    name = quote(column["name"])
    text = name if column["type"].startswith("varchar") else f"CAST({name} AS VARCHAR(64))"
    return f"COALESCE({text}, '{NULL_TEXT}')"


def fingerprint_of(rows: Iterable[Sequence[str | None]]) -> Fingerprint:
    """Return the same fingerprint of rows of values as the warehouse prints them."""
    count = content = 0
    for row in rows:
        line = "|".join(NULL_TEXT if value is None else value for value in row)
        digest = hashlib.md5(line.encode(), usedforsecurity=False).hexdigest()
        count += 1
        content += int(digest[:HASH_HEX_DIGITS], 16)
    return Fingerprint(count, content)


@command
def main() -> int:
    """Print a table's fingerprint."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.warehouse", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fingerprint = commands.add_parser("fingerprint", help="count and hash of a table")
    fingerprint.add_argument("--env", required=True)
    fingerprint.add_argument("--dataset", required=True)
    fingerprint.add_argument("--schema", choices=SCHEMAS, default=LIVE_SCHEMA)
    arguments = parser.parse_args()

    environment = Environment.load(arguments.env)
    dataset = environment.dataset(arguments.dataset)
    print(Warehouse(environment).fingerprint(arguments.schema, dataset))
    return 0


if __name__ == "__main__":
    sys.exit(main())
