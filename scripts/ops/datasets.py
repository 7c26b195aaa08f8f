"""What a JSON Schema cannot say about a dataset: its names, types, limits and keys together."""

import re
from collections.abc import Iterator
from typing import Any

# Redshift's own limits.
MAX_VARCHAR_BYTES = 65535
MAX_DECIMAL_DIGITS = 38
# What the job writes beside a rejected row's own columns.
RESERVED_NAMES = ("source_file", "source_block", "source_row", "row_text", "reasons")

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
    yield from _column_faults(dataset["columns"])
    names = [column["name"] for column in dataset["columns"]]
    required = [column["name"] for column in dataset["columns"] if column.get("required")]
    for key in ("upsert_keys", "order_by"):
        for index, column in enumerate(dataset[key]):
            if column not in names:
                yield (key, index), f"one of the columns {', '.join(names)}", column
            elif key == "upsert_keys" and column not in required:
                yield (key, index), "a column with `required: true` (NULL matches no row)", column


def _column_faults(columns: list[dict]) -> Iterator[Fault]:
    for index, column in enumerate(columns):
        path = ("columns", index)
        for key in ("source", "name"):
            if column[key] in [earlier[key] for earlier in columns[:index]]:
                yield (*path, key), "a name that no earlier column has", column[key]
        if column.get("required") and column.get("optional"):
            yield (*path, "optional"), "false: a required column is in every file", True
        if column["name"] in RESERVED_NAMES:
            yield (*path, "name"), "a name other than the rejected rows' own", column["name"]
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
