"""The warehouse's tables, as the datasets' configuration wants them: what is missing is made, a new
optional column is added, and what would break the rows that are there is refused.

Every schema has the same tables, so that a smoke test loads what a real run loads, beside the real
rows.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.data.warehouse import LIVE_SCHEMA, MAX_STATEMENTS, SCHEMAS, Warehouse, quote
from ops.datasets import RUN_TABLES, WATERMARK
from ops.environment import Environment, OperationError, command

LOAD_HISTORY, LOAD_REJECTIONS, QUALITY_RESULTS, FAILED_RUNS = RUN_TABLES  # every line is of one run

# How Redshift calls the user behind an IAM role.
LOADER = "IAMR:{project}-{environment}-load-warehouse"
KEYS_COMMENT = "upsert keys: "


@dataclass(frozen=True)
class Column:
    """A column of a table; `type` is its SQL type, such as varchar(64)."""

    name: str
    type: str
    required: bool = False

    def __str__(self) -> str:
        return f"{quote(self.name)} {self.type}{' NOT NULL' if self.required else ''}"


@dataclass(frozen=True)
class Table:
    """A table's columns and, where it is a dataset's, its upsert keys."""

    columns: tuple[Column, ...]
    upsert_keys: tuple[str, ...] = ()

    @property
    def comment(self) -> str:
        """The upsert keys, as the table itself remembers them."""
        return KEYS_COMMENT + ", ".join(self.upsert_keys) if self.upsert_keys else ""


# Where a row is from. No column of a dataset begins with an underscore.
LINEAGE = (
    Column("_run_date", "date"),
    Column("_arrived_at", "timestamp"),
    Column("_source_file", "varchar(1024)"),
    Column("_run_id", "varchar(64)"),
)
OWN_TABLES = {
    LOAD_HISTORY: Table(
        (
            Column("run_id", "varchar(64)", required=True),
            Column("dataset", "varchar(64)", required=True),
            Column("source_files", "varchar(65535)", required=True),
            Column("run_date", "date", required=True),
            Column("release", "varchar(64)", required=True),
            Column("rows_in", "bigint", required=True),
            Column("rows_loaded", "bigint", required=True),
            Column("rows_rejected", "bigint", required=True),
            Column("rows_superseded", "bigint", required=True),
            Column("loaded_at", "timestamp", required=True),
            Column("job_name", "varchar(255)"),
            Column("job_run_id", "varchar(255)"),
            Column("is_replay", "boolean"),
            Column("is_late", "boolean"),
            Column("rows_late", "bigint"),
        )
    ),
    # What became of a run's rows and rules: lines of the same run_id as in load_history.
    LOAD_REJECTIONS: Table(
        (
            Column("run_id", "varchar(64)", required=True),
            Column("dataset", "varchar(64)", required=True),
            Column("reason", "varchar(256)", required=True),
            Column("rows_rejected", "bigint", required=True),
        )
    ),
    QUALITY_RESULTS: Table(
        (
            Column("run_id", "varchar(64)", required=True),
            Column("dataset", "varchar(64)", required=True),
            Column("rule", "varchar(1024)", required=True),
            Column("severity", "varchar(16)", required=True),
            Column("state", "varchar(16)", required=True),
            Column("rows_judged", "bigint"),
            Column("rows_unexpected", "bigint"),
            Column("expected", "varchar(65535)", required=True),
            Column("observed", "varchar(65535)", required=True),
        )
    ),
    # Runs that failed. What is not known of a run when it fails is NULL.
    FAILED_RUNS: Table(
        (
            Column("run_id", "varchar(64)", required=True),
            Column("dataset", "varchar(64)"),
            Column("source_files", "varchar(65535)", required=True),
            Column("run_date", "date"),
            Column("release", "varchar(64)", required=True),
            Column("state", "varchar(80)", required=True),
            Column("error", "varchar(1024)", required=True),
            Column("cause", "varchar(65535)", required=True),
            Column("job_name", "varchar(255)"),
            Column("job_run_id", "varchar(255)"),
            Column("failed_at", "timestamp", required=True),
        )
    ),
    WATERMARK: Table(
        (
            Column("dataset", "varchar(64)", required=True),
            Column("run_date", "date", required=True),
            Column("arrived_at", "timestamp"),
            Column("run_id", "varchar(64)"),
            Column("changed_at", "timestamp", required=True),
        )
    ),
}


def tables(config: Mapping[str, Any]) -> dict[str, Table]:
    """Return each table that a schema must have."""
    return {
        dataset["target"]["table"]: dataset_table(dataset)
        for dataset in config["datasets"].values()
    } | OWN_TABLES


def dataset_table(dataset: Mapping[str, Any]) -> Table:
    """Return a dataset's table: its columns in the file's order, then the lineage of each row."""
    columns = (
        Column(column["name"], column["type"], column.get("required", False))
        for column in dataset["columns"]
    )
    return Table((*columns, *LINEAGE), tuple(dataset["upsert_keys"]))


# ---- from the tables that are there to those that are wanted -------------------------------------


@dataclass(frozen=True)
class Evolution:
    """What a table lacks, and what stands against it; `widened` are varchar columns."""

    added: tuple[Column, ...]
    widened: tuple[Column, ...]
    faults: tuple[str, ...]


def evolution(name: str, found: Table, wanted: Table) -> Evolution:
    """Return how a table becomes another one without harm to its rows; each fault is a sentence."""
    there = {column.name: column for column in found.columns}
    named = {column.name: column for column in wanted.columns}
    added, widened, faults = [], [], []
    for column in wanted.columns:
        old = there.get(column.name)
        if old is None:
            if column.required:
                faults.append(f"{name}.{column.name} is new and required: its rows have no value")
            added.append(column)
            continue
        if old.type != column.type:
            if _bytes(column.type) > _bytes(old.type) > 0:
                widened.append(column)
            else:
                faults.append(f"{name}.{column.name} would change from {old.type} to {column.type}")
        if old.required != column.required:
            becomes = "required" if column.required else "no longer required"
            faults.append(f"{name}.{column.name} would become {becomes}")
    faults += [f"{name}.{column} would be removed" for column in there if column not in named]
    if found.upsert_keys and found.upsert_keys != wanted.upsert_keys:
        before, after = ", ".join(found.upsert_keys), ", ".join(wanted.upsert_keys)
        faults.append(f"{name}'s upsert keys would change from ({before}) to ({after})")
    return Evolution(tuple(added), tuple(widened), tuple(faults))


def _bytes(sql_type: str) -> int:
    """Return the size of a varchar, 0 for other types."""
    match = re.fullmatch(r"varchar\((\d+)\)", sql_type)
    return int(match[1]) if match else 0


def refuse(faults: Iterable[str]) -> None:
    """Raise OperationError that names every incompatible change."""
    if listed := "\n  ".join(faults):
        raise OperationError(
            f"the tables cannot take this configuration:\n  {listed}\n"
            "Change it back; or give the dataset another target.table, and fill that with "
            "make rebuild ACCEPT=1"
        )


# ---- in the warehouse ----------------------------------------------------------------------------


def found_tables(warehouse: Warehouse) -> dict[tuple[str, str], Table]:
    """Return the tables that are there, by schema and name."""
    schemas = ", ".join(f"'{schema}'" for schema in SCHEMAS)
    columns: dict[tuple[str, str], list[Column]] = {}
    for schema, table, name, kind, size, precision, scale, nullable in warehouse.run(
        "SELECT table_schema, table_name, column_name, data_type, character_maximum_length, "
        "numeric_precision, numeric_scale, is_nullable FROM information_schema.columns "
        f"WHERE table_schema IN ({schemas}) ORDER BY table_schema, table_name, ordinal_position"
    ).rows:
        column = Column(name, sql_type(kind, size, precision, scale), nullable == "NO")
        columns.setdefault((schema, table), []).append(column)
    keys = {
        (schema, table): tuple(comment.removeprefix(KEYS_COMMENT).split(", "))
        for schema, table, comment in warehouse.run(
            "SELECT n.nspname, c.relname, d.description FROM pg_description d "
            "JOIN pg_class c ON c.oid = d.objoid JOIN pg_namespace n ON n.oid = c.relnamespace "
            f"WHERE d.objsubid = 0 AND n.nspname IN ({schemas}) "
            f"AND d.description LIKE '{KEYS_COMMENT}%'"
        ).rows
    }
    return {name: Table(tuple(cols), keys.get(name, ())) for name, cols in columns.items()}


def sql_type(kind: str, size: int | None, precision: int | None, scale: int | None) -> str:
    """Return a type of information_schema as the configuration writes it."""
    match kind:
        case "character varying":
            return f"varchar({size})"
        case "numeric":
            return f"decimal({precision},{scale})"
        case "timestamp without time zone":
            return "timestamp"
    return kind


def check(warehouse: Warehouse, config: Mapping[str, Any]) -> dict[tuple[str, str], Evolution]:
    """Return how each table that is there has to change.

    Changes nothing. Raises OperationError that names every incompatible change.
    """
    there, wanted = found_tables(warehouse), tables(config)
    evolutions = {
        (schema, name): evolution(f"{schema}.{name}", there[schema, name], table)
        for schema in SCHEMAS
        for name, table in wanted.items()
        if (schema, name) in there
    }
    refuse(fault for change in evolutions.values() for fault in change.faults)
    return evolutions


def prepare(warehouse: Warehouse, config: Mapping[str, Any]) -> list[str]:
    """Make what is missing and return a line for each column that was changed.

    Raises OperationError where a table cannot become what the configuration says, before anything
    is changed. The loader's role is a database user of its own, which owns nothing.
    """
    evolutions = check(warehouse, config)
    user = LOADER.format(**config)
    known = warehouse.run(f"SELECT usename FROM pg_user WHERE usename = '{user}'").rows
    if not list(known):
        warehouse.run(f"CREATE USER {quote(user)} PASSWORD DISABLE")
    added = [
        f"ALTER TABLE {schema}.{quote(name)} ADD COLUMN {column}"
        for (schema, name), change in evolutions.items()
        for column in change.added
    ]
    statements = table_ddl(config) + added + grants(config, user)
    # A transaction takes no more. One that fails leaves whole those before it: the next deploy
    # finds them made and goes on.
    for start in range(0, len(statements), MAX_STATEMENTS):
        warehouse.run_all(statements[start : start + MAX_STATEMENTS])
    widened = [
        f"ALTER TABLE {schema}.{quote(name)} ALTER COLUMN {quote(column.name)} TYPE {column.type}"
        for (schema, name), change in evolutions.items()
        for column in change.widened
    ]
    for statement in widened:  # Redshift does this in no transaction block
        warehouse.run(statement)
    return added + widened


def table_ddl(config: Mapping[str, Any], schemas: Iterable[str] = SCHEMAS) -> list[str]:
    """Return the statements that make every schema and table that is not there yet."""
    statements = []
    for schema in schemas:
        if schema != LIVE_SCHEMA:
            statements.append(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for name, table in tables(config).items():
            statements += create(schema, name, table)
    return statements


def create(schema: str, name: str, table: Table) -> list[str]:
    """Return the statements that make a table unless it is there."""
    columns = ", ".join(map(str, table.columns))
    statements = [f"CREATE TABLE IF NOT EXISTS {schema}.{quote(name)} ({columns})"]
    if table.comment:
        statements.append(f"COMMENT ON TABLE {schema}.{quote(name)} IS '{table.comment}'")
    return statements


def grants(config: Mapping[str, Any], user: str, schemas: Sequence[str] = SCHEMAS) -> list[str]:
    """Return the statements that let a user load every table, and nothing else."""
    statements = []
    for schema in schemas:
        statements.append(f"GRANT USAGE ON SCHEMA {schema} TO {quote(user)}")
        statements += [grant(schema, table, user) for table in tables(config)]
    return statements


def grant(schema: str, table: str, user: str) -> str:
    """Return the statement that lets a user load a table."""
    return f"GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.{quote(table)} TO {quote(user)}"


@command
def main() -> int:
    """Check whether the tables can take a configuration, or make them as it says."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.tables", description=__doc__)
    parser.add_argument("action", choices=("check", "prepare"))
    parser.add_argument("--env", required=True)
    parser.add_argument("--config", type=Path, help="a release's merged configuration")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    config = environment.config
    if arguments.config:
        config = json.loads(arguments.config.read_text(encoding="utf-8"))
    if arguments.action == "check":
        if not environment.has_warehouse():
            print("  no warehouse yet, so no table stands against it", file=sys.stderr)
            return 0
        changes = check(Warehouse(environment), config).values()
        columns = sum(len(change.added) + len(change.widened) for change in changes)
        print(f"  the tables can take it: {columns} columns to add or widen", file=sys.stderr)
        return 0
    for line in prepare(Warehouse(environment), config):
        print(f"  {line}", file=sys.stderr)
    print(f"  {', '.join(tables(config))} in {' and '.join(SCHEMAS)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
