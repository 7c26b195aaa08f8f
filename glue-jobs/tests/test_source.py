"""Files are read as RFC 4180 says, and a file that is something else is named."""

import gzip

import pytest
from utils.dataset import Column, Dataset
from utils.errors import SourceFormatError, SourceReadError
from utils.source import check_sources, read_rows, reading
from utils.storage import Storage

STOCK = Dataset(
    name="stock",
    columns=(
        Column("Item #", "item", "bigint", required=True),
        Column("Note", "note", "varchar(9)"),
    ),
    upsert_keys=("item",),
    order_by=(),
    delimiter=",",
    encoding="UTF-8",
    multi_line=True,
)
HEADER = b"Item #,Note\n"


@pytest.fixture(name="inbox")
def fixture_inbox(spark, tmp_path):
    return Inbox(spark, tmp_path)


class Inbox:
    """A folder of source files."""

    def __init__(self, spark, folder):
        self.spark = spark
        self.folder = folder
        self.prefix = f"file://{folder}/"

    def check(self, **files):
        """Writes files (a dot in a name is written __) and checks them as a run does."""
        names = []
        for name, content in files.items():
            names.append(name.replace("__", "."))
            (self.folder / names[-1]).write_bytes(content)
        return check_sources(Storage(self.spark), self.prefix, names, STOCK)

    def read(self, **files):
        """Returns (item, note, text of a malformed row, file) of each row in the load's order."""
        uris = list(self.check(**files))
        with reading(self.spark, uris, STOCK):
            rows = read_rows(self.spark, uris, STOCK).orderBy("_position").collect()
        names = [uri.removeprefix(self.prefix) for uri in uris]
        return [(*row[:3], names[row["_position"]["file"]]) for row in rows]


# ---- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, fault",
    [
        (b"", "a.csv: is empty; expected a header: 'Item #', 'Note'"),
        (b"\xef\xbb\xbf", "missing 'Item #', 'Note'"),
        (b"\n1,x\n", "missing 'Item #', 'Note'"),
        (b"Item #\n", "the header has no delimiter ','"),
        (b"Item #;Note\n1;x\n", "the header has no delimiter ',': found 'Item #;Note'"),
        (b"Item #,Notes\n", "dataset stock: missing 'Note'; unexpected 'Notes'"),
        (b"Item #,Note,Extra\n", "unexpected 'Extra'"),
        (b"Item #,Note,Note\n", "repeated 'Note'"),
        (b"Note,Item #\n", "column 1 is 'Note' where 'Item #' is expected"),
        (b"item #,Note\n", "missing 'Item #'; unexpected 'item #'"),
        ("Item #,Note\n".encode("utf-16"), "is not UTF-8 text (UTF-16?)"),
        ("Item #,Note\n".encode("utf-16-le"), "is not UTF-8 text (UTF-16?)"),
        (b"Item #,Not\xe9\n", "missing 'Note'; unexpected 'Not\ufffd'"),
    ],
)
def test_a_wrong_header_names_the_file_and_the_column(inbox, content, fault):
    with pytest.raises(SourceFormatError) as error:
        inbox.check(a__csv=content)
    assert str(error.value).startswith("a.csv: ")
    assert fault in str(error.value)


@pytest.mark.parametrize(
    "content",
    [HEADER, b"\xef\xbb\xbf" + HEADER, b"Item #,Note\r\n", b'"Item #","Note"', b"Item #,Note"],
)
def test_a_right_header_is_accepted_however_it_is_written(inbox, content):
    assert inbox.check(a__csv=content) == {f"{inbox.prefix}a.csv": len(content)}


def test_each_of_several_files_has_its_header_checked(inbox):
    with pytest.raises(SourceFormatError, match="^b.csv: .*missing 'Note'"):
        inbox.check(a__csv=HEADER, b__csv=b"Item #,Other\n", c__csv=HEADER)


def test_a_file_that_is_not_there_is_named(inbox):
    with pytest.raises(SourceReadError, match="^none.csv: there is no such file under file:/"):
        check_sources(Storage(inbox.spark), inbox.prefix, ["none.csv"], STOCK)


def test_a_file_that_is_named_twice_is_refused(inbox):
    with pytest.raises(SourceReadError, match="^a.csv: named more than once"):
        check_sources(Storage(inbox.spark), inbox.prefix, ["a.csv", "b.csv", "a.csv"], STOCK)


# ---- rows ----------------------------------------------------------------------------------------


def test_rows_are_strings_with_their_file(inbox):
    rows = inbox.read(a__csv=HEADER + b'1,tea\n"2"," x "\n,\n')
    assert rows == [
        ("1", "tea", None, "a.csv"),
        ("2", " x ", None, "a.csv"),
        (None, None, None, "a.csv"),
    ]


