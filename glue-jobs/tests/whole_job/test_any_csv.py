"""Any CSV that Python's writer makes of any values goes through: every row in is loaded, rejected
or superseded, and each of them is what plain Python makes of the same values.

The reference never parses a file: it knows the values that were written. Not among them: carriage
returns, and quotes that are not doubled, which tests of their own are about.
"""

import csv
import gzip
import io
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from local_job import LocalJob, counts
from utils.errors import SourceFormatError

COLUMNS = {
    "key": {"type": "integer", "required": True, "min": 1, "max": 999},
    "name": {"type": "varchar(6)", "required": True},
    "price": {"type": "decimal(6,2)", "required": True, "min": 0},
    "time": {"type": "timestamp"},
    "note": {"type": "varchar(9)", "optional": True},
}


@dataclass(frozen=True)
class File:
    """A file: its rows, and how they are written."""

    rows: list[list[str]]
    has_note: bool = False
    is_zipped: bool = False
    quoting: int = csv.QUOTE_MINIMAL
    terminator: str = "\n"
    mark: str = ""


@dataclass(frozen=True)
class Run:
    """The files of a run, and what the dataset says of all of them."""

    files: list[File]
    order: tuple[str, ...] = tuple(COLUMNS)
    delimiter: str = ","
    multi_line: bool = True

    def names(self) -> list[str]:
        """Of the files, neither sorted nor by size, so that only the list says which is later."""
        return [f"{name}.csv{'.gz' * file.is_zipped}" for name, file in zip("bca", self.files)]

    def columns(self, file: File) -> list[str]:
        return [name for name in self.order if name != "note" or file.has_note]

    def text(self, file: File, rows: list[list[str]]) -> str:
        text = io.StringIO(newline="")
        csv.writer(
            text, delimiter=self.delimiter, quoting=file.quoting, lineterminator=file.terminator
        ).writerows(rows)
        return text.getvalue()

    def content(self, file: File) -> bytes:
        content = (file.mark + self.text(file, [self.columns(file), *file.rows])).encode()
        return gzip.compress(content) if file.is_zipped else content

    def dataset(self) -> dict:
        return {
            "format": {
                "delimiter": self.delimiter,
                "encoding": "UTF-8",
                "multi_line": self.multi_line,
            },
            "columns": [{"source": name, "name": name, **COLUMNS[name]} for name in self.order],
            "upsert_keys": ["key"],
            "order_by": ["time"],
        }


# ---- any run -------------------------------------------------------------------------------------

# Of each column, two good values first.
USUAL = {
    "key": ["1", " 2 ", "+3", "1", "007", "0", "1000", "2147483648", "1.0", "", "一"],
    "name": ["Tea", " a ", "", '"', ",", "two\nlines", "茶茶", "茶茶茶", "\ufffd", "a\0b", "\\"],
    "price": ["1", ".5", "9999.99", "9999.995", "10000", "-1", "-0.001", "1e2", "1e400", "1,5", ""],
    "time": [
        "2017-01-15 10:20:30",
        "2017-01-15T10:20:30.5",
        "1582-10-10 00:00:00",
        "2017-02-29 00:00:00",
        "2016",
        "",
    ],
    "note": ["", "x", "two\nlines", "\n", "a\0\ufffd", "ten letters", "'", ";", "\t"],
}


def rows(columns: list[str], multi_line: bool) -> st.SearchStrategy[list[str]]:
    # Not a carriage return: alone it is nobody's line break, before a line feed it is the file's.
    breaks = "\r" if multi_line else "\r\n"
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=breaks), max_size=8)

    def usual(column: str) -> st.SearchStrategy[str]:
        return st.sampled_from([it for it in USUAL[column] if multi_line or "\n" not in it])

    good = st.tuples(*[st.sampled_from(USUAL[column][:2]) for column in columns]).map(list)
    likely = st.tuples(*[usual(column) for column in columns]).map(list)
    any_row = st.tuples(*[usual(column) | text for column in columns]).map(list)
    too_few, too_many = good.map(lambda row: row[:-1]), good.map(lambda row: [*row, "more"])
    blank = st.just([""] * len(columns))
    return st.one_of(good, good, likely, likely, any_row, any_row, too_few, too_many, blank)


@st.composite
def runs(draw) -> Run:
    order = tuple(draw(st.permutations(list(COLUMNS))))
    multi_line = draw(st.booleans())

    def files(has_note: bool) -> st.SearchStrategy[File]:
        columns = [name for name in order if name != "note" or has_note]
        return st.builds(
            File,
            rows=st.lists(rows(columns, multi_line), max_size=15),
            has_note=st.just(has_note),
            is_zipped=st.booleans(),
            quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
            terminator=st.sampled_from(["\n", "\r\n"]),
            mark=st.sampled_from(["", "\ufeff"]),
        )

    return Run(
        files=draw(st.lists(st.booleans().flatmap(files), min_size=1, max_size=3)),
        order=order,
        delimiter=draw(st.sampled_from(",;\t|")),
        multi_line=multi_line,
    )


