"""What the pipeline must make of a products file, in plain Python.

The independent opinion that the end-to-end tests hold against the warehouse; it shares no code with
the job.
"""

import csv
import gzip
import hashlib
import io
import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

VARCHAR_BYTES = {1: 255, 2: 64, 3: 64, 4: 128, 5: 64}  # by position in the row
GZIP = b"\x1f\x8b"
PRODUCT_ID, PRICE, QUANTITY, STORE_ID, TIME = 0, 6, 7, 8, 9


@dataclass
class Expected:
    """The rows that must be in the table, by key, and the account of the file."""

    rows: dict[tuple[str, str], tuple] = field(default_factory=dict)
    rows_in: int = 0
    rejected: int = 0
    superseded: int = 0

    @property
    def loaded(self) -> int:
        """How many rows reach the table."""
        return len(self.rows)

    def fingerprint(self) -> str:
        """The table's row count and content hash, as `ops.data.warehouse fingerprint` says it."""
        content = 0
        for row in self.rows.values():
            line = "|".join("~null~" if value is None else value for value in row)
            content += int(hashlib.md5(line.encode()).hexdigest()[:15], 16)
        return f"{len(self.rows)} rows, content hash {content:x}"


def expect(file: Path) -> Expected:
    """Read a products file and say what must become of its rows."""
    return expect_of(file.read_bytes())


def expect_of(content: bytes) -> Expected:
    """Say what must become of the rows of a products file, plain or gzipped, with this content."""
    if content.startswith(GZIP):
        content = gzip.decompress(content)
    expected = Expected()
    text = content.decode("utf-8-sig", errors="replace")
    # A line break inside a value is the file's own, and becomes \n with the file's others.
    text = text.replace("\r\n", "\n")
    for raw in list(csv.reader(io.StringIO(text, newline="")))[1:]:
        expected.rows_in += 1
        row = _typed([value.strip() or None for value in raw])
        if row is None:
            expected.rejected += 1
            continue
        key = (row[PRODUCT_ID], row[TIME])
        expected.superseded += key in expected.rows
        expected.rows[key] = row
    return expected


def _typed(row: list[str | None]) -> tuple | None:
    """Return the row as the warehouse prints it, or None when it has to be rejected."""
    try:
        row[PRODUCT_ID] = str(_whole(row[PRODUCT_ID], least=1))
        row[PRICE] = _price(row[PRICE])
        row[QUANTITY] = str(_whole(row[QUANTITY], least=0))
        row[STORE_ID] = str(_whole(row[STORE_ID], least=1))
        row[TIME] = str(datetime.strptime(row[TIME] or "", "%Y-%m-%d %H:%M:%S"))
    except (ValueError, InvalidOperation):
        return None
    if "\ufffd" in "".join(value or "" for value in row):  # bytes that are not UTF-8
        return None
    for position, most in VARCHAR_BYTES.items():
        if len((row[position] or "").encode()) > most:
            return None
    return tuple(row)


def _whole(text: str | None, least: int) -> int:
    if not re.fullmatch(r"[+-]?\d+", text or "") or int(text) < least:
        raise ValueError(text)
    return int(text)


def _price(text: str | None) -> str:
    price = Decimal(text or "none")
    if not price.is_finite() or not 0 <= price < 10**8:
        raise ValueError(text)
    return f"{price:.4f}"
