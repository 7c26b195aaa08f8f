"""Redshift's COPY and UNLOAD: rows between S3 and the warehouse, under the named IAM role.

S3 is reached over HTTP with temporary credentials of that role, so its policies decide, as on AWS;
the role must be one of the namespace's and must trust Redshift. Formats: Parquet and CSV (or
text with another delimiter); options that are not here are refused by name. Errors have Redshift's
words, as far as they are known.
"""

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

import boto3
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from botocore.config import Config
from botocore.exceptions import ClientError
from psycopg import sql

from localaws import redshift_sql
from localaws.credentials import RoleError, role_session
from localaws.redshift_sql import SqlError

_TRUSTED_SERVICES = ("redshift.amazonaws.com", "redshift-serverless.amazonaws.com")
_BATCH_ROWS = 65536
_SPOOLED_BYTES = 64 * 2**20
_SCAN_ERROR, LOAD_ERROR, _MANIFEST_ERROR = 15007, 8001, 15003


@dataclass(frozen=True)
class Warehouse:
    """Where a COPY or UNLOAD runs: the namespace, the emulator's URL, the database user."""

    namespace: dict[str, Any]
    endpoint: str
    user: str


@dataclass
class Command:
    """A parsed COPY or UNLOAD: its parts, and its options by name (True where one has no value)."""

    verb: str
    subject: str  # COPY: the table, as SQL; UNLOAD: the query
    columns: list[str]
    uri: str
    role: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """PARQUET, CSV or TEXT."""
        return self.options.get("FORMAT", "TEXT")

    @property
    def delimiter(self) -> str:
        """What stands between two values of a line."""
        return self.options.get("DELIMITER", "," if self.format == "CSV" else "|")


def redshift_error(message: str, code: int, context: str) -> SqlError:
    """Return an error with the block of details that Redshift adds to those of its engine."""
    line = "-" * 47
    return SqlError(
        f"{message}\n  Detail: \n  {line}\n  error:  {message}\n  code:      {code}\n"
        f"  context:   {context}\n  {line}"
    )


# ---- parsing ------------------------------------------------------------------------------------

_VALUE_OPTIONS = {
    "DATEFORMAT", "DELIMITER", "ENCODING", "IGNOREHEADER", "MAXERROR", "NULL", "QUOTE", "REGION",
    "TIMEFORMAT",
}  # fmt: skip
_COPY_FLAGS = {"BLANKSASNULL", "EMPTYASNULL", "GZIP", "MANIFEST", "TRIMBLANKS", "TRUNCATECOLUMNS"}
_UNLOAD_FLAGS = {"ADDQUOTES", "ALLOWOVERWRITE", "CLEANPATH", "GZIP", "HEADER", "MANIFEST"}
_SWITCHES = {"COMPUPDATE", "PARALLEL", "STATUPDATE"}
_FORMATS = {"CSV", "PARQUET"}


def parse(statement: str) -> Command:
    """Return the parts of a COPY or UNLOAD statement; raise SqlError for what is not supported."""
    reader = _Reader(redshift_sql.tokenize(statement))
    verb = reader.word()
    columns: list[str] = []
    if verb == "COPY":
        subject = reader.name()
        if reader.accept("("):
            columns = reader.names()
        reader.expect("FROM")
    else:
        reader.expect("(")
        subject = reader.string()
        reader.expect(")")
        reader.expect("TO")
    command = Command(verb, subject, columns, reader.string(), "")
    if not command.uri.startswith("s3://"):
        raise SqlError(f"{verb}: only s3:// is there in local AWS, not {command.uri}")
    while not reader.at_end():
        _read_option(reader, command)
    if not command.role:
        raise SqlError(f"{verb}: name an IAM_ROLE; keys are not taken by local AWS")
    return command


