"""The SQL of one load: copy into a stage, drop what is older than the table, merge on the keys,
write the history and the watermark; and that of a run that failed.

The statements are for one transaction. Run again, they leave the same rows, and so do the loads of
any files in any order: of the rows of a key the newest stays, and which one that is depends on the
rows alone. See docs/decisions/0010-the-newest-row-stays.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_common.errors import ConfigurationError

STAGE = "stage"  # the rows as the job wrote them
SOURCES = "sources"  # the run's files
INCOMING = "incoming"  # the rows with their lineage
HISTORY = "load_history"
REJECTIONS = "load_rejections"
RESULTS = "quality_results"
WATERMARK = "watermark"
FAILURES = "failed_runs"
# A statement may have 100 kB.
MOST_OF_A_CAUSE = 5000
# Of two rows of a key, the newer is the greater by the dataset's order_by columns, then by these.
ARRIVAL = ("_run_date", "_arrived_at", "_source_file")
LINEAGE = (*ARRIVAL, "_run_id")

Run = Mapping[str, Any]


def load_statements(run: Run, dataset: Mapping[str, Any], copy_role_arn: str) -> list[str]:
    """Returns the statements that load a run's rows into its table.

    Raises ConfigurationError for a name that is not an identifier.
    """
    schema, table = identifier(run["schema"]), identifier(run["table"])
    loaded = int(run["loaded"])
    # Loads follow one another: side by side, both would insert a key that is new to both.
    lock = f"LOCK TABLE {schema}.{table}, {schema}.{HISTORY}, {schema}.{WATERMARK}"
    closing = [*_history(schema, run), *_watermark(schema, run)]
    if loaded == 0:  # COPY refuses a manifest without files
        return [lock, *closing]
    types = {identifier(column["name"]): column["type"] for column in dataset["columns"]}
    keys = [identifier(key) for key in dataset["upsert_keys"]]
    order = [identifier(name) for name in dataset["order_by"] if identifier(name) not in keys]
    columns = [*types, *map(identifier, LINEAGE)]
    staged = ", ".join(f"{name} {type_}" for name, type_ in types.items())
    target = f"{schema}.{table}"
    return [
        lock,
        # COPY takes as many columns as the files have; no loaded row has a text as a rejected one.
        f'CREATE TEMP TABLE {STAGE} ({staged}, "_source" integer, "_rejected" varchar(1))',
        f"COPY {STAGE} FROM {literal(run['manifest_uri'])} IAM_ROLE {literal(copy_role_arn)} "
        "FORMAT AS PARQUET MANIFEST",
        *_sources(run["sources"]),
        _incoming(list(types), run["run_id"]),
        _assert_incoming(loaded),
        f"DELETE FROM {INCOMING} USING {target} WHERE {_same_key(table, keys)} AND "
        + is_newer(table, INCOMING, [*order, *map(identifier, ARRIVAL)]),
        _merge(target, table, columns, keys),
        *closing,
    ]


def failure_statements(run: Run) -> list[str]:
    """Returns the statements that write the line of a run that failed, once however often they run.

    In: `run_id`, `schema`, `release`, `sources` and `failure`; what else is known of the run.
    """
    table = f"{identifier(run['schema'])}.{FAILURES}"
    failure = run["failure"]
    run_id = literal(run["run_id"])
    line = {
        "run_id": run_id,
        "source_files": literal(_source_files(run)),
        "release": literal(run["release"]),
        "state": literal(failure["State"]),
        "error": literal(failure["Error"]),
        # It may quote a file's bytes; no text of a warehouse holds NUL.
        "cause": literal(failure["Cause"].replace("\0", "")[:MOST_OF_A_CAUSE]),
        "failed_at": "GETDATE()",
    }
    for name in ("dataset", "job_name", "job_run_id"):
        line[name] = literal(run[name]) if name in run else "NULL"
    line["run_date"] = _date(run["run_date"]) if "run_date" in run else "NULL"
    return [f"LOCK TABLE {table}", *_replace(table, run_id, [line])]


def _sources(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = (
        f"({number}, {literal(source['name'])}, {_date(source['run_date'])}, "
        f"{_timestamp(source['arrived_at'])})"
        for number, source in enumerate(sources)
    )
    return [
        f'CREATE TEMP TABLE {SOURCES} ("_source" integer, "_source_file" varchar(1024), '
        '"_run_date" date, "_arrived_at" timestamp)',
        f"INSERT INTO {SOURCES} VALUES {', '.join(rows)}",
    ]


def _incoming(names: Sequence[str], run_id: str) -> str:
    columns = [f"{STAGE}.{name}" for name in names]
    columns += [f"{SOURCES}.{identifier(name)}" for name in ARRIVAL]
    columns.append(f'CAST({literal(run_id)} AS VARCHAR(64)) AS "_run_id"')
    return (
        f"CREATE TEMP TABLE {INCOMING} AS SELECT {', '.join(columns)} FROM {STAGE} "
        f'JOIN {SOURCES} ON {STAGE}."_source" = {SOURCES}."_source"'
    )


def _assert_incoming(rows: int) -> str:
    """Returns a query that fails, and the transaction with it, unless so many rows came in.

    SQL has no assertion; casting the complaint to a number fails with the complaint as the message.
    """
    return (
        f"SELECT CASE WHEN COUNT(*) = {rows} THEN 0 ELSE CAST("
        f"'the report says {rows} loaded rows, COPY found ' || CAST(COUNT(*) AS VARCHAR(20)) "
        f"AS INTEGER) END FROM {INCOMING}"
    )


def _same_key(table: str, keys: Sequence[str]) -> str:
    return " AND ".join(f"{table}.{key} = {INCOMING}.{key}" for key in keys)


def is_newer(left: str, right: str, columns: Sequence[str]) -> str:
    """Returns the condition that a row of `left` is greater than one of `right` by `columns`, the
    first that differs deciding; NULL is the least. Of equal rows neither is."""
    condition = ""
    for column in reversed(columns):
        mine, its = f"{left}.{column}", f"{right}.{column}"
        greater = f"{mine} > {its} OR ({mine} IS NOT NULL AND {its} IS NULL)"
        equal = f"({mine} = {its} OR ({mine} IS NULL AND {its} IS NULL))"
        condition = f"({greater} OR ({equal} AND {condition}))" if condition else f"({greater})"
    return condition


def _merge(target: str, table: str, columns: Sequence[str], keys: Sequence[str]) -> str:
    # By now every row that came in is at least as new as the table's row of its key.
    values = [column for column in columns if column not in keys]
    return (
        f"MERGE INTO {target} USING {INCOMING} ON {_same_key(table, keys)}"
        + " WHEN MATCHED THEN UPDATE SET "
        + ", ".join(f"{column} = {INCOMING}.{column}" for column in values)
        + f" WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) VALUES ("
        + ", ".join(f"{INCOMING}.{column}" for column in columns)
        + ")"
    )


def _history(schema: str, run: Run) -> list[str]:
    """Returns the statements that write the run's line of load_history, its rejected rows by reason
    and its rules' results, once however often they run."""
    loaded = int(run["loaded"])
    last_date = _date(run["run_date"])
    behind = (
        f"(SELECT COUNT(*) FROM {schema}.{WATERMARK} WHERE dataset = {literal(run['dataset'])} "
        f"AND run_date > {last_date}) > 0"
    )
    line = {
        "run_id": literal(run["run_id"]),
        "dataset": literal(run["dataset"]),
        "source_files": literal(_source_files(run)),
        "run_date": last_date,
        "release": literal(run["release"]),
        "job_name": literal(run["job_name"]),
        "job_run_id": literal(run["job_run_id"]),
        "is_replay": str(bool(run["replay"])).upper(),
        # A replay's files are old, but not late.
        "is_late": "FALSE" if run["replay"] else behind,
        "rows_in": int(run["rows_in"]),
        "rows_loaded": loaded,
        "rows_rejected": int(run["rejected"]),
        "rows_superseded": int(run["superseded"]),
        # Of the loaded: what the table has newer rows for.
        "rows_late": f"{loaded} - COUNT(*)" if loaded else 0,
        "loaded_at": "GETDATE()",
    }
    named = {"run_id": line["run_id"], "dataset": line["dataset"]}
    rejections = [
        named | {"reason": literal(reason), "rows_rejected": int(rows)}
        for reason, rows in run["rejected_by_reason"].items()
    ]
    results = [
        named
        | {key: literal(rule[key]) for key in ("rule", "severity", "state")}
        | {key: _number(rule[key]) for key in ("rows_judged", "rows_unexpected")}
        | {key: literal(rule[key]) for key in ("expected", "observed")}
        for rule in run["rules"]
    ]
    return [
        f"DELETE FROM {schema}.{HISTORY} WHERE run_id = {line['run_id']}",
        f"INSERT INTO {schema}.{HISTORY} ({', '.join(line)}) "
        f"SELECT {', '.join(str(value) for value in line.values())}"
        + (f" FROM {INCOMING}" if loaded else ""),
        *_replace(f"{schema}.{REJECTIONS}", line["run_id"], rejections),
        *_replace(f"{schema}.{RESULTS}", line["run_id"], results),
    ]