def test_quoted_values_hold_delimiters_quotes_and_line_breaks(inbox):
    rows = inbox.read(a__csv=HEADER + b'1,"a,b"\n2,"5"" pipe"\n3,"two\nlines"\n4,5" pipe\n')
    assert [note for _, note, _, _ in rows] == ["a,b", '5" pipe', "two\nlines", '5" pipe']


def test_a_byte_order_mark_and_crlf_leave_no_trace(inbox):
    rows = inbox.read(a__csv=b'\xef\xbb\xbfItem #,Note\r\n1,tea\r\n\r\n2,"x"\r\n')
    assert [row[:3] for row in rows] == [("1", "tea", None), ("2", "x", None)]


def test_a_row_with_the_wrong_number_of_values_keeps_its_text(inbox):
    rows = inbox.read(a__csv=HEADER + b"1\n2,x,extra\n   \n3,y\n")
    assert [text for _, _, text, _ in rows] == ["1", "2,x,extra", "   ", None]


def test_bytes_that_are_not_utf8_are_marked(inbox):
    rows = inbox.read(a__csv=HEADER + b"1,caf\xe9\n2,caf\xc3\xa9\n")
    assert [note for _, note, _, _ in rows] == ["caf\ufffd", "café"]


def test_a_line_that_starts_with_nul_is_no_comment(inbox):
    assert inbox.read(a__csv=HEADER + b"\x001,x\n#2,y\n")[0][0] == "\x001"


def test_gzip_is_read_by_its_name(inbox):
    assert inbox.read(a__csv__gz=gzip.compress(HEADER + b"1,tea\n"))[0][:2] == ("1", "tea")


def test_files_come_in_the_order_of_the_list(inbox):
    # GIVEN a small file before a large one, which Spark by itself reads first
    rows = inbox.read(b__csv=HEADER + b"1,b\n", a__csv=HEADER + b"2,a\n3,a\n")
    assert [(item, file) for item, _, _, file in rows] == [
        ("1", "b.csv"),
        ("2", "a.csv"),
        ("3", "a.csv"),
    ]


def test_a_file_may_have_any_name(inbox):
    (row,) = inbox.read(**{"é +%20 #1__csv": HEADER + b"1,tea\n"})
    assert row[3] == "é +%20 #1.csv"


def test_a_split_file_keeps_its_order(inbox):
    # GIVEN a file of single lines, read in blocks of a few bytes
    lines = [f"{item},x\n".encode() for item in range(200)]
    uris = list(inbox.check(a__csv=HEADER + b"".join(lines)))
    single_line = Dataset(**{**vars(STOCK), "multi_line": False})
    inbox.spark.conf.set("spark.sql.files.maxPartitionBytes", "300")
    try:
        rows = read_rows(inbox.spark, uris, single_line)
        blocks = rows.rdd.getNumPartitions()
        items = [int(row[0]) for row in rows.orderBy("_position").collect()]
    finally:
        inbox.spark.conf.unset("spark.sql.files.maxPartitionBytes")
    # THEN the position puts the rows in the file's order
    assert blocks > 3
    assert items == list(range(200))


# ---- files that cannot be read -------------------------------------------------------------------


def test_gzip_that_ends_too_early_is_named(inbox):
    rows = b"".join(b"%d,%d\n" % (item, item**5 % 99991) for item in range(50_000))
    whole = gzip.compress(HEADER + rows)
    with pytest.raises(SourceReadError) as error:
        inbox.read(a__csv=HEADER + b"1,x\n", b__csv__gz=whole[: len(whole) // 2], c__csv=HEADER)
    assert str(error.value).startswith("b.csv.gz: cannot be read to its end: EOFException")
    assert "\n" not in str(error.value)


def test_a_file_that_is_called_gzip_but_is_none_is_named(inbox):
    with pytest.raises(SourceReadError, match="^a.csv.gz: not a gzip file"):
        inbox.check(a__csv__gz=HEADER)


def test_a_quote_in_a_quoted_value_names_file_and_line(inbox):
    with pytest.raises(SourceFormatError) as error:
        inbox.read(a__csv=HEADER, b__csv=HEADER + b'1,x\n2,"5" pipe"\n')
    assert str(error.value).startswith("b.csv: not well-formed CSV near line 3: Unexpected char")


def test_another_failure_of_spark_is_not_blamed_on_the_file(inbox):
    uris = list(inbox.check(a__csv=HEADER + b"1,x\n"))
    with pytest.raises(Exception, match="not today"):
        with reading(inbox.spark, uris, STOCK):
            inbox.spark.sql("SELECT raise_error('not today')").collect()
