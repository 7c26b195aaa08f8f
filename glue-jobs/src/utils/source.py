"""Reading: a run's CSV files as one frame of strings, each row with where it came from."""

import csv
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from utils.dataset import Dataset
from utils.errors import SourceFormatError, SourceReadError
from utils.storage import Storage

# Far more than a header needs.
HEAD_BYTES = 64 * 1024


def check_sources(
    storage: Storage, prefix: str, names: Sequence[str], dataset: Dataset
) -> dict[str, int]:
    """Checks that each file is there and has the dataset's header.

    Returns uri -> bytes in the order of `names`. Raises SourceReadError or SourceFormatError.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SourceReadError(f"{repeated[0]}: named more than once; a run reads each file once")

    def check(name: str) -> tuple[str, int]:
        size = storage.size(prefix + name)
        if size is None:
            raise SourceReadError(f"{name}: there is no such file under {prefix}")
        check_header(storage, prefix + name, dataset)
        return prefix + name, size

    # Each check waits for storage most of the time, and a replayed month has many files.
    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(pool.map(check, names))


def check_header(storage: Storage, uri: str, dataset: Dataset) -> None:
    """Compares a file's header with the dataset's sources: same names, same order.

    Raises SourceFormatError, which names the file and the columns, or SourceReadError.
    """
    name = _name(uri)
    head = storage.read(uri, HEAD_BYTES)
    if name.endswith(".gz"):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
        except zlib.error as error:
            raise SourceReadError(f"{name}: not a gzip file: {error}") from error
    if not head:
        raise SourceFormatError(f"{name}: is empty; expected a header: {_listed(dataset.sources)}")
    text = io.StringIO(head.decode("utf-8-sig", errors="replace"), newline="")
    header = next(csv.reader(text, delimiter=dataset.delimiter), [])
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or "\0" in "".join(header):
        raise SourceFormatError(f"{name}: is not UTF-8 text (UTF-16?); save it as UTF-8")
    if fault := _header_fault(header, dataset):
        raise SourceFormatError(f"{name}: {fault}")


def _header_fault(header: list[str], dataset: Dataset) -> str | None:
    expected = dataset.sources
    if header == expected:
        return None
    if len(header) == 1 < len(expected):
        return (
            f"the header has no delimiter {dataset.delimiter!r}: found {header[0]!r},"
            f" expected {_listed(expected)}"
        )
    faults = {
        "repeated": [name for name, count in Counter(header).items() if count > 1],
        "missing": [name for name in expected if name not in header],
        "unexpected": [name for name in header if name not in expected],
    }
    differing = [f"{fault} {_listed(names)}" for fault, names in faults.items() if names]
    if not differing:
        place, found, wanted = next(
            (place, found, wanted)
            for place, (found, wanted) in enumerate(zip(header, expected), start=1)
            if found != wanted
        )
        differing = [f"column {place} is {found!r} where {wanted!r} is expected"]
    return f"the header differs from dataset {dataset.name}: {'; '.join(differing)}"


def read_rows(spark: SparkSession, uris: Sequence[str], dataset: Dataset) -> DataFrame:
    """Reads CSV files (RFC 4180, with headers, UTF-8, gzip by extension) as strings.

    Out: a string column a source, under its header; `_row_text`, the text of a row with the wrong
    number of values, else NULL; `_source_file`, the file's name; `_position`, a struct that orders
    rows as the load has them: by file as listed, then by place in the file.
    """
    schema = StructType(
        [StructField(name, StringType()) for name in (*dataset.sources, "_row_text")]
    )
    rows = spark.read.csv(
        list(uris),
        schema=schema,
        header=True,
        sep=dataset.delimiter,
        encoding=dataset.encoding,
        multiLine=dataset.multi_line,
        quote='"',
        escape='"',
        # A quote that nothing closes swallows rows; guessing where it ends would lose them unseen.
        unescapedQuoteHandling="RAISE_ERROR",
        mode="PERMISSIVE",
        columnNameOfCorruptRecord="_row_text",
    )
    file_name = _decoded(F.col("_metadata.file_name"))
    file_order = F.create_map(
        *[F.lit(value) for order, uri in enumerate(uris) for value in (_name(uri), order)]
    )
    return rows.select(
        *[F.col(f"`{name}`") for name in rows.columns],
        file_name.alias("_source_file"),
        # Ids grow from row to row of a file, also where Spark reads it in several blocks.
        F.struct(
            file_order[file_name].alias("file"), F.monotonically_increasing_id().alias("row")
        ).alias("_position"),
    )


@contextmanager
def reading(spark: SparkSession, uris: Sequence[str], dataset: Dataset) -> Iterator[None]:
    """Turns Spark's failure to read or parse a source into an error that names the file.

    Raises SourceReadError or SourceFormatError; a failure of another kind goes through as it is.
    """
    try:
        yield
    except Py4JJavaError as error:
        if (explained := _explained(str(error))) is None:
            raise
        kind, reason = explained
        raise kind(f"{_name(_broken(spark, uris, dataset))}: {reason}") from error


def _explained(failure: str) -> tuple[type[Exception], str] | None:
    """Returns what a Java stack trace means for a source file, None when it is not about one."""
    if "Error reading from input" in failure or "Unexpected end of input stream" in failure:
        causes = re.findall(r"^Caused by: [\w.$]*?(\w+): (.*)$", failure, re.MULTILINE)
        cause = ": ".join(causes[-1]) if causes else "input error"
        return SourceReadError, f"cannot be read to its end: {cause}"
    if parse_error := re.search(r"TextParsingException - (.*)", failure):
        line = re.search(r"line=(\d+)", failure)
        place = f" near line {int(line[1]) + 1}" if line else ""
        return SourceFormatError, f"not well-formed CSV{place}: {parse_error[1]}"
    return None


def _broken(spark: SparkSession, uris: Sequence[str], dataset: Dataset) -> str:
    """Returns the file that cannot be read: Spark's failure does not name it."""
    for uri in uris[:-1]:
        try:
            read_rows(spark, [uri], dataset).write.format("noop").mode("overwrite").save()
        except Py4JJavaError:
            return uri
    return uris[-1]


def _decoded(file_name: Expression) -> Expression:
    # Spark answers the name percent-encoded, with plus signs as they are.
    return F.url_decode(F.replace(file_name, F.lit("+"), F.lit("%2B")))


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _listed(names) -> str:
    return ", ".join(map(repr, names))
