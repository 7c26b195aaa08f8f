"""Of the rows with one key the latest is kept, whichever way Spark has spread them."""

from chispa import assert_df_equality
from transformations.deduplication import add_rank, is_superseded


def test_the_latest_row_of_each_key_is_kept(spark):
    # GIVEN rows of four keys: told apart by time, by place in the load, by having a time; and alone
    schema = "id int, time int, what string, _position int"
    rows = [
        (1, 10, "late, read first", 0),
        (1, 5, "early", 1),
        (2, 7, "same time, read first", 2),
        (2, 7, "same time, read last", 3),
        (3, None, "without a time", 5),
        (3, 0, "with a time", 4),
        (4, None, "alone", 6),
    ]
    frame = spark.createDataFrame(rows, schema).repartition(3)
    # WHEN the rows of each key are ranked
    ranked = add_rank(frame, ["id"], ["time"])
    # THEN the first of each key is the latest, and of equals the last in the load
    ranks = {0: 1, 1: 2, 2: 2, 3: 1, 4: 1, 5: 2, 6: 1}
    expected = spark.createDataFrame(
        [(*row, ranks[row[3]]) for row in rows],
        f"{schema}, _rank int",
    )
    assert_df_equality(ranked, expected, ignore_row_order=True, ignore_nullable=True)


def test_a_key_of_several_columns_repeats_only_as_a_whole(spark):
    # GIVEN rows that repeat one key column or the other, and one that repeats both
    rows = [("a", "x", 0), ("a", "y", 1), ("b", "x", 2), ("a", "x", 3)]
    frame = spark.createDataFrame(rows, "store string, day string, _position int")
    # WHEN both columns are the key
    ranked = add_rank(frame, ["store", "day"], [])
    # THEN only the repeated pair is superseded
    assert [row["_position"] for row in ranked.where(is_superseded()).collect()] == [0]
