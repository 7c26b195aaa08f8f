"""What the warehouse holds of one file, read row by row and put beside what plain Python says."""

import csv
from pathlib import Path

from tests.e2e.reference import Expected

COLUMNS = (
    "product_id, product_name, department, brand, product_category, package_size, price, "
    "quantity, store_id, time"
)


def table(project, file: Path, env: str = "dev") -> str:
    """Return count and hash of the table's rows of a products file's day."""
    stamp = file.name.removeprefix("Products_")[:8]
    return rows_where(project, f"time::date = '{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}'", env)


def rows_where(project, condition: str, env: str = "dev") -> str:
    """Return count and hash of the table's rows that an SQL condition selects."""
    lines = project.query(f"select {COLUMNS} from products where {condition}", env)
    found = Expected()
    for row in csv.reader(f"{line}\n" for line in lines):
        values = tuple(value or None for value in row)
        key = (values[0], values[9])
        assert key not in found.rows, f"the key {key} is doubled"
        found.rows[key] = values
    return found.fingerprint()