def _read_option(reader: "_Reader", command: Command) -> None:
    name = reader.word()
    flags = _COPY_FLAGS if command.verb == "COPY" else _UNLOAD_FLAGS
    if name == "IAM_ROLE":
        command.role = "default" if reader.accept("DEFAULT") else reader.string()
    elif name == "FORMAT":
        reader.accept("AS")
        command.options["FORMAT"] = reader.word()
        if command.options["FORMAT"] not in _FORMATS:
            raise SqlError(f"FORMAT {command.options['FORMAT']} is not there in local AWS")
    elif name in _FORMATS:
        command.options["FORMAT"] = name
    elif name in _VALUE_OPTIONS:
        reader.accept("AS")
        command.options[name] = reader.value()
    elif name in _SWITCHES:
        value = reader.accept("ON", "OFF", "TRUE", "FALSE", "PRESET")
        command.options[name] = value not in ("OFF", "FALSE")
    elif name in flags:
        command.options[name] = True
    else:
        raise SqlError(f"{command.verb}: the option {name} is not there in local AWS")
    if command.options.get("MAXERROR") not in (None, 0):
        raise SqlError("COPY: MAXERROR other than 0 is not there in local AWS")


class _Reader:
    """Reads the tokens of a statement one after the other."""

    def __init__(self, tokens: list):
        self._tokens = tokens
        self._position = 0

    def at_end(self) -> bool:
        return self._position >= len(self._tokens)

    def word(self) -> str:
        return self._next().text.upper()

    def string(self) -> str:
        token = self._next()
        if not redshift_sql.is_string(token):
            raise SqlError(f'syntax error at or near "{token.text}"')
        return token.text

    def value(self) -> str | int:
        token = self._next()
        if redshift_sql.is_string(token):
            return token.text
        return int(token.text) if token.text.isdecimal() else token.text.upper()

    def name(self) -> str:
        parts = [self._identifier()]
        while self.accept("."):
            parts.append(self._identifier())
        return ".".join(parts)

    def names(self) -> list[str]:
        names = [self._identifier()]
        while self.accept(","):
            names.append(self._identifier())
        self.expect(")")
        return names

    def _identifier(self) -> str:
        return redshift_sql.quoted(redshift_sql.folded(self._next()))

    def accept(self, *words: str) -> str | None:
        if not self.at_end() and self._tokens[self._position].text.upper() in words:
            return self.word()
        return None

    def expect(self, word: str) -> None:
        token = self._next()
        if token.text.upper() != word:
            raise SqlError(f'syntax error at or near "{token.text}"')

    def _next(self):
        if self.at_end():
            raise SqlError("syntax error at end of input")
        self._position += 1
        return self._tokens[self._position - 1]


# ---- S3, under the role -------------------------------------------------------------------------


class _Bucket:
    """S3 as the role of a statement may use it."""

    def __init__(self, command: Command, warehouse: Warehouse):
        session = _assume(command.role, warehouse)
        self._client = boto3.client(
            "s3",
            endpoint_url=warehouse.endpoint,
            region_name=warehouse.namespace["region"],
            aws_access_key_id=session["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=session["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=session["AWS_SESSION_TOKEN"],
            # Redshift, too, asks S3 again.
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 4, "mode": "standard"},
            ),
        )

    def read(self, uri: str) -> IO[bytes]:
        """Return an object's content, on disk where it is large."""
        bucket, key = _split(uri)
        try:
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        except ClientError as error:
            raise _s3_error(error, f"S3 key being read : {uri}") from error
        # The caller closes it.
        content = tempfile.SpooledTemporaryFile(  # pylint: disable=consider-using-with
            _SPOOLED_BYTES
        )
        for chunk in body.iter_chunks(2**20):
            content.write(chunk)
        content.seek(0)
        return content

    def list(self, uri: str) -> list[str]:
        """Return the URIs of the objects whose keys begin with the URI's."""
        bucket, prefix = _split(uri)
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix
            )
            return [f"s3://{bucket}/{o['Key']}" for page in pages for o in page.get("Contents", [])]
        except ClientError as error:
            raise _s3_error(error, f"S3 prefix being listed : {uri}") from error

    def write(self, uri: str, content: bytes) -> None:
        """Write an object."""
        bucket, key = _split(uri)
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=content)
        except ClientError as error:
            raise _s3_error(error, f"S3 key being written : {uri}") from error

    def delete(self, uri: str) -> None:
        """Delete an object."""
        bucket, key = _split(uri)
        try:
            self._client.delete_object(Bucket=bucket, Key=key)
        except ClientError as error:
            raise _s3_error(error, f"S3 key being deleted : {uri}") from error


