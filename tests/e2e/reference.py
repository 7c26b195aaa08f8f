"""What the pipeline must make of a dataset's file, in plain Python.

The independent opinion that the end-to-end tests hold against the warehouse; it shares no code with
the job.
"""

import csv
import gzip
import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

GZIP = b"\x1f\x8b"


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


Value = Callable[[str | None], str | None]


@dataclass(frozen=True)
class Kind:
    """A dataset: its table and columns, where its key is in a row, and what each value becomes,
    unless the row has to be rejected: a ValueError."""

    table: str
    columns: str
    key: tuple[int, ...]
    values: tuple[Value, ...]


def expect(file: Path, kind: Kind | None = None) -> Expected:
    """Read a file, of products unless it is of another kind, and say what must become of it."""
    return expect_of(file.read_bytes(), kind)


def expect_of(content: bytes, kind: Kind | None = None) -> Expected:
    """Say what must become of the rows of a file, plain or gzipped, with this content."""
    kind = kind or PRODUCTS
    if content.startswith(GZIP):
        content = gzip.decompress(content)
    expected = Expected()
    text = content.decode("utf-8-sig", errors="replace")
    # A line break inside a value is the file's own, and becomes \n with the file's others.
    text = text.replace("\r\n", "\n")
    for raw in list(csv.reader(io.StringIO(text, newline="")))[1:]:
        expected.rows_in += 1
        row = _typed([value.strip() or None for value in raw], kind)
        if row is None:
            expected.rejected += 1
            continue
        key = tuple(row[place] for place in kind.key)
        expected.superseded += key in expected.rows
        expected.rows[key] = row
    return expected


def _typed(row: list[str | None], kind: Kind) -> tuple | None:
    """Return the row as the warehouse prints it, or None when it has to be rejected."""
    if "\ufffd" in "".join(value or "" for value in row):  # bytes that are not UTF-8
        return None
    try:
        return tuple(value(text) for value, text in zip(kind.values, row, strict=True))
    except (ValueError, InvalidOperation):
        return None


def _whole(least: int) -> Value:
    def value(text: str | None) -> str:
        if not re.fullmatch(r"[+-]?\d+", text or "") or int(text) < least:
            raise ValueError(text)
        return str(int(text))

    return value


def _money(digits: int, scale: int) -> Value:
    def value(text: str | None) -> str:
        amount = Decimal(text or "none")
        if not amount.is_finite() or not 0 <= amount < 10 ** (digits - scale):
            raise ValueError(text)
        return f"{amount:.{scale}f}"

    return value


def _text(most: int, required: bool = False) -> Value:
    def value(text: str | None) -> str | None:
        if len((text or "").encode()) > most or required and not text:
            raise ValueError(text)
        return text

    return value


def _time(text: str | None) -> str:
    return str(datetime.strptime(text or "", "%Y-%m-%d %H:%M:%S"))


PRODUCTS = Kind(
    "products",
    "product_id, product_name, department, brand, product_category, package_size, price, "
    "quantity, store_id, time",
    (0, 9),
    (
        *(_whole(1), _text(255), _text(64), _text(64), _text(128), _text(64)),
        *(_money(12, 4), _whole(0), _whole(1), _time),
    ),
)
TRANSACTIONS = Kind(
    "transactions",
    "household_id, store_id, basket_id, product_id, quantity, sales_value, retail_discount, "
    "coupon_discount, coupon_match_discount, week, rung_up_at",
    (2, 3),
    (*[_whole(1)] * 4, _whole(0), *[_money(12, 2)] * 4, _whole(200001), _time),
)
PROMOTIONS = Kind(
    "promotions",
    "product_id, store_id, display_location, mailer_location, week",
    (0, 1, 2, 3, 4),
    (*[_whole(1)] * 2, *[_text(1, required=True)] * 2, _whole(200001)),
)
