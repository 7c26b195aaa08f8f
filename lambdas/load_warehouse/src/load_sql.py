"""The SQL of one load: copy into a stage, prove the count, merge on the keys, write the history.

The statements are for one transaction. Run again, they leave the same rows.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from pipeline_common.errors import ConfigurationError

STAGE = "stage"
HISTORY = "load_history"


def load_statements(
    run: Mapping[str, Any], dataset: Mapping[str, Any], copy_role_arn: str
) -> list[str]:
    """Returns the statements that load a run's rows into its schema's table of the dataset.

    Raises ConfigurationError for a name that is not an identifier.
    """
    schema, table = identifier(run["schema"]), identifier(dataset["target"]["table"])
    columns = [identifier(column["name"]) for column in dataset["columns"]]
    keys = [identifier(key) for key in dataset["upsert_keys"]]
    loaded = int(run["loaded"])
    history = _history(schema, run)
    if loaded == 0:  # COPY refuses a manifest without files
        return history
    return [
        # Loads follow one another: side by side, both would insert a key that is new to both.
        f"LOCK TABLE {schema}.{table}, {schema}.{HISTORY}",
        f"CREATE TEMP TABLE {STAGE} (LIKE {schema}.{table})",
        f"COPY {STAGE} FROM {literal(run['manifest_uri'])} IAM_ROLE {literal(copy_role_arn)} "
        "FORMAT AS PARQUET MANIFEST",
        _assert_staged(loaded),
        _merge(schema, table, columns, keys),
        *history,
    ]


def _assert_staged(rows: int) -> str:
    """Returns a query that fails, and the transaction with it, unless the stage has so many rows.

    SQL has no assertion; casting the complaint to a number fails with the complaint as the message.
    """
    return (
        f"SELECT CASE WHEN COUNT(*) = {rows} THEN 0 ELSE CAST("
        f"'the report says {rows} loaded rows, COPY found ' || CAST(COUNT(*) AS VARCHAR(20)) "
        f"AS INTEGER) END FROM {STAGE}"
    )


def _merge(schema: str, table: str, columns: list[str], keys: list[str]) -> str:
    values = [column for column in columns if column not in keys] or keys
    return (
        f"MERGE INTO {schema}.{table} USING {STAGE} ON "
        + " AND ".join(f"{table}.{key} = {STAGE}.{key}" for key in keys)
        + " WHEN MATCHED THEN UPDATE SET "
        + ", ".join(f"{column} = {STAGE}.{column}" for column in values)
        + f" WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) VALUES ("
        + ", ".join(f"{STAGE}.{column}" for column in columns)
        + ")"
    )


def _history(schema: str, run: Mapping[str, Any]) -> list[str]:
    """Returns the statements that write the run's line of load_history, once however often they
    run."""
    source_files = json.dumps([source["name"] for source in run["sources"]], ensure_ascii=False)
    line = {
        "run_id": literal(run["run_id"]),
        "dataset": literal(run["dataset"]),
        "source_files": literal(source_files),
        "run_date": f"CAST({literal(run['run_date'])} AS DATE)",
        "release": literal(run["release"]),
        "rows_in": int(run["rows_in"]),
        "rows_loaded": int(run["loaded"]),
        "rows_rejected": int(run["rejected"]),
        "rows_superseded": int(run["superseded"]),
        "loaded_at": "GETDATE()",
    }
    return [
        f"DELETE FROM {schema}.{HISTORY} WHERE run_id = {line['run_id']}",
        f"INSERT INTO {schema}.{HISTORY} ({', '.join(line)}) "
        f"VALUES ({', '.join(str(value) for value in line.values())})",
    ]


def identifier(name: str) -> str:
    """Returns a name quoted for SQL, so that a reserved word is one too; raises ConfigurationError
    for odd names."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,126}", name):
        raise ConfigurationError(
            f"'{name}' cannot be a name in SQL: use lower-case letters, digits and underscores."
        )
    return f'"{name}"'


def literal(text: str) -> str:
    """Returns text as an SQL string: quotes doubled, backslashes as CHR(92).

    Redshift reads a backslash in a string as an escape and PostgreSQL does not; CHR(92) is one in
    both.
    """
    quoted = text.replace("'", "''").replace("\\", "' || CHR(92) || '")
    return f"'{quoted}'"