def _assume(role: str, warehouse: Warehouse) -> dict[str, str]:
    """Return temporary credentials of the role, which must be one of the namespace's."""
    namespace = warehouse.namespace
    if role == "default":
        role = namespace.get("defaultIamRoleArn", "")
        if not role:
            raise SqlError("The namespace has no default IAM role: set one, or name an IAM_ROLE")
    refused = (
        f"User arn:aws:redshift:{namespace['region']}:{namespace['account']}:dbuser:"
        f"{namespace['namespaceName']}/{warehouse.user} is not authorized to assume IAM Role {role}"
    )
    if role not in namespace["iamRoles"]:
        raise redshift_error(refused, LOAD_ERROR, "it is not one of the namespace's iamRoles")
    for service in _TRUSTED_SERVICES:
        try:
            return role_session(role, "RedshiftIamRoleSession", service=service)
        except RoleError as error:
            reason = str(error)
    raise redshift_error(refused, LOAD_ERROR, reason)


def _s3_error(error: ClientError, context: str) -> SqlError:
    answer = error.response["Error"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    code = {"403": "AccessDenied", "404": "NoSuchKey"}.get(answer["Code"], answer["Code"])
    return redshift_error(
        f"S3ServiceException:{answer['Message']},Status {status},Error {code},CanRetry 1",
        LOAD_ERROR,
        context,
    )


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _https(uri: str, region: str) -> str:
    return f"https://s3.{region}.amazonaws.com/{uri.removeprefix('s3://')}"


# ---- COPY ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """A column of the table to load: its SQL name, type and length in bytes or digits."""

    name: str
    type: str
    length: int | None
    scale: int | None


def copy(statement: str, connection: psycopg.Connection, warehouse: Warehouse) -> int:
    """Run a COPY within the connection's transaction; return how many rows it loaded."""
    command = parse(statement)
    begun = datetime.now(UTC)
    columns = _columns(command, connection)
    bucket = _Bucket(command, warehouse)
    files = _files(command, bucket)
    rows, size = 0, 0
    for uri, length in files:
        with bucket.read(uri) as content:
            size += _check_length(content, length, uri)
            if command.format == "PARQUET":
                rows += _copy_parquet(command, connection, warehouse, columns, (uri, content))
            else:
                rows += _copy_lines(command, connection, columns, (uri, content))
    connection.execute(
        "SELECT redshift_catalog.record_load(%s, %s, %s, %s, %s, %s, %s)",
        [command.subject, begun.replace(tzinfo=None), command.uri, command.format.lower(), rows,
         size, len(files)],
    )  # fmt: skip
    return rows


def _columns(command: Command, connection: psycopg.Connection) -> list[_Column]:
    """Return the columns to load, in the order of the statement or else of the table."""
    found = connection.execute(
        "SELECT quote_ident(a.attname), t.typname, a.atttypmod, a.attidentity <> '' "
        "FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid "
        "WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        [command.subject],
    ).fetchall()
    columns = {}
    for name, kind, modifier, identity in found:
        length = scale = None
        if modifier >= 4:
            length, scale = modifier - 4, None
            if kind == "numeric":
                length, scale = length >> 16, length & 0x7FF
        if not identity or command.columns:
            columns[name.strip('"')] = _Column(name, kind, length, scale)
    if not command.columns:
        return list(columns.values())
    try:
        return [columns[name.strip('"')] for name in command.columns]
    except KeyError as error:
        raise SqlError(
            f'column "{error.args[0]}" of relation {command.subject} does not exist'
        ) from error


def _files(command: Command, bucket: _Bucket) -> list[tuple[str, int | None]]:
    """Return the URIs to load, with the lengths in bytes that the manifest gives."""
    if command.options.get("MANIFEST"):
        return _manifest(command, bucket)
    found = bucket.list(command.uri)
    if command.format == "PARQUET":  # as Spectrum: names that begin so are no data
        found = [uri for uri in found if not uri.rsplit("/", 1)[-1].startswith(("_", ".", "#"))]
    found = [uri for uri in found if not uri.endswith("/")]
    if not found:
        prefix = _split(command.uri)[1]
        raise redshift_error(
            f"The specified S3 prefix '{prefix}' does not exist", LOAD_ERROR, command.uri
        )
    return [(uri, None) for uri in found]


def _manifest(command: Command, bucket: _Bucket) -> list[tuple[str, int | None]]:
    uri = command.uri
    try:
        with bucket.read(uri) as content:
            entries = json.load(content)["entries"]
    except (ValueError, KeyError, TypeError) as error:
        raise redshift_error(
            "Manifest file is not in correct json format", LOAD_ERROR, f"{uri}: {error}"
        ) from error
    files = []
    for entry in entries:
        if not isinstance(entry.get("url"), str):
            raise redshift_error("File entry does not have 'url' key.", _MANIFEST_ERROR, uri)
        length = None
        if command.format == "PARQUET":
            if "meta" not in entry:
                raise redshift_error("File entry does not have 'meta' key.", _MANIFEST_ERROR, uri)
            length = entry["meta"].get("content_length")
            if not isinstance(length, int):
                raise redshift_error(
                    "File entry's 'meta' does not have 'content_length' key.", _MANIFEST_ERROR, uri
                )
        if entry.get("mandatory") or bucket.list(entry["url"]):
            files.append((entry["url"], length))
    if not files:
        raise redshift_error(f"No files found for manifest {uri}", LOAD_ERROR, uri)
    return files


def _check_length(content: IO[bytes], length: int | None, uri: str) -> int:
    """Return how many bytes a file has; a manifest for Parquet must give that number."""
    size = content.seek(0, io.SEEK_END)
    content.seek(0)
    if length is not None and length != size:
        raise redshift_error(
            "HTTP response error code: 416 Message: InvalidRange The requested range is not "
            "satisfiable",
            _SCAN_ERROR,
            f"{uri} has {size} bytes, its content_length in the manifest is {length}",
        )
    return size


def _copy_parquet(
    command: Command,
    connection: psycopg.Connection,
    warehouse: Warehouse,
    columns: list[_Column],
    file: tuple[str, IO[bytes]],
) -> int:
    shown = _https(file[0], warehouse.namespace["region"])
    parquet = _open_parquet(columns, file, shown)
    names = [str(position) for position in range(len(columns))]
    options = pyarrow.csv.WriteOptions(include_header=False)
    rows = 0
    with connection.cursor() as cursor:
        with cursor.copy(_copy_from_stdin(command, columns, sql.SQL(" (FORMAT csv)"))) as sink:
            for batch in parquet.iter_batches(_BATCH_ROWS):
                arrays = [
                    _as_csv(array, column, shown) for array, column in zip(batch.columns, columns)
                ]
                lines = pa.BufferOutputStream()
                pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(arrays, names), lines, options)
                sink.write(lines.getvalue())
                rows += batch.num_rows
    return rows


