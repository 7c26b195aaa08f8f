"""The real feed, repeated until it is as large as asked for.

The feed covers a year. Each repetition is shifted by whole weeks, so that no key of one is in
another, and its faults and repeated keys stay as they are.
"""

import itertools
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path

from ops.data.real_feed import PRODUCTS

CLOSED = date(2017, 12, 25)
FEED = [day for day in PRODUCTS.dates(date(2017, 1, 1), 366) if day != CLOSED]
SHIFT = timedelta(weeks=53)  # more than the feed covers
MEGABYTE = 1_000_000
# A quoted value may hold line breaks, so Spark does not split a file of this dataset: a file is a
# task. With files of this size every core has one from the smallest size on.
FILE_BYTES = 50 * MEGABYTE
TIME_CHARACTERS = len("2017-01-15 10:20:30\n")
DATE_CHARACTERS = len("2017-01-15")


def make_files(megabytes: int, folder: Path) -> list[Path]:
    """Return files of so many megabytes in all, written into `folder` unless they are there."""
    files = [
        folder / PRODUCTS.file_name(day) for day in PRODUCTS.dates(FEED[0], count_files(megabytes))
    ]
    if not all(file.exists() for file in files):
        folder.mkdir(parents=True, exist_ok=True)
        lines = repeated(read_feed(), SHIFT)
        for file in files:
            # Renamed when whole: an interrupted run must not leave half a file for the next one.
            partial = file.with_suffix(".partial")
            write_file(partial, lines, FILE_BYTES)
            partial.rename(file)
    return files


def count_files(megabytes: int) -> int:
    """Return how many files make up a size."""
    count, rest = divmod(megabytes * MEGABYTE, FILE_BYTES)
    if rest or not count:
        raise ValueError(f"{megabytes} MB: sizes are multiples of {FILE_BYTES // MEGABYTE} MB")
    return count


def read_feed() -> list[str]:
    """Return the feed's rows, each a line that ends with its time."""
    lines = []
    for file in PRODUCTS.files(FEED):
        with file.open(encoding="utf-8", newline="") as stream:
            next(stream)
            lines += stream
    return lines


def repeated(lines: list[str], shift: timedelta) -> Iterator[str]:
    """Yield the lines again and again without end, each time with their days shifted once more."""
    for number in itertools.count():
        shifted: dict[str, str] = {}
        for line in lines:
            row, time = line[:-TIME_CHARACTERS], line[-TIME_CHARACTERS:]
            day = time[:DATE_CHARACTERS]
            if day not in shifted:
                shifted[day] = (date.fromisoformat(day) + number * shift).isoformat()
            yield row + shifted[day] + time[DATE_CHARACTERS:]


def write_file(file: Path, lines: Iterable[str], size: int) -> None:
    """Write the header and as many of the lines as are needed for so many bytes."""
    header = ",".join(PRODUCTS.header) + "\n"
    with file.open("w", encoding="utf-8", newline="") as stream:
        written = stream.write(header)
        for line in lines:
            written += stream.write(line)
            if written >= size:
                return
