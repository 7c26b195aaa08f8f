"""What makes a file one that a dataset accepts, decided from its name and its first bytes.

Every function raises InvalidSourceFile with one sentence: the file, what is wrong where, and the
remedy.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, BinaryIO

from pipeline_common.errors import InvalidSourceFile

# Enough for any header and the first row after it.
HEAD_BYTES = 1024**2
# Of a line that is quoted in an error.
SHOWN_LENGTH = 200
UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}

Dataset = Mapping[str, Any]


def match_dataset(key: str, name: str, datasets: Mapping[str, Dataset]) -> tuple[str, str]:
    """Returns the dataset of a file and the date that it reports, as YYYY-MM-DD.

    A file in a folder named like a dataset is that dataset's; any other is told by the datasets'
    file patterns.
    """
    folders = [folder for folder in key.split("/")[:-1] if folder in datasets]
    candidates = {folder: datasets[folder] for folder in folders[-1:]} or datasets
    patterns = {dataset: config["file_pattern"] for dataset, config in candidates.items()}
    matches = {
        dataset: match
        for dataset, pattern in patterns.items()
        if (match := re.fullmatch(pattern, name))
    }
    if not matches:
        expected = "; ".join(f"{dataset}: {pattern}" for dataset, pattern in patterns.items())
        raise InvalidSourceFile(
            f"{name} matches no dataset's file pattern ({expected}): rename it and send it again."
        )
    if len(matches) > 1:
        raise InvalidSourceFile(
            f"{name} matches the file patterns of {' and '.join(sorted(matches))}: "
            "put it into the folder data/in/<dataset>/ of the one that it is for."
        )
    [(dataset, match)] = matches.items()
    return dataset, _date(name, match["run_date"])


def _date(name: str, digits: str) -> str:
    try:
        return datetime.strptime(digits, "%Y%m%d").date().isoformat()
    except ValueError as error:
        raise InvalidSourceFile(
            f"{name} is named for {digits}, which is not a date (YYYYMMDD): "
            "rename it and send it again."
        ) from error


def read_head(name: str, stream: BinaryIO, to_the_end: bool) -> bytes:
    """Returns the first HEAD_BYTES bytes of a file's text, unzipped if it is a .gz.

    A .gz is read to the end if to_the_end, since only its end tells that it is whole.
    """
    if not name.lower().endswith(".gz"):
        return stream.read(HEAD_BYTES)
    try:
        with gzip.GzipFile(fileobj=stream) as file:
            head = file.read(HEAD_BYTES)
            while to_the_end and file.read(HEAD_BYTES):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidSourceFile(
            f"{name} is not a whole gzip file ({error}): compress it and send it again."
        ) from error
    return head


def check_head(name: str, head: bytes, dataset: Dataset) -> None:
    """Checks a file's first HEAD_BYTES bytes: encoding, delimiter, header, and that rows follow."""
    if not head.strip(UTF8_BOM + b" \t\r\n"):
        raise InvalidSourceFile(f"{name} is empty: send it again with its header and rows.")
    if head.startswith(UTF16_BOMS) or b"\0" in head.split(b"\n", 1)[0]:
        raise InvalidSourceFile(f"{name} is encoded as UTF-16: save it as UTF-8.")

    # Bytes that are not UTF-8 are kept as surrogates: in a row they are the job's to reject.
    text = head.removeprefix(UTF8_BOM).decode("utf-8", errors="surrogateescape")
    lines = io.StringIO(text, newline="")
    delimiter = dataset["format"]["delimiter"]
    try:
        header = next(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InvalidSourceFile(
            f"{name}: the header cannot be read ({error}): check the quotes in its first line."
        ) from error
    _check_encoding(name, header)

    expected = [
        column["source"]
        for column in dataset["columns"]
        if column["source"] in header or not column.get("optional")
    ]
    _check_delimiter(name, header, expected, delimiter)
    faults = header_faults(header, expected)
    if faults:
        raise InvalidSourceFile(
            f"{name}: {'; '.join(faults)}: expected the columns {', '.join(expected)}."
        )
    if len(head) < HEAD_BYTES and not lines.read().strip():
        raise InvalidSourceFile(f"{name} has a header but no rows: send it again with its rows.")


def _check_encoding(name: str, header: list[str]) -> None:
    for position, column in enumerate(header, start=1):
        byte = re.search("[\udc80-\udcff]", column)
        if byte:
            raise InvalidSourceFile(
                f"{name}: the header is not UTF-8 (byte 0x{ord(byte[0]) - 0xDC00:02X} in column "
                f"{position}), perhaps Latin-1: save the file as UTF-8."
            )


def _check_delimiter(name: str, header: list[str], expected: list[str], delimiter: str) -> None:
    if len(header) != 1 or len(expected) == 1:
        return
    for other, description in DELIMITERS.items():
        if other in header[0]:
            raise InvalidSourceFile(
                f"{name}: its columns are separated by {description}, expected "
                f"{DELIMITERS.get(delimiter, repr(delimiter))}: save it with that delimiter."
            )


def header_faults(header: list[str], expected: list[str]) -> list[str]:
    """Returns a phrase for each way in which a header differs from the expected one."""
    if not set(header) & set(expected):
        return [f"the first line is no header, but '{','.join(header)[:SHOWN_LENGTH]}'"]
    faults = []
    for column in dict.fromkeys(header):
        places = [str(i) for i, found in enumerate(header, start=1) if found == column]
        if len(places) > 1:
            faults.append(f"column '{column}' is repeated (columns {', '.join(places)})")

    missing = [column for column in expected if column not in header]
    extra = {i: c for i, c in enumerate(header, start=1) if c not in expected}
    if len(header) == len(expected):
        for position, column in list(extra.items()):
            wanted = expected[position - 1]
            if wanted in missing:
                faults.append(f"column {position} is named '{column}' instead of '{wanted}'")
                missing.remove(wanted)
                del extra[position]
    faults += [f"column '{column}' is missing" for column in missing]
    faults += [f"column {position} '{column}' is not known" for position, column in extra.items()]

    if not faults and header != expected:
        position = next(i for i, pair in enumerate(zip(header, expected)) if pair[0] != pair[1])
        faults.append(
            f"the columns are in another order: column {position + 1} is '{header[position]}' "
            f"instead of '{expected[position]}'"
        )
    return faults