def _replace(table: str, run_id: str, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the statements after which a table has exactly these lines of a run."""
    delete = f"DELETE FROM {table} WHERE run_id = {run_id}"
    if not lines:
        return [delete]
    values = ", ".join(f"({', '.join(map(str, line.values()))})" for line in lines)
    return [delete, f"INSERT INTO {table} ({', '.join(lines[0])}) VALUES {values}"]


def _source_files(run: Run) -> str:
    return json.dumps([source["name"] for source in run["sources"]], ensure_ascii=False)


def _number(value: int | None) -> int | str:
    return "NULL" if value is None else int(value)


def _watermark(schema: str, run: Run) -> list[str]:
    """Returns the statements that move the dataset's watermark on to the run's files, if they are
    ahead of it; it never goes back by itself."""
    dataset = literal(run["dataset"])
    run_date = _date(run["run_date"])
    arrived_at = _timestamp(max(source["arrived_at"] for source in run["sources"]))
    run_id = literal(run["run_id"])
    return [
        f"UPDATE {schema}.{WATERMARK} SET run_date = GREATEST(run_date, {run_date}), "
        f"arrived_at = GREATEST(arrived_at, {arrived_at}), run_id = {run_id}, "
        f"changed_at = GETDATE() WHERE dataset = {dataset} AND (run_date < {run_date} "
        f"OR arrived_at < {arrived_at} OR arrived_at IS NULL)",
        f"INSERT INTO {schema}.{WATERMARK} (dataset, run_date, arrived_at, run_id, changed_at) "
        f"SELECT {dataset}, {run_date}, {arrived_at}, {run_id}, GETDATE() "
        f"WHERE NOT EXISTS (SELECT 1 FROM {schema}.{WATERMARK} WHERE dataset = {dataset})",
    ]


def _date(text: str) -> str:
    return f"CAST({literal(text)} AS DATE)"


def _timestamp(text: str) -> str:
    """Returns 2017-01-16T02:00:03Z as SQL; the warehouse's timestamps have no zone and are UTC."""
    return f"CAST({literal(text.replace('T', ' ').removesuffix('Z'))} AS TIMESTAMP)"


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
