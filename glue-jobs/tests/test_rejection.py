"""A rejected row goes through the pass as one text and comes out of it as the file had it."""

from transformations.rejection import rejected_rows, rejected_text
from transformations.validation import REJECTED
from utils.dataset import Column

COLUMNS = [Column("ID", "id", "bigint"), Column("Note", "note", "varchar(9)")]
SCHEMA = (
    "_rejected struct<raw: struct<id: string, note: string>,"
    " position: struct<file: int, block: bigint, row: bigint>,"
    " row_text: string, reasons: array<string>>"
)
ROWS = [
    (None,),
    (((' "1"\n', None), (1, 7, 2), None, ["id_not_an_integer", "invalid_utf8"]),),
    (((None, None), (0, 0, 3), "1,2,3", ["malformed_row"]),),
]


def test_a_rejected_row_comes_back_with_its_file_and_its_place(spark):
    # GIVEN a good row and two that are rejected, of two files
    frame = spark.createDataFrame(ROWS, SCHEMA)
    # WHEN they have become texts and rows again
    texts = frame.select(rejected_text().alias(REJECTED))
    rows = rejected_rows(texts.where(f"{REJECTED} IS NOT NULL"), COLUMNS, ["a.csv", "b.csv"])
    # THEN the rejected ones are what they were
    assert rows.columns[:2] == ["id", "note"]
    assert [tuple(row) for row in rows.collect()] == [
        (' "1"\n', None, "b.csv", 7, 2, None, ["id_not_an_integer", "invalid_utf8"]),
        (None, None, "a.csv", 0, 3, "1,2,3", ["malformed_row"]),
    ]


def test_a_good_row_has_no_text(spark):
    texts = spark.createDataFrame(ROWS, SCHEMA).select(rejected_text().alias(REJECTED)).collect()
    assert [row[REJECTED] is None for row in texts] == [True, False, False]
