"""The Data API's statements: how they are kept, run and cancelled, and what they gave.

A statement is a dictionary as the store keeps it; ``parts`` are its SQL texts with their own
status, error and result, one for ExecuteStatement, several for a batch.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from localaws import redshift_copy, redshift_serverless, redshift_sql
from localaws.aws_json import ServiceError
from localaws.postgres import PostgresError
from localaws.redshift_copy import LoadError, Warehouse
from localaws.redshift_sql import Plan, SqlError
from localaws.redshift_store import PAGE, STATEMENT, pages

ENDED = ("FINISHED", "FAILED", "ABORTED")
SUPERUSER_ROLE = "sys:superuser"
_THREADS = 20
_MOST_ACTIVE = 500
_TOKEN_LIFE = timedelta(hours=8)
_RESULT_LIFE = timedelta(hours=24)
_PAGE_ROWS = 1000
_PAGE_BYTES = 1_000_000

logger = logging.getLogger("redshift-data")


# ---- their life ------------------------------------------------------------------


class Statements:
    """All statements: the stored ones, and those that run, with their threads and connections."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._lock = threading.Lock()
        self._running: dict[str, dict[str, Any]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def begin(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="redshift-data")
        oldest = datetime.now(UTC) - _RESULT_LIFE
        store = redshift_serverless.store()
        for found in store.all(STATEMENT):
            place = (found["account"], found["region"], found["id"])
            if found["created"] < oldest:
                store.delete(STATEMENT, *place)
                store.delete(PAGE, *place)
            elif found["status"] not in ENDED:
                _fail(found, "the service was stopped while the statement ran")
                store.put(STATEMENT, *place, found)

    def end(self) -> None:
        with self._lock:
            running, self._running = list(self._running.values()), {}
        for task in running:
            if task["connection"]:
                task["connection"].cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def find(self, identifier: str, account: str | None = None) -> dict[str, Any] | None:
        """Return a statement by its id or a part's id (<id>:<number>)."""
        identifier = identifier.partition(":")[0]
        with self._lock:
            task = self._running.get(identifier)
        found = (
            task["statement"] if task else redshift_serverless.store().find(STATEMENT, identifier)
        )
        return found if found and account in (None, found["account"]) else None

    def all(self, account: str, region: str) -> list[dict[str, Any]]:
        """Return an account's statements of the last 24 hours, the newest first."""
        oldest = datetime.now(UTC) - _RESULT_LIFE
        found = redshift_serverless.store().all(STATEMENT, account, region)
        return sorted(
            (one for one in found if one["created"] >= oldest),
            key=lambda one: one["created"],
            reverse=True,
        )

    def submit(self, statement: dict[str, Any], run: Callable[[dict], None]) -> dict[str, Any]:
        """Queue a statement; return it, or the one that its ClientToken has submitted before."""
        with self._lock:
            if repeated := self._same_token(statement):
                return repeated
            if len(self._running) >= _MOST_ACTIVE:
                raise ServiceError(
                    "ActiveStatementsExceededException",
                    f"The number of active statements exceeds the limit of {_MOST_ACTIVE}.",
                )
            task = {
                "statement": statement,
                "connection": None,
                "cancelled": False,
                "ended": threading.Event(),
            }
            self._running[statement["id"]] = task
            self.save(statement)
        self._pool.submit(self._run, task, run)
        return statement

    def wait(self, identifier: str, seconds: float | None) -> None:
        """Wait until a statement has ended, for at most so long."""
        with self._lock:
            task = self._running.get(identifier.partition(":")[0])
        if task and seconds:
            task["ended"].wait(seconds)

    def cancel(self, statement: dict[str, Any]) -> bool:
        """Stop a statement that has not ended; return whether there was one to stop."""
        with self._lock:
            task = self._running.get(statement["id"])
            if task is None or statement["status"] in ENDED:
                return False
            task["cancelled"] = True
            connection = task["connection"]
        if connection:
            connection.cancel()
        task["ended"].wait(10)
        return statement["status"] == "ABORTED"

    def save(self, statement: dict[str, Any]) -> None:
        statement["updated"] = datetime.now(UTC)
        place = (statement["account"], statement["region"], statement["id"])
        redshift_serverless.store().put(STATEMENT, *place, statement)

    def _same_token(self, statement: dict[str, Any]) -> dict[str, Any] | None:
        if not statement["token"]:
            return None
        for found in self.all(statement["account"], statement["region"]):
            young = found["created"] >= datetime.now(UTC) - _TOKEN_LIFE
            if young and (found["token"], found["owner"]) == (
                statement["token"],
                statement["owner"],
            ):
                return found
        return None

    def _run(self, task: dict[str, Any], run: Callable[[dict], None]) -> None:
        statement = task["statement"]
        statement["status"] = "STARTED"
        self.save(statement)
        begun = time.monotonic_ns()
        try:
            run(task)
            statement["status"] = "FINISHED"
        except _Cancelled:
            statement["status"] = "ABORTED"
        except _BatchError as error:
            statement.update(status="FAILED", error=str(error))
        except SqlError as error:
            _fail(statement, str(error))
        except (PostgresError, psycopg.Error) as error:
            _fail(statement, str(error).strip())
        # pylint: disable-next=broad-exception-caught
        except Exception as error:  # the caller must not wait for ever for a thread that died
            logger.exception("statement %s", statement["id"])
            _fail(statement, f"internal error of local AWS: {type(error).__name__}: {error}")
        statement["duration"] = time.monotonic_ns() - begun
        with self._lock:
            if self._running.pop(statement["id"], None):
                self.save(statement)
        task["ended"].set()


class _BatchError(Exception):
    """One of a batch's statements failed; the message names it."""


class _Cancelled(Exception):
    """The statement was cancelled by its owner."""


def _fail(statement: dict[str, Any], message: str) -> None:
    statement["status"] = "FAILED"
    statement["error"] = f"ERROR: {message}"


statements = Statements()


# ---- running ------------------------------------------------------------------------------------


def run_one(task: dict[str, Any]) -> None:
    """Run ExecuteStatement's statement in a transaction of its own."""
    statement = task["statement"]
    with connect(task) as connection:
        plan = redshift_sql.translate(statement["sqls"][0], statement["parameters"])
        _run_part(task, connection, plan, statement["parts"][0])


def run_batch(task: dict[str, Any]) -> None:
    """Run BatchExecuteStatement's statements in one transaction: all or none."""
    statement = task["statement"]
    parts = statement["parts"]
    with connect(task) as connection:
        connection.execute("BEGIN")
        try:
            for sql, part in zip(statement["sqls"], parts):
                _start_part(statement, part)
                try:
                    used = {k: v for k, v in statement["parameters"].items() if f":{k}" in sql}
                    plan = redshift_sql.translate(sql, used)
                    if plan.standalone:
                        raise SqlError(f"{plan.standalone} cannot run inside a transaction block")
                    _run_steps(task, connection, plan, part)
                except SqlError as error:
                    _fail(part, str(error))
                    number = parts.index(part) + 1
                    raise _BatchError(f"Query #{number} failed with {part['error']}") from error
                part["status"] = "FINISHED"
                if plan.commits:
                    connection.execute("COMMIT")
                    connection.execute("BEGIN")
            connection.execute("COMMIT")
        except BaseException:
            for part in parts:
                if part["status"] not in ENDED:
                    part["status"] = "ABORTED"
            raise


def _run_part(
    task: dict[str, Any], connection: psycopg.Connection, plan: Plan, part: dict[str, Any]
) -> None:
    _start_part(task["statement"], part)
    connection.execute("BEGIN")
    _run_steps(task, connection, plan, part)
    connection.execute("COMMIT")


def _start_part(statement: dict[str, Any], part: dict[str, Any]) -> None:
    part.update(status="STARTED", created=datetime.now(UTC))
    statements.save(statement)


def _run_steps(
    task: dict[str, Any], connection: psycopg.Connection, plan: Plan, part: dict[str, Any]
) -> None:
    """Run a plan; write down what it gave. Raises SqlError in Redshift's words."""
    begun = time.monotonic_ns()
    try:
        if plan.kind == "sql":
            for step in plan.steps:
                cursor = connection.execute(step)
            _keep_result(task["statement"], part, cursor)
        else:
            part["rows"] = _move(task["statement"], connection, plan.kind, part)
    except psycopg.errors.QueryCanceled as error:
        if task["cancelled"]:
            part["status"] = "ABORTED"
            raise _Cancelled from error
        raise SqlError(_in_redshifts_words(error)) from error
    except psycopg.Error as error:
        raise SqlError(_in_redshifts_words(error)) from error
    finally:
        part["duration"] = time.monotonic_ns() - begun
        part["updated"] = datetime.now(UTC)


def _move(
    statement: dict[str, Any], connection: psycopg.Connection, kind: str, part: dict[str, Any]
) -> int:
    """Run a COPY or an UNLOAD; a line that could not be loaded stays in stl_load_errors."""
    namespace = redshift_serverless.namespace_of(
        redshift_serverless.workgroup(
            statement["account"], statement["region"], statement["workgroup"]
        )
    )
    warehouse = Warehouse(namespace, statements.endpoint, statement["user"])
    run = redshift_copy.copy if kind == "copy" else redshift_copy.unload
    try:
        return run(part["sql"], connection, warehouse)
    except LoadError as error:
        # A connection of its own: the failed transaction takes everything else back.
        server = redshift_serverless.server(namespace)
        with server.connect(statement["database"]) as other:
            other.execute(
                "INSERT INTO redshift_catalog.stl_load_errors "
                "(query, filename, line_number, colname, raw_field_value, err_code, err_reason) "
                "VALUES (txid_current(), %(filename)s, %(line_number)s, %(colname)s, "
                "%(raw_field_value)s, %(err_code)s, %(err_reason)s)",
                error.row,
            )
        raise


def connect(task: dict[str, Any]) -> psycopg.Connection:
    """Open the statement's connection, unless the statement was cancelled before it began."""
    statement = task["statement"]
    namespace = redshift_serverless.namespace_of(
        redshift_serverless.workgroup(
            statement["account"], statement["region"], statement["workgroup"]
        )
    )
    server = redshift_serverless.server(namespace)
    superuser = statement["user"] == namespace["adminUsername"]
    server.ensure_user(
        statement["user"],
        superuser=superuser or SUPERUSER_ROLE in statement["roles"],
        roles=statement["roles"],
    )
    connection = server.connect(statement["database"], statement["user"])
    task["connection"] = connection
    statement["pid"] = connection.info.backend_pid
    if task["cancelled"]:
        connection.close()
        raise _Cancelled
    return connection


_REDSHIFT_WORDS: dict[type[psycopg.Error], Callable[[psycopg.Error], str]] = {
    psycopg.errors.CardinalityViolation: lambda error: (
        "Found multiple matches to update the same tuple."
    ),
    psycopg.errors.NotNullViolation: lambda error: (
        f"Cannot insert a NULL value into column {error.diag.column_name}"
    ),
    psycopg.errors.DivisionByZero: lambda error: "Divide by zero",
    psycopg.errors.QueryCanceled: lambda error: "Query cancelled on user's request",
}


_TOO_LONG = "Value too long for character type"


def _in_redshifts_words(error: psycopg.Error) -> str:
    """Return the message of an error as Redshift gives it, where it has other words."""
    diagnosis = error.diag
    primary = diagnosis.message_primary or str(error).strip()
    if isinstance(error, psycopg.errors.CheckViolation):  # redshift_catalog.sql's only check
        number = diagnosis.constraint_name.removeprefix("bytes_")
        where = f"column {number} of the table {diagnosis.table_name}"
        return str(redshift_copy.redshift_error(_TOO_LONG, redshift_copy.LOAD_ERROR, where))
    if isinstance(error, psycopg.errors.StringDataRightTruncation):
        return str(redshift_copy.redshift_error(_TOO_LONG, redshift_copy.LOAD_ERROR, primary))
    if isinstance(error, psycopg.errors.CardinalityViolation) and "MERGE" not in primary:
        return primary
    for kind, words in _REDSHIFT_WORDS.items():
        if isinstance(error, kind):
            return words(error)
    hint = f"\n  Hint: {diagnosis.message_hint}" if diagnosis.message_hint else ""
    detail = f"\n  Detail: {diagnosis.message_detail}" if diagnosis.message_detail else ""
    return primary + detail + hint


# ---- results ------------------------------------------------------------------------------------

TYPES = {
    16: "bool", 17: "varbyte", 19: "name", 20: "int8", 21: "int2", 23: "int4", 25: "varchar",
    26: "oid", 700: "float4", 701: "float8", 1042: "bpchar", 1043: "varchar", 1082: "date",
    1083: "time", 1114: "timestamp", 1184: "timestamptz", 1266: "timetz", 1700: "numeric",
    3802: "super", 2278: "varchar", 2205: "varchar",
}  # fmt: skip
INTEGERS, FLOATS, BOOLEAN = {20, 21, 23, 26}, {700, 701}, 16
PRECISIONS = {16: 1, 20: 19, 21: 5, 23: 10, 700: 8, 701: 17}


def _keep_result(statement: dict[str, Any], part: dict[str, Any], cursor: psycopg.Cursor) -> None:
    """Store a query's rows in pages, or the number of rows that a command changed."""
    if cursor.description is None:
        part["rows"] = max(cursor.rowcount, 0)
        return
    result = cursor.pgresult
    kinds = [result.ftype(column) for column in range(result.nfields)]
    rows = [
        [_field(result.get_value(row, column), kind) for column, kind in enumerate(kinds)]
        for row in range(result.ntuples)
    ]
    store, place = redshift_serverless.store(), (statement["account"], statement["region"])
    size = 0
    count = 0
    for page in pages(rows, _PAGE_ROWS, _PAGE_BYTES):
        size += len(json.dumps(page, ensure_ascii=False))
        store.put(PAGE, *place, f"{statement['id']}/{part['id']}/{count}", {"records": page})
        count += 1
    part.update(
        rows=len(rows),
        size=size,
        pages=count,
        columns=[_column(column) for column in cursor.description],
        has_result=True,
    )


def _field(value: bytes | None, kind: int) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    text = value.decode()
    if kind in INTEGERS:
        return {"longValue": int(text)}
    if kind in FLOATS:
        number = float(text)
        # JSON has no word for infinity and not-a-number.
        return {"doubleValue": number} if number - number == 0 else {"stringValue": text}
    if kind == BOOLEAN:
        return {"booleanValue": text == "t"}
    return {"stringValue": text}


def _column(column: psycopg.Column) -> dict[str, Any]:
    kind = column.type_code
    length = column.display_size
    if kind in (25, 1043, 3802) and length is None:
        length = redshift_sql.LONGEST_VARCHAR
    return {
        "isCaseSensitive": kind in (25, 1042, 1043),
        "isCurrency": False,
        "isSigned": kind in INTEGERS | FLOATS | {1700},
        "label": column.name,
        "name": column.name,
        "nullable": 1,
        "precision": column.precision or length or PRECISIONS.get(kind, 0),
        "scale": column.scale or 0,
        "schemaName": "",
        "tableName": "",
        "typeName": TYPES.get(kind, "varchar"),
        "length": length or 0,
    }
