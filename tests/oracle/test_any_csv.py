"""Any CSV that Python's writer makes of any values goes through: every row in is loaded, rejected
or superseded, and what is loaded is what plain Python makes of the same values.

The reference never parses the file: it knows the values that were written. Not among them: carriage
returns, and quotes that are not doubled, which tests of their own are about.
"""

import csv
import io
import json
import re
import shutil
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from local_job import LocalJob, counts

from utils.errors import SourceFormatError

DATASET = {
    "format": {"delimiter": ",", "encoding": "UTF-8", "multi_line": True},
    "columns": [
        {"source": "Key", "name": "key", "type": "integer", "required": True},
        {"source": "Name", "name": "name", "type": "varchar(6)"},
        {"source": "Price", "name": "price", "type": "decimal(6,2)", "required": True, "min": 0},
        {"source": "Time", "name": "time", "type": "timestamp"},
    ],
    "upsert_keys": ["key"],
    "order_by": ["time"],
}
HEADER = [column["source"] for column in DATASET["columns"]]

# ---- any file ------------------------------------------------------------------------------------

# Not a carriage return: alone it is nobody's line break, and before a line feed it is the file's.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=8)
KEYS = ["1", " 2 ", "+3", "1", "007", "2147483648", "1.0", "", "一"]
NAMES = ["Tea", " a ", "", '"', ",", "two\nlines", "茶茶", "茶茶茶", "\ufffd", "a\0b", "\\", "'"]
PRICES = ["1", ".5", "9999.99", "9999.995", "10000", "-1", "-0.001", "1e2", "1e400", "1,5", "x"]
TIMES = ["2017-01-15 10:20:30", "2017-01-15T10:20:30.5", "2017-02-29 00:00:00", "2016", ""]
ROW = st.tuples(*(st.sampled_from(usual) | TEXT for usual in (KEYS, NAMES, PRICES, TIMES))).map(
    list
)
GOOD = st.tuples(*(st.sampled_from(usual[:2]) for usual in (KEYS, NAMES, PRICES, TIMES))).map(list)
# One value too few, or too many.
MALFORMED = GOOD.map(lambda row: row[:-1]) | GOOD.map(lambda row: [*row, "more"])
ROWS = st.lists(GOOD | ROW | ROW | MALFORMED, max_size=10)


def written(rows: list[list[str]], quoting: int, terminator: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=terminator).writerows(rows)
    return text.getvalue()


# ---- what must become of it ----------------------------------------------------------------------

SPACE = " \t\n\x0b\f\r"
CONTROL = "".join(map(chr, [*range(33), *range(127, 160)]))  # Spark's cast trims them from integers
RUNS_ON = re.compile(rf"[^{SPACE}][{SPACE}]*\n[{SPACE}]*[^{SPACE}]")


class Refused(Exception):
    """A row seems to hold several lines, so the file is refused whole."""


@dataclass
class Reference:
    """The rows that must be loaded, by key, and the account of the others."""

    rows: dict[int, tuple] = field(default_factory=dict)
    account: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("rows_in", "loaded", "rejected", "superseded"), 0)
    )

    def add(self, row: list[str], text: str) -> None:
        """Take a row and its line of the file; raise Refused where that holds several."""
        self.account["rows_in"] += 1
        typed = None
        if len(row) == len(HEADER):
            typed = self._typed(*row)
        elif RUNS_ON.search(text):
            raise Refused
        if typed is None:
            self.account["rejected"] += 1
            return
        key, time = typed[0], typed[3]
        if key in self.rows:
            self.account["superseded"] += 1
        before = self.rows.get(key)
        if before is None or (time or datetime.min) >= (before[3] or datetime.min):
            self.rows[key] = typed
        self.account["loaded"] = len(self.rows)

    @staticmethod
    def _typed(key: str, name: str, price: str, time: str) -> tuple | None:
        values = [(key, _integer(key)), (price, _decimal(price)), (time, _timestamp(time))]
        if any(value is None and RUNS_ON.search(text) for text, value in values):
            raise Refused
        trimmed = name.strip(SPACE) or None
        bad_name = trimmed is not None and (
            len(trimmed.encode()) > 6 or "\ufffd" in trimmed or "\0" in trimmed
        )
        is_no_time = values[2][1] is None and time.strip(SPACE)
        if values[0][1] is None or values[1][1] is None or is_no_time or bad_name:
            return None
        if values[1][1] < 0:
            return None
        return values[0][1], trimmed, values[1][1], values[2][1]


def _integer(text: str) -> int | None:
    text = text.strip(CONTROL)
    if not re.fullmatch(r"[+-]?[0-9]+", text) or not -(2**31) <= int(text) < 2**31:
        return None
    return int(text)


def _decimal(text: str) -> Decimal | None:
    text = text.strip(SPACE)
    form = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
    if not re.fullmatch(form, text):
        return None
    if abs(Decimal(text)) >= 10**5:  # too large to be rounded
        return None
    value = Decimal(text).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return value if abs(value) < 10**4 else None


def _timestamp(text: str) -> datetime | None:
    text = text.strip(SPACE).replace("T", " ")
    form = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    if not re.fullmatch(form, text, re.ASCII):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S" + (".%f" if "." in text else ""))
    except ValueError:
        return None


# ---- the property --------------------------------------------------------------------------------


@pytest.fixture(scope="session", name="folder")
def fixture_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any-csv")


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    rows=ROWS,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    terminator=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
)
@example([["1", "a", "1", ""], ["1\n2", "a", "1", ""]], csv.QUOTE_MINIMAL, "\n", "")
@example([["1", "two\nlines", "1"]], csv.QUOTE_MINIMAL, "\n", "")
@example([["1", "two\nlines", "1", ""]] * 2, csv.QUOTE_ALL, "\r\n", "\ufeff")
def test_any_csv_is_accounted_for_and_loaded_as_plain_python_would(
    spark, folder, rows, quoting, terminator, mark
):
    # GIVEN a file, and what must become of it
    reference, refused = Reference(), False
    try:
        for row in rows:
            reference.add(row, written([row], quoting, terminator))
    except Refused:
        refused = True
    place = folder / "job"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    job = LocalJob(spark, place)
    job.configure(things=DATASET)
    content = mark + written([HEADER, *rows], quoting, terminator)
    # WHEN the job runs on it
    if refused:
        with pytest.raises(SourceFormatError, match="one row holds several lines"):
            job.run(content, names=["things.csv"], dataset="things")
        return
    report = job.run(content, names=["things.csv"], dataset="things")
    # THEN the account is right, and the loaded rows are those
    assert counts(report) == reference.account, json.dumps(content)
    loaded = {row.key: tuple(row)[:4] for row in job.loaded()}
    assert loaded == reference.rows, json.dumps(content)