# ---- what must become of it ----------------------------------------------------------------------

SPACE = " \t\n\x0b\f\r"
BLANK = "".join(map(chr, range(33)))
CONTROL = BLANK + "\x7f"  # Spark's cast trims them from integers
RUNS_ON = re.compile(rf"[^{SPACE}][{SPACE}]*\n[{SPACE}]*[^{SPACE}]")


class Refused(Exception):
    """A row seems to hold several lines, so the file is refused whole."""


class Reference:
    """What must be loaded, by key, and rejected, in the order of the files, and how many were
    superseded; or which file is refused."""

    def __init__(self, run: Run):
        self.run = run
        self.loaded: dict[int, tuple] = {}
        self.rejected: list[tuple] = []
        self.superseded = 0
        self.rows_in = 0
        self.refused: str | None = None
        for number, name in enumerate(run.names()):
            try:
                self._read(number, name)
            except Refused:
                self.refused = name  # of several, the last is named

    def account(self) -> dict[str, int]:
        return {
            "rows_in": self.rows_in,
            "loaded": len(self.loaded),
            "rejected": len(self.rejected),
            "superseded": self.superseded,
        }

    def _read(self, number: int, name: str) -> None:
        run, file = self.run, self.run.files[number]
        for place, (row, text) in enumerate(self._rows(file)):
            self.rows_in += 1
            if len(row) != len(run.columns(file)):
                if RUNS_ON.search(text):
                    raise Refused
                # Its values are not where they belong: its text is all that is compared.
                line = text.removesuffix(file.terminator)
                self.rejected.append((name, 0, place, None, line, ["malformed_row"]))
                continue
            raw = self._as_read(row, file)
            self._refuse_open_end(raw, file)
            reasons, typed = _judged(raw, run.order)
            if reasons:
                said = tuple(raw.get(column) or None for column in run.order)
                self.rejected.append((name, 0, place, said, None, reasons))
            else:
                self._load(typed, number)

    def _rows(self, file: File) -> list[tuple[list[str], str]]:
        """The rows and their texts. Where rows are lines, one that is blank is none, even if it is
        of tabs that delimit."""
        texts = [(row, self.run.text(file, [row])) for row in file.rows]
        return [(row, text) for row, text in texts if self.run.multi_line or text.strip(BLANK)]

    def _as_read(self, row: list[str], file: File) -> dict[str, str]:
        """A row's values as Spark's parser has them: NUL is left out of a quoted one that holds a
        quote, and of one that ends a line where rows are lines."""
        raw = dict(zip(self.run.columns(file), row))
        last = list(raw)[-1]
        for column, value in raw.items():
            is_quoted = self.run.text(file, [[value]]).startswith('"')
            ends_line = column == last and not self.run.multi_line
            if is_quoted and ('"' in value or ends_line):
                raw[column] = value.replace("\0", "")
        return raw

    def _refuse_open_end(self, raw: dict[str, str], file: File) -> None:
        """Raise Refused where the last text ends as the file does: it may be all that follows a
        quote that nothing closes. The end of a zipped file is not looked at."""
        last, value = list(raw.items())[-1]
        if last not in ("name", "note") or "\n" not in value or file.is_zipped:
            return
        end = self.run.text(file, [list(raw), *file.rows]).rstrip(SPACE)
        is_closed = (len(end) - len(end.rstrip('"'))) % 2
        last_line = end[end.rfind("\n") :].replace('""', '"')
        if not is_closed and value.rstrip(SPACE).endswith(last_line):
            raise Refused

    def _load(self, typed: dict, number: int) -> None:
        key = typed["key"]
        time = self.run.order.index("time")
        row = (*[typed[column] for column in self.run.order], number)
        if key in self.loaded:
            self.superseded += 1
        before = self.loaded.get(key, row)
        # No time is before any; of equals the later stays.
        if (row[time] or datetime.min) >= (before[time] or datetime.min):
            self.loaded[key] = row


def _judged(raw: dict[str, str], order: tuple[str, ...]) -> tuple[list[str], dict]:
    """The reasons against a row, its own before its columns', and its values."""
    judged = {column: JUDGES[column](raw.get(column, "")) for column in order}
    texts = raw["name"] + raw.get("note", "")
    reasons = ["invalid_utf8"] * ("\ufffd" in texts) + ["nul_character"] * ("\0" in texts)
    reasons += [f"{column}_{fault}" for column, (_, fault) in judged.items() if fault]
    return reasons, {column: value for column, (value, _) in judged.items()}


Judged = tuple[object, str | None]  # a value, and what is wrong with it


def _name(text: str) -> Judged:
    value = text.strip(SPACE)
    return value, None if 1 <= len(value.encode()) <= 6 else "too_long" if value else "missing"


def _note(text: str) -> Judged:
    value = text.strip(SPACE) or None
    return value, "too_long" if value and len(value.encode()) > 9 else None


