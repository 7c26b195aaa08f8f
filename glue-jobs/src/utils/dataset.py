"""One dataset as the configuration describes it; `make config` has validated what is read here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from quality.rules import Rule, load_rules
from utils.errors import ConfigurationError

# What goes around a value: space, tab, line feed, vertical tab, form feed, carriage return.
WHITESPACE = " \t\n\x0b\f\r"


@dataclass(frozen=True)
class Column:
    """A column of the file and of the table.

    `source` is its header, `name` its clean name, `type` its Redshift type; limits are inclusive.
    A file may lack an `optional` column, which is then NULL in all its rows.
    """

    source: str
    name: str
    type: str
    required: bool = False
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    optional: bool = False

    @property
    def kind(self) -> str:
        """The type without its size: bigint, integer, varchar, decimal or timestamp."""
        return self.type.partition("(")[0]

    @property
    def spark_type(self) -> str:
        """The type in Spark's terms, where text has no length."""
        return "string" if self.kind == "varchar" else self.type

    @property
    def max_bytes(self) -> int:
        """The size of a varchar column in bytes of UTF-8."""
        return int(re.findall(r"\d+", self.type)[0])


@dataclass(frozen=True)
class Dataset:  # pylint: disable=too-many-instance-attributes
    """Columns in the order of the file and of the table, keys, quality rules, the file's format."""

    name: str
    columns: tuple[Column, ...]
    upsert_keys: tuple[str, ...]
    order_by: tuple[str, ...]
    delimiter: str
    encoding: str
    multi_line: bool
    rules: tuple[Rule, ...] = ()

    @property
    def sources(self) -> list[str]:
        """The headers of a file that has every column, in order."""
        return [column.source for column in self.columns]

    @property
    def optional_sources(self) -> list[str]:
        """The headers that a file may lack."""
        return [column.source for column in self.columns if column.optional]

    @property
    def column_names(self) -> list[str]:
        """The clean names, in the table's order."""
        return [column.name for column in self.columns]


def load_dataset(config: Mapping[str, Any], name: str) -> Dataset:
    """Reads one dataset from the merged configuration.

    Raises ConfigurationError when it has no dataset of that name.
    """
    datasets = config.get("datasets", {})
    if name not in datasets:
        known = ", ".join(sorted(datasets)) or "none"
        raise ConfigurationError(f"no dataset {name!r} in the configuration; it has: {known}")
    settings = datasets[name]
    return Dataset(
        name=name,
        columns=tuple(map(_column, settings["columns"])),
        upsert_keys=tuple(settings["upsert_keys"]),
        order_by=tuple(settings["order_by"]),
        delimiter=settings["format"]["delimiter"],
        encoding=settings["format"]["encoding"],
        multi_line=settings["format"]["multi_line"],
        rules=load_rules(settings.get("expectations", {})),
    )


def _column(settings: Mapping[str, Any]) -> Column:
    return Column(
        source=settings["source"],
        name=settings["name"],
        type=settings["type"],
        required=settings.get("required", False),
        optional=settings.get("optional", False),
        minimum=_limit(settings.get("min")),
        maximum=_limit(settings.get("max")),
    )


def _limit(value: float | None) -> Decimal | None:
    # Through text: 0.1 means a tenth, not the nearest binary fraction.
    return None if value is None else Decimal(str(value))
