"""DuckDB: the job's work in SQL; and the count and the hash of what any peer has written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from tests.bench.products import COLUMNS, NAMES, TEXTS

# `place` orders rows as the load has them: DuckDB keeps to the order of the files and their rows.
READ = f"""
CREATE TEMP VIEW read AS
SELECT
    row_number() OVER () - 1 AS place,
    list_position({{files}}, filename) - 1 AS _source,
    {", ".join(f'"{header}" AS raw_{name}' for header, name in COLUMNS.items())}
FROM read_csv(
    {{files}}, columns = {dict.fromkeys(COLUMNS, "VARCHAR")}, auto_detect = false, header = true,
    delim = ',', quote = '"', escape = '"', filename = true
)
"""

# TRY_CAST takes more than the job does: 1.5 as an integer, a day as a timestamp. And to trim every
# text, the most of which need none, would be half of all work.
MACROS = r"""
CREATE TEMP MACRO text_of(value) AS nullif(
    CASE WHEN regexp_matches(value, '^[\s\x0b]|[\s\x0b]$')
    THEN trim(value, E' \t\n\x0b\f\r') ELSE value END, ''
);
CREATE TEMP MACRO is_blank(value) AS value IS NULL OR regexp_full_match(value, '[\s\x0b]*');
CREATE TEMP MACRO is_integer(value) AS regexp_full_match(value, '\s*[+-]?[0-9]+\s*');
CREATE TEMP MACRO is_decimal(value) AS regexp_full_match(
    value, '\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*'
);
CREATE TEMP MACRO is_timestamp(value) AS regexp_full_match(
    value, '\s*[0-9]{4}(-[0-9]{2}){2}[ T][0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,6})?\s*'
);
"""

TYPED = f"""
CREATE TEMP VIEW typed AS
SELECT
    *,
    CASE WHEN is_integer(raw_product_id) THEN TRY_CAST(raw_product_id AS BIGINT) END AS product_id,
    {", ".join(f"text_of(raw_{name}) AS {name}" for name in TEXTS)},
    CASE WHEN is_decimal(raw_price) THEN TRY_CAST(raw_price AS DECIMAL(12, 4)) END AS price,
    CASE WHEN is_integer(raw_quantity) THEN TRY_CAST(raw_quantity AS INTEGER) END AS quantity,
    CASE WHEN is_integer(raw_store_id) THEN TRY_CAST(raw_store_id AS INTEGER) END AS store_id,
    CASE WHEN is_timestamp(raw_time) THEN TRY_CAST(raw_time AS TIMESTAMP) END AS time
FROM read
"""


def _any_contains(character: str, reason: str) -> str:
    found = " OR ".join(f"contains({name}, {character})" for name in TEXTS)
    return f"CASE WHEN {found} THEN '{reason}' END"


def _text_fault(name: str, size: int) -> str:
    return f"CASE WHEN strlen({name}) > {size} THEN '{name}_too_long' END"


def _number_fault(name: str, kind: str, minimum: int) -> str:
    return f"""CASE
        WHEN {name} < {minimum} THEN '{name}_{"below_minimum" if minimum else "negative"}'
        WHEN {name} IS NOT NULL THEN NULL
        WHEN is_blank(raw_{name}) THEN '{name}_missing'
        WHEN is_{kind}(raw_{name}) THEN '{name}_out_of_range'
        ELSE '{name}_not_{"an" if kind == "integer" else "a"}_{kind}'
    END"""


FAULTS = ", ".join(
    [
        _any_contains("'\ufffd'", "invalid_utf8"),
        _any_contains("chr(0)", "nul_character"),
        _number_fault("product_id", "integer", 1),
        *(_text_fault(name, size) for name, size in TEXTS.items()),
        _number_fault("price", "decimal", 0),
        _number_fault("quantity", "integer", 0),
        _number_fault("store_id", "integer", 1),
        """CASE
        WHEN time IS NOT NULL THEN NULL
        WHEN is_blank(raw_time) THEN 'time_missing'
        ELSE 'time_not_a_timestamp'
    END""",
    ]
)

GOOD = f"""
CREATE TEMP TABLE good AS
SELECT place, _source, {", ".join(NAMES)} FROM typed WHERE coalesce({FAULTS}) IS NULL
"""

# To read the text again takes less than to keep all of it for the sake of few rows.
REJECTED = f"""
CREATE TEMP TABLE rejected AS
SELECT
    place, _source, {", ".join(f"raw_{name} AS {name}" for name in NAMES)},
    list_filter([{FAULTS}], lambda fault: fault IS NOT NULL) AS reasons