def _key(text: str) -> Judged:
    digits = text.strip(CONTROL)
    if re.fullmatch("[+-]?[0-9]+", digits) and -(2**31) <= int(digits) < 2**31:
        value = int(digits)
        return value, "below_minimum" if value < 1 else "above_maximum" if value > 999 else None
    return None, _fault(text, "[+-]?[0-9]+", "not_an_integer", "missing")


def _price(text: str) -> Judged:
    form = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
    if re.fullmatch(form, text.strip(SPACE)):
        exact = Decimal(text.strip(SPACE))
        # What is larger than this is too large to be rounded.
        if abs(exact) < 10**5 and abs(value := exact.quantize(CENT, ROUND_HALF_UP)) < 10**4:
            return value, "negative" if value < 0 else None
    return None, _fault(text, form, "not_a_decimal", "missing")


def _time(text: str) -> Judged:
    form = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    written = text.strip(SPACE).replace("T", " ")
    if re.fullmatch(form, written):
        try:
            return datetime.fromisoformat(written), None
        except ValueError:
            return None, "not_a_timestamp"
    return None, _fault(text, form, "not_a_timestamp", None)


def _fault(text: str, form: str, unlike: str, missing: str | None) -> str | None:
    """What is wrong with a text that is no value of its column's type."""
    if not text.strip(SPACE):
        return missing
    if RUNS_ON.search(text):
        raise Refused
    return "out_of_range" if re.fullmatch(form, text.strip(SPACE)) else unlike


CENT = Decimal("0.01")
JUDGES = {"key": _key, "name": _name, "price": _price, "time": _time, "note": _note}


# ---- the property --------------------------------------------------------------------------------

ROW = ["1", "Tea", "1", ""]
TIMED = ["2", "Tea", "1", "2017-01-15 10:20:30"]


@pytest.fixture(scope="session", name="folder")
def fixture_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any-csv")


@settings(
    max_examples=32, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(run=runs())
@example(Run([File([ROW, ["1\n2", *ROW[1:]]]), File([ROW])]))
@example(Run([File([["1", "two\nlines", "1"]])]))
@example(Run([File([["1", "a\nb", "1", ""]] * 2, quoting=csv.QUOTE_ALL, terminator="\r\n")]))
# Of equal times the later file's row stays, and no time is before any.
@example(Run([File([ROW, TIMED, TIMED]), File([ROW, ["2", "x", "1", ""]]), File([ROW])]))
# Nothing but delimiters, which are white space.
@example(Run([File([[""] * 4, ["x", *ROW[1:]]])], delimiter="\t", multi_line=False))
@example(Run([File([[""] * 4, ["x", *ROW[1:]]])], delimiter="\t"))
# A note that ends as its file does.
@example(Run([File([[*ROW, "x\n1,Tea,1,,y"], [*ROW, "y"]], has_note=True)]))
@example(Run([File([[*ROW, "\n1,,1,,"], ["1", "", "1", "", ""]], has_note=True, is_zipped=True)]))
# Quoted NUL: in a value with a quote, in one without, and at the end of a line.
@example(Run([File([["1", '"\0', "1", ""], ["2", ",\0", "1", ""]])]))
@example(Run([File([[*ROW, ",\0"]], has_note=True)], multi_line=False))
# Line separators of Unicode, which Java's white space is without.
@example(Run([File([["1\x85", "a", "1\u2028", "2017-01-15 10:20:30\u2029"]])]))
def test_any_csv_is_accounted_for_and_becomes_what_plain_python_makes_of_it(spark, folder, run):
    # GIVEN files, and what must become of them
    reference = Reference(run)
    shutil.rmtree(folder)
    folder.mkdir()
    job = LocalJob(spark, folder)
    job.configure(things=run.dataset())
    contents = [run.content(file) for file in run.files]
    # WHEN the job runs on them
    if reference.refused:
        with pytest.raises(SourceFormatError, match="one row holds several lines") as failure:
            job.run(*contents, names=run.names(), dataset="things")
        # THEN the file that cannot be trusted is named
        assert str(failure.value).startswith(f"{reference.refused}: ")
        return
    report = job.run(*contents, names=run.names(), dataset="things")
    # THEN the account is right, and the loaded and the rejected rows are those
    assert counts(report) == reference.account()
    assert report["rejected_by_reason"] == Counter(row[-1][0] for row in reference.rejected)
    assert {row.key: tuple(row) for row in job.loaded()} == reference.loaded
    if reference.rejected:
        assert rejected(job) == sorted(reference.rejected, key=place_of)


def rejected(job: LocalJob) -> list[tuple]:
    """The rejected rows, as the reference has them, in the order of their places."""
    rows = [
        (
            *(row.source_file, row.source_block, row.source_row),
            tuple(row[: len(COLUMNS)]) if row.row_text is None else None,
            *(row.row_text, row.reasons),
        )
        for row in job.rejected()
    ]
    return sorted(rows, key=place_of)


def place_of(rejected_row: tuple) -> tuple:
    return rejected_row[:3]
