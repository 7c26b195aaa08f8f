"""What a JSON Schema cannot say about datasets: each one's names, types, limits and keys together,
and that no two of them want the same file or the same table.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

# Redshift's own limits.
MAX_VARCHAR_BYTES = 65535
MAX_DECIMAL_DIGITS = 38
# What the job writes beside a row's own columns, or keeps loaded and rejected rows apart by.
RESERVED_NAMES = ("outcome", "source_file", "source_block", "source_row", "row_text", "reasons")
# What the job adds to a file's columns under their headers, or Spark does.
RESERVED_SOURCES = ("_row_text", "_position", "_metadata")
# Every schema has these tables beside the datasets' own.
RUN_TABLES = ("load_history", "load_rejections", "quality_results", "failed_runs")
WATERMARK = "watermark"

Fault = tuple[tuple[str | int, ...], str, Any]


def dataset_faults(name: str, dataset: dict) -> Iterator[Fault]:
    """Yields (path, expected, found) of what a schema cannot say about one dataset."""
    if dataset["name"] != name:
        yield ("name",), f"{name}, as its file is called", dataset["name"]
    try:
        pattern = re.compile(dataset["file_pattern"])
    except re.error as error:
        yield ("file_pattern",), f"a regular expression ({error})", dataset["file_pattern"]
    else:
        if "run_date" not in pattern.groupindex:
            yield ("file_pattern",), "the group (?P<run_date>...)", dataset["file_pattern"]
        elif not pattern.fullmatch(dataset["example_file"]):
            expected = f"a name that its file_pattern matches, {dataset['file_pattern']}"
            yield ("example_file",), expected, dataset["example_file"]
        elif not _is_day(pattern.fullmatch(dataset["example_file"])["run_date"]):
            expected = "a name whose run_date is a day, YYYYMMDD"
            yield ("example_file",), expected, dataset["example_file"]
    if dataset["target"]["table"] in (*RUN_TABLES, WATERMARK):
        yield ("target", "table"), "a name other than the pipeline's own", dataset["target"][
            "table"
        ]
    yield from _column_faults(dataset["columns"])
    names = [column["name"] for column in dataset["columns"]]
    required = [column["name"] for column in dataset["columns"] if column.get("required")]
    for key in ("upsert_keys", "order_by"):
        for index, column in enumerate(dataset[key]):
            if column not in names:
                yield (key, index), f"one of the columns {', '.join(names)}", column
            elif key == "upsert_keys" and column not in required:
                yield (key, index), "a column with `required: true` (NULL matches no row)", column


def _is_day(text: str) -> bool:
    try:
        return datetime.strptime(text, "%Y%m%d").strftime("%Y%m%d") == text
    except ValueError:
        return False


def shared_faults(datasets: Mapping[str, dict]) -> Iterator[Fault]:
    """Yields what two datasets, each without a fault of its own, both want.

    Two patterns are held against each other by their example files: whether any name at all
    matches both cannot be decided here, so a run refuses a file that two datasets want.
    """
    tables: dict[str, str] = {}
    for name, dataset in datasets.items():
        table = dataset["target"]["table"]
        if table in tables:
            yield (name, "target", "table"), f"a table that {tables[table]} does not have", table
        tables.setdefault(table, name)
        for wanted_by in matching(dataset["example_file"], datasets):
            if wanted_by != name:
                file = dataset["example_file"]
                expected = f"a pattern that does not match {file}, a file of {name}"
                yield (wanted_by, "file_pattern"), expected, datasets[wanted_by]["file_pattern"]


def matching(file_name: str, datasets: Mapping[str, dict]) -> list[str]:
    """Returns the datasets whose file pattern a name matches."""
    return [
        name
        for name, dataset in datasets.items()
        if re.fullmatch(dataset["file_pattern"], file_name)
    ]


def _column_faults(columns: list[dict]) -> Iterator[Fault]:
    for index, column in enumerate(columns):
        path = ("columns", index)
        for key in ("source", "name"):
            # Spark does not tell Price from PRICE.
            if column[key].lower() in [earlier[key].lower() for earlier in columns[:index]]:
                yield (*path, key), "a name that no earlier column has", column[key]
        if "`" in column["source"] or column["source"].lower() in RESERVED_SOURCES:
            expected = f"a header without ` and other than {', '.join(RESERVED_SOURCES)}"
            yield (*path, "source"), expected, column["source"]
        if column.get("required") and column.get("optional"):
            yield (*path, "optional"), "false: a required column is in every file", True
        if column["name"] in RESERVED_NAMES:
            yield (*path, "name"), "a name other than the job's own", column["name"]
        kind, *sizes = re.findall(r"\w+", column["type"])
        if kind == "varchar" and not 1 <= int(sizes[0]) <= MAX_VARCHAR_BYTES:
            yield (*path, "type"), f"varchar of 1 to {MAX_VARCHAR_BYTES} bytes", column["type"]
        if kind == "decimal":
            precision, scale = map(int, sizes)
            if not scale <= precision or not 1 <= precision <= MAX_DECIMAL_DIGITS:
                expected = f"decimal(p,s) with p from 1 to {MAX_DECIMAL_DIGITS}, s from 0 to p"
                yield (*path, "type"), expected, column["type"]
        for key in {"min", "max"} & column.keys():
            if kind not in ("bigint", "integer", "decimal"):
                yield (*path, key), f"no limit: a {kind} is not a number", column[key]
        if column.get("min", 0) > column.get("max", column.get("min", 0)):
            yield (*path, "min"), f"at most max, which is {column['max']}", column["min"]
