"""Quality rules in the configuration: Great Expectations 1.x suites, read and checked.

A suite is a list. Here its rules get names, so that an environment's suite can change one rule of
the common one: a rule is called by its `id`, or else by its type and columns, as in
expect_column_values_to_be_between(price).
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

# Which columns a type can speak about, by the kind of their type; any where it is not named.
KINDS = {
    "expect_column_values_to_be_between": ("bigint", "integer", "decimal", "timestamp"),
    "expect_column_values_to_match_regex": ("varchar",),
    "expect_column_value_lengths_to_be_between": ("varchar",),
}
NUMBERS = ("bigint", "integer", "decimal")
# The job's regular expressions are Java's, which refuses or means otherwise what these find, each
# where the one before has left `_`: escapes; classes within classes, or their intersection; named
# groups and other extensions, comments, the flags a and L, a brace that begins no repetition.
ESCAPE = re.compile(r"\\N\{[^}]*\}|\\.", re.DOTALL)
NOT_JAVAS_ESCAPE = re.compile(r"\\(U|0(?![0-7]))")
CLASS = re.compile(r"\[\^?\]?[^\]]*\]")
NOT_JAVA = re.compile(r"\(\?(P|\(|#|[a-z]*[aL])|\{(?!\d+(,\d*)?\})", re.ASCII)

Path = tuple[str | int, ...]
Fault = tuple[Path, str, Any]


class SuiteError(ValueError):
    """A file is not a suite; the message names the place, what was expected and what was found."""


def read_suite(text: str, dataset: str) -> dict[str, dict[str, Any]]:
    """Returns a suite's rules by name; raises SuiteError for what is not a suite of the dataset."""
    try:
        suite = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise SuiteError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list):
        raise SuiteError("expected a Great Expectations suite: a mapping with a list expectations")
    if unknown := suite.keys() - {"name", "id", "expectations", "meta", "notes"}:
        raise SuiteError(f"{min(unknown)}: expected one of name, id, expectations, meta, notes")
    if suite.get("name") != dataset:
        found = json.dumps(suite.get("name"))
        raise SuiteError(f"name: expected {dataset}, as its file is called; found {found}")
    rules: dict[str, dict[str, Any]] = {}
    for index, expectation in enumerate(suite["expectations"]):
        name = _name(expectation, f"expectations[{index}]")
        if name in rules:
            raise SuiteError(
                f"expectations[{index}]: {name} is there already; give one of them an id of its own"
            )
        rules[name] = expectation
    return rules


def suite_of(dataset: dict[str, Any]) -> dict[str, Any]:
    """Returns a dataset's merged rules as Great Expectations takes them."""
    return {"name": dataset["name"], "expectations": list(dataset.get("expectations", {}).values())}


def rule_schema(schema: dict[str, Any], type_: str) -> dict[str, Any]:
    """Returns the schema of the arguments of one type."""
    return schema["$defs"]["kwargs"][type_] | {"$defs": schema["$defs"]}


def rule_faults(rule: dict[str, Any], columns: dict[str, str]) -> Iterator[Fault]:
    """Yields what a schema cannot say about one rule; `columns` are the dataset's, name -> type."""
    kwargs, type_ = rule["kwargs"], rule["type"]
    named = [((key,), kwargs[key]) for key in ("column", "column_A", "column_B") if key in kwargs]
    for key in ("column_list", "column_set"):
        named += [((key, index), name) for index, name in enumerate(kwargs.get(key, []))]
    unknown = [(path, name) for path, name in named if name not in columns]
    for path, name in unknown:
        yield path, f"one of the columns {', '.join(columns)}", name
    if type_.endswith("_to_be_between"):
        yield from _limit_faults(kwargs)
    if "regex" in kwargs:
        if fault := _regex_fault(kwargs["regex"]):
            yield ("regex",), f"a regular expression{fault}", kwargs["regex"]
    if "column" in kwargs and not unknown:
        kind = columns[kwargs["column"]].partition("(")[0]
        if kind not in KINDS.get(type_, (kind,)):
            kinds = ", ".join(KINDS[type_])
            yield ("column",), f"a column of the type {kinds}; it is a {kind}", kwargs["column"]
        elif type_ != "expect_column_value_lengths_to_be_between":
            yield from _value_faults(kwargs, kind)
    if {"column_A", "column_B"} <= kwargs.keys() and not unknown:
        kinds = {_comparable(columns[kwargs[key]]) for key in ("column_A", "column_B")}
        if len(kinds) > 1:
            yield ("column_B",), f"a column comparable with {kwargs['column_A']}", kwargs[
                "column_B"
            ]


def _regex_fault(regex: str) -> str:
    """Returns what is wrong with a regular expression in words; nothing where it is none."""
    if found := _not_java(regex):
        return f" of Java's, without {found}"
    try:
        re.compile(regex)
    except re.error as error:
        return f" ({error})"
    return ""


def _not_java(regex: str) -> str:
    """Returns what Java does not read as Python does; nothing where there is no such thing."""
    for escape in ESCAPE.finditer(regex):
        if NOT_JAVAS_ESCAPE.match(regex, escape.start()):
            return escape[0]
    unescaped = ESCAPE.sub("_", regex)
    for one in CLASS.findall(unescaped):
        if "[" in one[1:] or "&&" in one:
            return one
    found = NOT_JAVA.search(CLASS.sub("_", unescaped))
    return found[0] if found else ""


def _limit_faults(kwargs: dict[str, Any]) -> Iterator[Fault]:
    least, most = kwargs.get("min_value"), kwargs.get("max_value")
    if least is None and most is None:
        yield ("min_value",), "a limit: min_value, max_value or both", None
    elif least is not None and most is not None and isinstance(least, str) == isinstance(most, str):
        if least > most:
            yield ("min_value",), f"at most max_value, which is {most}", least


def _value_faults(kwargs: dict[str, Any], kind: str) -> Iterator[Fault]:
    """Yields the limits and set members that are no values of the column."""
    values = [((key,), kwargs[key]) for key in ("min_value", "max_value") if key in kwargs]
    values += [(("value_set", i), value) for i, value in enumerate(kwargs.get("value_set", []))]
    for path, value in values:
        if kind in NUMBERS and isinstance(value, str):
            yield path, f"a number: the column is a {kind}", value
        elif kind not in NUMBERS and not isinstance(value, str):
            yield path, f"text: the column is a {kind}", value
        elif kind == "timestamp" and not _is_timestamp(value):
            yield path, "a timestamp as YYYY-MM-DD HH:MM:SS", value


def _is_timestamp(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return False
    return True


def _comparable(type_: str) -> str:
    kind = type_.partition("(")[0]
    return "number" if kind in NUMBERS else kind


def _name(expectation: Any, place: str) -> str:
    if not isinstance(expectation, dict) or not isinstance(expectation.get("type"), str):
        found = json.dumps(expectation, ensure_ascii=False)
        raise SuiteError(f"{place}: expected a mapping with a type and kwargs; found {found}")
    if isinstance(expectation.get("id"), str):
        return expectation["id"]
    kwargs = expectation.get("kwargs")
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    columns = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    if isinstance(kwargs.get("column_list"), list):
        columns += kwargs["column_list"]
    listed = ",".join(map(str, columns))
    return f"{expectation['type']}({listed})" if columns else expectation["type"]


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise SuiteError(f"key {repeated[0]!r} is repeated; keep one of them")
    return dict(pairs)
