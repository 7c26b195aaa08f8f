"""Reading: a run's CSV files as one frame of strings, each row with where it came from."""

import csv
import functools
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column as Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from utils.dataset import WHITESPACE, Dataset
from utils.errors import SourceFormatError, SourceReadError
from utils.storage import Storage

# Far more than a header needs.
HEAD_BYTES = 64 * 1024
# More than the last line of most files; of a longer one the end will do.
TAIL_BYTES = 64 * 1024
# Of an id that Spark gives a row: the number of its task, then that of the row in its task.
ROW_BITS = 33


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
    if fault := _header_fault(read_header(storage, uri, dataset), dataset):
        raise SourceFormatError(f"{_name(uri)}: {fault}")


def absent_columns(
    storage: Storage, uris: Sequence[str], dataset: Dataset
) -> dict[str, tuple[str, ...]]:
    """Returns uri -> the optional sources that a checked file lacks, of those that lack any."""
    if not dataset.optional_sources:
        return {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        headers = pool.map(lambda uri: read_header(storage, uri, dataset), uris)
    absent = {
        uri: tuple(source for source in dataset.optional_sources if source not in header)
        for uri, header in zip(uris, headers)
    }
    return {uri: sources for uri, sources in absent.items() if sources}


def read_header(storage: Storage, uri: str, dataset: Dataset) -> list[str]:
    """Returns a file's first line, split; raises SourceFormatError or SourceReadError."""
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
    return header


def _header_fault(header: list[str], dataset: Dataset) -> str | None:
    expected = [
        source
        for source in dataset.sources
        if source in header or source not in dataset.optional_sources
    ]
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


def last_lines(
    storage: Storage,
    uris: Sequence[str],
    dataset: Dataset,
    absent: Mapping[str, tuple[str, ...]],
) -> dict[str, str]:
    """Returns uri -> last line, as a quoted value would hold it, of files in which a quote may stay
    open to the end unnoticed.

    Spark takes all that follows such a quote for one value. In the last column of a file, where it
    is text, that is no row with too few values: only the file's end tells. `absent` is what
    `absent_columns` says. The end of a zipped file is not looked at.
    """

    def may_stay_open(uri: str) -> bool:
        present = [c for c in dataset.columns if c.source not in absent.get(uri, ())]
        return present[-1].kind == "varchar" and not uri.endswith(".gz")

    def last_line(uri: str) -> str | None:
        tail = storage.read_end(uri, TAIL_BYTES)
        end = tail.decode("utf-8", errors="replace").rstrip(WHITESPACE)
        if (len(end) - len(end.rstrip('"'))) % 2:
            return None  # the last value is quoted, and closed
        before, line_break, line = end.rpartition("\n")
        # Of a line that is longer than the tail the first character may be cut.
        return (line_break + line if before else end.lstrip("\ufffd")).replace('""', '"')

    if not dataset.multi_line:
        return {}
    suspects = list(filter(may_stay_open, uris))
    with ThreadPoolExecutor(max_workers=8) as pool:
        lines = zip(suspects, pool.map(last_line, suspects))
    return {uri: line for uri, line in lines if line}


def read_rows(
    spark: SparkSession,
    uris: Sequence[str],
    dataset: Dataset,
    absent: Mapping[str, tuple[str, ...]] | None = None,
    ends: Mapping[str, str] | None = None,
) -> DataFrame:
    """Reads CSV files (RFC 4180, with headers, UTF-8, gzip by extension) as strings.

    In: the files, and what `absent_columns` and `last_lines` say of them. Out: a string column a
    source, under its header, NULL where the file lacks it; `_row_text`, the text of a row with the
    wrong number of values, or of a value that a quote opens and nothing closes, else NULL;
    `_position`, a struct that orders rows as the load has them: `file`, its file's number in the
    list; `block`, the byte where the part of the file begins that was read with it; `row`, its
    number in that part. All count from 0.

    Spark leaves out blank lines, where rows are lines also one of nothing but white space, even if
    that is tabs between values; and NUL from a quoted value that holds a quote or ends the text
    that is parsed at once: a line there, else the file.
    """
    alike: dict[tuple[str, ...], list[str]] = {}  # files with the same columns
    for uri in uris:
        alike.setdefault((absent or {}).get(uri, ()), []).append(uri)
    frames = []
    for lacks, group in alike.items():
        frame = _read_alike(spark, group, dataset, lacks, uris)
        if ends and not ends.keys().isdisjoint(group):
            last = _present(dataset, lacks)[-1]
            frame = _with_open_ends(frame, last, [ends.get(uri) for uri in uris])
        frames.append(frame)
    return functools.reduce(DataFrame.unionByName, frames)


def _present(dataset: Dataset, lacks: Sequence[str]) -> list[str]:
    return [source for source in dataset.sources if source not in lacks]


def _with_open_ends(rows: DataFrame, last: str, lines: Sequence[str | None]) -> DataFrame:
    """Gives a row its text whose last value runs on to the end of its file."""
    value = F.col(f"`{last}`")
    text = F.concat(F.lit('"'), value)
    line = F.array(*[F.lit(line).cast("string") for line in lines])[F.col("_position.file")]
    is_open = value.contains("\n") & F.btrim(text, F.lit(WHITESPACE)).endswith(line)
    return rows.withColumn("_row_text", F.coalesce("_row_text", F.when(is_open, text)))


def _read_alike(
    spark: SparkSession,
    uris: Sequence[str],
    dataset: Dataset,
    lacks: Sequence[str],
    every_uri: Sequence[str],
) -> DataFrame:
    names = (*_present(dataset, lacks), "_row_text")
    schema = StructType([StructField(name, StringType()) for name in names])
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
    number_of_name = {_encoded_name(spark, uri): number for number, uri in enumerate(every_uri)}
    number_of_path = {path: number_of_name[_name(path)] for path in rows.inputFiles()}
    return rows.select(
        *[
            (F.lit(None).cast("string") if name in lacks else F.col(f"`{name}`")).alias(name)
            for name in (*dataset.sources, "_row_text")
        ],
        F.struct(
            # Not `_metadata`, for which Spark copies every row once more.
            _looked_up(F.input_file_name(), number_of_path).alias("file"),
            F.input_file_block_start().alias("block"),
            F.monotonically_increasing_id().bitwiseAND(2**ROW_BITS - 1).alias("row"),
        ).alias("_position"),
    )


def _looked_up(text: Expression, numbers: Mapping[str, int]) -> Expression:
    """Returns the number of a text. Spark's maps compare with one key after another, so there are
    as many as keys, and a hash says which has it."""
    maps: list[list[Expression]] = [[] for _ in numbers]
    for key, number in numbers.items():
        maps[zlib.crc32(key.encode()) % len(maps)] += [F.lit(key), F.lit(number)]
    table = F.array(*[F.create_map(*entries).cast("map<string, int>") for entries in maps])
    return table[F.crc32(text) % len(maps)][text]


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


def _encoded_name(spark: SparkSession, uri: str) -> str:
    """Returns a file's name as a frame's `inputFiles` have it."""
    path = spark._jvm.org.apache.hadoop.fs.Path(uri)  # pylint: disable=protected-access
    return _name(path.toUri().getRawPath())


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _listed(names) -> str:
    return ", ".join(map(repr, names))