FROM typed
WHERE coalesce({FAULTS}) IS NOT NULL
"""

REPEATED = """
CREATE TEMP TABLE repeated AS
SELECT product_id, time, max(place) AS latest, count(*) AS rows
FROM good
GROUP BY product_id, time
HAVING count(*) > 1
"""

COPY_LOADED = f"""
COPY (
    SELECT {", ".join(f"good.{name}" for name in NAMES)}, _source::INTEGER AS _source
    FROM good LEFT JOIN repeated ON
        good.product_id = repeated.product_id AND good.time = repeated.time
    WHERE latest IS NULL OR latest = place
) TO '{{output}}/loaded/rows.parquet' (COMPRESSION snappy)
"""

COPY_REJECTED = f"""
COPY (
    WITH files AS (
        SELECT _source, min(place) AS first
        FROM (SELECT _source, place FROM good UNION ALL SELECT _source, place FROM rejected)
        GROUP BY _source
    )
    SELECT
        {", ".join(NAMES)}, parse_filename({{files}}[_source + 1]) AS source_file,
        0::BIGINT AS source_block, place - first AS source_row, NULL::VARCHAR AS row_text, reasons
    FROM rejected JOIN files USING (_source)
) TO '{{output}}/rejected/rows.parquet' (COMPRESSION snappy)
"""

COUNTS = """
SELECT
    (SELECT count(*) FROM good) AS good,
    (SELECT count(*) FROM rejected) AS rejected,
    (SELECT coalesce(sum(rows - 1), 0) FROM repeated)::BIGINT AS superseded
"""

REASONS = "SELECT reasons[1] AS reason, count(*) FROM rejected GROUP BY reason ORDER BY reason"

# The rules of config/common/expectations/products.json that judge rows, by their columns.
BROKEN = """
SELECT
    (SELECT coalesce(sum(rows), 0) FROM repeated)::BIGINT AS "product_id, time",
    count(*) FILTER (product_category IS NULL) AS product_category,
    count(*) FILTER (brand NOT IN ('National', 'Private')) AS brand,
    count(*) FILTER (NOT regexp_matches(department, '^[A-Z][A-Z&/ -]*$')) AS department,
    count(*) FILTER (length(product_name) NOT BETWEEN 2 AND 100) AS product_name,
    count(*) FILTER (price > 200) AS price,
    count(*) FILTER (time < TIMESTAMP '2010-01-01') AS time
FROM good
"""


def job(work: Mapping[str, Any]) -> dict[str, Any]:
    """Do the job's work; return what its report says of the rows."""
    output = Path(work["output"])
    for name in ("loaded", "rejected"):
        (output / name).mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET temp_directory = '{output}/temporary'")
        connection.execute(MACROS)
        for statement in (READ, TYPED, GOOD, REJECTED, REPEATED, COPY_LOADED, COPY_REJECTED):
            connection.execute(
                statement.replace("{files}", str(work["files"])).replace("{output}", str(output))
            )
        (counts,) = _rows(connection, COUNTS)
        (broken,) = _rows(connection, BROKEN)
        reasons = dict(connection.execute(REASONS).fetchall())
    return {
        "rows_in": counts["good"] + counts["rejected"],
        "loaded": counts["good"] - counts["superseded"],
        "rejected": counts["rejected"],
        "superseded": counts["superseded"],
        "rejected_by_reason": reasons,
        "broken": broken,
    }


# In the types that the table has, whatever a peer has written them as.
TABLE_TYPES = {
    "product_id": "BIGINT",
    **dict.fromkeys(TEXTS, "VARCHAR"),
    "price": "DECIMAL(12, 4)",
    "quantity": "INTEGER",
    "store_id": "INTEGER",
    "time": "TIMESTAMP",
    "_source": "INTEGER",
}
REJECTED_TYPES = {
    **dict.fromkeys((*NAMES, "source_file"), "VARCHAR"),
    "source_block": "BIGINT",
    "source_row": "BIGINT",
    "row_text": "VARCHAR",
    "reasons": "VARCHAR[]",
}


def content(work: Mapping[str, Any]) -> dict[str, Any]:
    """Return rows and hash of what a peer wrote: the same for the same rows in any order."""
    found = {}
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET TimeZone = 'UTC'")
        for name, types in (("loaded", TABLE_TYPES), ("rejected", REJECTED_TYPES)):
            folder = Path(work["output"]) / name
            if not folder.exists():  # the job's own layout
                folder = Path(work["output"]) / f"rows/outcome={name}"
            files = [str(file) for file in folder.glob("*.parquet")]
            if not files:
                found[name] = {"rows": 0, "hash": None}
                continue
            present = connection.execute(f"SELECT name FROM parquet_schema({files[:1]})").fetchall()
            complete = set(types) <= {name for (name,) in present}
            values = ", ".join(f"{column}::{type_}" for column, type_ in types.items())
            total = f"sum(hash({values}))::VARCHAR" if complete else "NULL"
            (row,) = connection.execute(
                f"SELECT count(*), {total} FROM read_parquet({files})"
            ).fetchall()
            found[name] = dict(zip(("rows", "hash"), row))
    return found


PEERS = {"duckdb": job, "content": content}


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    found = connection.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()]
