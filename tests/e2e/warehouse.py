"""What the warehouse holds of one file, read row by row and put beside what plain Python says."""

import csv
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.reference import PRODUCTS, Expected, Kind


def table(project, file: Path, env: str = "dev") -> str:
    """Return count and hash of the table's rows of a products file's day."""
    stamp = file.name.removeprefix("Products_")[:8]
    return rows_where(project, f"time::date = '{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}'", env)


def read_rows(
    project, condition: str, env: str = "dev", kind: Kind = PRODUCTS
) -> Iterator[tuple[str | None, ...]]:
    """Yield the table's rows that an SQL condition selects, as the warehouse prints them."""
    lines = project.query(f"select {kind.columns} from {kind.table} where {condition}", env)
    for row in csv.reader(f"{line}\n" for line in lines):
        yield tuple(value or None for value in row)


def rows_where(project, condition: str, env: str = "dev", kind: Kind = PRODUCTS) -> str:
    """Return count and hash of the table's rows that an SQL condition selects."""
    found = Expected()
    for values in read_rows(project, condition, env, kind):
        key = tuple(values[place] for place in kind.key)
        assert key not in found.rows, f"the key {key} is doubled"
        found.rows[key] = values
    return found.fingerprint()
