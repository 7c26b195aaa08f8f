"""What Redshift's APIs know of themselves: namespaces, workgroups, statements and their results.

Kept in SQLite, written at once, so that it survives a crash as the warehouse's rows do.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
  kind TEXT, account TEXT, region TEXT, name TEXT, document TEXT NOT NULL,
  PRIMARY KEY (kind, account, region, name)
) WITHOUT ROWID
"""
NAMESPACE, WORKGROUP, STATEMENT, PAGE = "namespace", "workgroup", "statement", "page"


class Store:
    """Documents (dictionaries that JSON can hold, and datetimes) by kind, account, region, name."""

    def __init__(self, path: Path):
        self._lock = threading.Lock()
        path.touch(mode=0o600)  # it holds passwords
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(_SCHEMA)

    def get(self, kind: str, account: str, region: str, name: str) -> dict[str, Any] | None:
        """Return a document, None where there is none."""
        rows = self._run(
            "SELECT document FROM documents WHERE kind=? AND account=? AND region=? AND name=?",
            (kind, account, region, name),
        )
        return _load(rows[0][0]) if rows else None

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return the document of a name that is unique among all accounts, None without one."""
        rows = self._run("SELECT document FROM documents WHERE kind=? AND name=?", (kind, name))
        return _load(rows[0][0]) if rows else None

    def put(self, kind: str, account: str, region: str, name: str, document: dict) -> None:
        """Write a document in the place of what was there."""
        self._run(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)",
            (kind, account, region, name, json.dumps(document, default=_tagged)),
        )

    def delete(self, kind: str, account: str, region: str, name: str) -> None:
        """Remove a document and, by their names' beginning, those that belong to it."""
        self._run(
            "DELETE FROM documents WHERE kind=? AND account=? AND region=? "
            "AND (name=? OR substr(name, 1, length(?)+1) = ? || '/')",
            (kind, account, region, name, name, name),
        )

    def all(self, kind: str, account: str | None = None, region: str | None = None) -> list[dict]:
        """Return the documents of a kind, in the order of their names."""
        rows = self._run(
            "SELECT document FROM documents WHERE kind=? AND account=coalesce(?, account) "
            "AND region=coalesce(?, region) ORDER BY account, region, name",
            (kind, account, region),
        )
        return [_load(document) for (document,) in rows]

    def close(self) -> None:
        """Write out and close; the store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def _run(self, sql: str, values: tuple) -> list[tuple]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()


def pages(rows: list, most_rows: int, most_bytes: int) -> Iterator[list]:
    """Cut a result's records into pages of at most so many rows and about so many bytes."""
    page: list = []
    size = 0
    for row in rows:
        page.append(row)
        size += sum(len(str(field)) for field in row)
        if len(page) >= most_rows or size >= most_bytes:
            yield page
            page, size = [], 0
    if page:
        yield page


def _tagged(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"__datetime__": value.isoformat()}
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _load(document: str) -> dict[str, Any]:
    return json.loads(
        document,
        object_hook=lambda o: (
            datetime.fromisoformat(o["__datetime__"]) if "__datetime__" in o else o
        ),
    )