def _copy_from_stdin(
    command: Command, columns: list[_Column], options: sql.Composable = sql.SQL("")
) -> sql.Composed:
    names = sql.SQL(", ").join(sql.SQL(column.name) for column in columns)
    return sql.SQL("COPY {} ({}) FROM STDIN{}").format(sql.SQL(command.subject), names, options)


def _open_parquet(
    columns: list[_Column], file: tuple[str, IO[bytes]], shown: str
) -> pq.ParquetFile:
    """Open a Parquet file whose columns fit the table's, by position."""
    uri, content = file
    try:
        # INT96 is read as nanoseconds unless told otherwise, which overflow after 2262.
        parquet = pq.ParquetFile(content, coerce_int96_timestamp_unit="us")
    except pa.ArrowInvalid as error:
        raise _scan_error(f"File '{shown}' is not a Parquet file: {error}") from error
    schema = parquet.schema_arrow
    if len(schema) != len(columns):
        raise _scan_error(
            "Unmatched number of columns between table and file. Table columns: "
            f"{len(columns)}, Data columns: {len(schema)}, File name: {shown}"
        )
    for column, found in zip(columns, schema):
        if not _fits(column, found.type):
            raise _scan_error(
                f"File '{shown}' has an incompatible Parquet schema for column "
                f"'{uri}.{found.name}'. Column type: {_type(column)}, Parquet schema: {found.type}"
            )
    return parquet


def _scan_error(context: str) -> SqlError:
    return redshift_error("Spectrum Scan Error", _SCAN_ERROR, context)


# The Parquet types that a column takes; Redshift converts none.
_PARQUET_TYPES = {
    "int2": (pa.types.is_int16,),
    "int4": (pa.types.is_int32,),
    "int8": (pa.types.is_int64,),
    "float4": (pa.types.is_float32,),
    "float8": (pa.types.is_float64,),
    "bool": (pa.types.is_boolean,),
    "date": (pa.types.is_date32,),
    "timestamp": (pa.types.is_timestamp,),
    "timestamptz": (pa.types.is_timestamp,),
    "varchar": (pa.types.is_string, pa.types.is_large_string),
    "bpchar": (pa.types.is_string, pa.types.is_large_string),
}
_TYPE_NAMES = {
    "int2": "SMALLINT", "int4": "INT", "int8": "BIGINT", "float4": "REAL", "bool": "BOOLEAN",
    "float8": "DOUBLE PRECISION", "bpchar": "CHAR", "numeric": "DECIMAL", "jsonb": "SUPER",
}  # fmt: skip


def _fits(column: _Column, found: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    if column.type == "numeric":
        fits = pa.types.is_decimal(found) and found.scale == column.scale
        return fits and found.precision <= column.length
    return any(check(found) for check in _PARQUET_TYPES.get(column.type, ()))


def _type(column: _Column) -> str:
    name = _TYPE_NAMES.get(column.type, column.type.upper())
    if column.length is None:
        return name
    scale = "" if column.scale is None else f",{column.scale}"
    return f"{name}({column.length}{scale})"


def _as_csv(array: pa.Array, column: _Column, file: str) -> pa.Array:
    """Return a column as pyarrow's CSV writer takes it; text must fit into the column's bytes."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if column.type in ("varchar", "bpchar"):
        # pyarrow makes its functions while it is imported. pylint: disable-next=no-member
        longest = pc.max(pc.binary_length(array)).as_py() or 0
        if column.length is not None and longest > column.length:
            raise _scan_error(
                f"The length of the data column {column.name} is longer than the length defined "
                f"in the table. Table: {column.length}, Data: {longest}, File name: {file}",
            )
    if pa.types.is_decimal(array.type):
        return array.cast(pa.string())
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("us"), safe=False).cast(pa.string())
    return array


def _copy_lines(
    command: Command,
    connection: psycopg.Connection,
    columns: list[_Column],
    file: tuple[str, IO[bytes]],
) -> int:
    """Load one CSV or delimited file; a bad line fails the whole COPY and is kept for a look."""
    uri, content = file
    rows = 0
    try:
        with connection.cursor() as cursor:
            with cursor.copy(_copy_from_stdin(command, columns)) as sink:
                for line, record in _records(command, content):
                    sink.write_row(_values(command, columns, record, line))
                    rows += 1
    except _BadLine as error:
        raise _load_error(command, uri, error) from error
    except UnicodeDecodeError as error:
        reason = "String contains invalid or unsupported UTF8 codepoints."
        line = _undecodable_line(command, content)
        raise _load_error(command, uri, _BadLine(line, "", "", reason)) from error
    except psycopg.DataError as error:
        raise _load_error(command, uri, _from_postgres(command, error)) from error
    return rows


class _BadLine(ValueError):
    """A line that cannot be loaded: its number, the column, the value and the reason."""

    def __init__(self, line: int, column: str, value: str, reason: str):
        super().__init__(reason)
        self.line, self.column, self.value, self.reason = line, column, value, reason


def _records(command: Command, content: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Yield each line's number and its values."""
    text = io.TextIOWrapper(_unpacked(command, content), encoding="utf-8", newline="")
    if command.format == "CSV":
        quote = command.options.get("QUOTE", '"')
        reader = csv.reader(text, delimiter=command.delimiter, quotechar=quote, strict=True)
    else:
        reader = csv.reader(text, delimiter=command.delimiter, quoting=csv.QUOTE_NONE)
    skipped = command.options.get("IGNOREHEADER", 0)
    for position, record in enumerate(reader, 1):
        if position > skipped and record:
            yield reader.line_num, record


def _unpacked(command: Command, content: IO[bytes]) -> IO[bytes]:
    content.seek(0)
    packed = command.options.get("GZIP")
    return gzip.GzipFile(fileobj=content, mode="rb") if packed else content


def _undecodable_line(command: Command, content: IO[bytes]) -> int:
    """Return the number of the first line that is not UTF-8."""
    for number, line in enumerate(_unpacked(command, content), 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return number
    return 0


def _values(
    command: Command, columns: list[_Column], record: list[str], line: int
) -> list[str | None]:
    if len(record) > len(columns):
        raise _BadLine(line, "", command.delimiter.join(record), "Extra column(s) found")
    if len(record) < len(columns):
        raise _BadLine(line, columns[len(record)].name, "", "Delimiter not found")
    return [_value(command, column, text, line) for column, text in zip(columns, record)]


def _value(command: Command, column: _Column, text: str, line: int) -> str | None:
    """Return a field's value; an empty one is NULL, except in a text column."""
    options = command.options
    if text == options.get("NULL", "\\N"):
        return None
    if column.type not in ("varchar", "bpchar", "text"):
        return text.strip() or None
    if options.get("TRIMBLANKS"):
        text = text.rstrip(" ")
    if (options.get("EMPTYASNULL") and not text) or (
        options.get("BLANKSASNULL") and not text.strip()
    ):
        return None
    encoded = text.encode()
    if column.length is not None and len(encoded) > column.length:
        if not options.get("TRUNCATECOLUMNS"):
            raise _BadLine(line, column.name, text, "String length exceeds DDL length")
        text = encoded[: column.length].decode(errors="ignore")
    return text


def _from_postgres(command: Command, error: psycopg.DataError) -> _BadLine:
    """Return PostgreSQL's complaint about a value (COPY t, line 3, column a: "x") as Redshift's."""
    context = error.diag.context or ""
    where, _, value = context.partition(': "')
    words = dict(zip(where.replace(",", "").split()[2::2], where.replace(",", "").split()[3::2]))
    line = int(words.get("line", 0)) + command.options.get("IGNOREHEADER", 0)
    return _BadLine(line, words.get("column", ""), value.rstrip('"'), error.diag.message_primary)


class LoadError(SqlError):
    """A load that failed on a line; ``row`` is its line of stl_load_errors."""

    def __init__(self, message: str, row: dict[str, Any]):
        super().__init__(message)
        self.row = row


def _load_error(command: Command, uri: str, bad: _BadLine) -> LoadError:
    table = command.subject.replace('"', "")
    return LoadError(
        f"Load into table '{table}' failed.  Check 'stl_load_errors' system table for details.",
        {
            "filename": uri[-256:],
            "line_number": bad.line,
            "colname": bad.column.strip('"'),
            "raw_field_value": bad.value[:256],
            "err_code": 1202,
            "err_reason": bad.reason[:100],
        },
    )


# ---- UNLOAD -------------------------------------------------------------------------------------


def unload(statement: str, connection: psycopg.Connection, warehouse: Warehouse) -> int:
    """Run an UNLOAD; return how many rows it wrote."""
    command = parse(statement)
    plan = redshift_sql.translate(command.subject)
    if redshift_sql.has_outer_limit(command.subject):
        raise SqlError("Limit clause is not supported in the outermost select of an UNLOAD")
    bucket = _Bucket(command, warehouse)
    _make_room(command, bucket)
    if command.format == "PARQUET":
        content, rows = _as_parquet(connection, plan.steps[-1])
    else:
        content, rows = _as_lines(command, connection, plan.steps[-1])
    files = []
    if rows or command.options.get("HEADER"):
        part = "000" if command.options.get("PARALLEL") is False else "0000_part_00"
        suffix = ".parquet" if command.format == "PARQUET" else ""
        if command.options.get("GZIP") and command.format != "PARQUET":
            content, suffix = gzip.compress(content, mtime=0), ".gz"
        uri = f"{command.uri}{part}{suffix}"
        bucket.write(uri, content)
        files.append({"url": uri, "meta": {"content_length": len(content)}})
    if command.options.get("MANIFEST"):
        manifest = json.dumps({"entries": files}, indent=2)
        bucket.write(f"{command.uri}manifest", manifest.encode())
    return rows


def _make_room(command: Command, bucket: _Bucket) -> None:
    if command.options.get("ALLOWOVERWRITE"):
        return
    found = bucket.list(command.uri)
    if found and not command.options.get("CLEANPATH"):
        raise SqlError(
            "Specified unload destination on S3 is not empty. Consider using a different bucket / "
            "prefix, manually removing the target files in S3, or using the ALLOWOVERWRITE option."
        )
    for uri in found:
        bucket.delete(uri)


_ARROW_TYPES = {
    "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(), "float4": pa.float32(),
    "float8": pa.float64(), "bool": pa.bool_(), "date": pa.date32(),
    "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", tz="UTC"),
}  # fmt: skip


def _as_parquet(connection: psycopg.Connection, query: str) -> tuple[bytes, int]:
    """Return the rows as Parquet: through CSV, which PostgreSQL writes and Arrow reads fast."""
    described = connection.execute(f"SELECT * FROM ({query}) AS unloaded LIMIT 0").description
    schema = pa.schema([(column.name, _arrow_type(column)) for column in described])
    lines, rows = _copied(connection, query, [sql.SQL("FORMAT csv"), sql.SQL("NULL ''")])
    names = [str(position) for position in range(len(schema))]  # two may have the same name
    if rows:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(lines),
            pyarrow.csv.ReadOptions(column_names=names),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                column_types=dict(zip(names, schema.types)),
                null_values=[""],
                true_values=["t"],
                false_values=["f"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        table = pa.Table.from_arrays(table.columns, schema=schema)
    else:
        table = schema.empty_table()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="snappy")
    return sink.getvalue().to_pybytes(), rows


def _arrow_type(column: Any) -> pa.DataType:
    name = column.type_display.partition("(")[0]
    if name == "numeric":
        return pa.decimal128(column.precision or 38, column.scale or 0)
    found = psycopg.postgres.types.get(column.type_code)
    return _ARROW_TYPES.get(found.name if found else "", pa.string())


def _as_lines(command: Command, connection: psycopg.Connection, query: str) -> tuple[bytes, int]:
    """Return the rows as CSV, or as text whose delimiter and backslash are escaped."""
    options: list[sql.Composable] = [
        sql.SQL("DELIMITER {}").format(sql.Literal(command.delimiter)),
        sql.SQL("NULL {}").format(sql.Literal(command.options.get("NULL", ""))),
    ]
    if command.format == "CSV" or command.options.get("ADDQUOTES"):
        options.append(sql.SQL("FORMAT csv"))
        if command.options.get("ADDQUOTES"):
            options.append(sql.SQL("FORCE_QUOTE *"))
    if command.options.get("HEADER"):
        options.append(sql.SQL("HEADER"))
    return _copied(connection, query, options)


def _copied(
    connection: psycopg.Connection, query: str, options: list[sql.Composable]
) -> tuple[bytes, int]:
    statement = sql.SQL("COPY ({}) TO STDOUT ({})").format(
        sql.SQL(query), sql.SQL(", ").join(options)
    )
    with connection.cursor() as cursor:
        with cursor.copy(statement) as source:
            content = b"".join(bytes(chunk) for chunk in source)
        return content, cursor.rowcount
