"""Column names of a source system become names that SQL takes unquoted."""

import pytest
from transformations.cleaning import clean_column_name, clean_column_names


@pytest.mark.parametrize(
    "source, name",
    [
        ("Product@ID", "product_id"),
        ("Product Name!", "product_name"),
        ("Price ($)", "price"),
        ("  Store - ID  ", "store_id"),
        ("time", "time"),
        ("Größe", "gr_e"),
    ],
)
def test_a_name_becomes_lower_snake_case(source, name):
    assert clean_column_name(source) == name


def test_columns_keep_their_order_and_values(spark):
    # GIVEN a frame with a source system's headers and a column of the job's own
    frame = spark.createDataFrame([("1", "tea", "x")], ["Product@ID", "Price ($)", "_row_text"])
    # WHEN its names are cleaned
    cleaned = clean_column_names(frame)
    # THEN the names are clean, the job's own column is as it was, and so are the values
    assert cleaned.columns == ["product_id", "price", "_row_text"]
    assert [tuple(row) for row in cleaned.collect()] == [("1", "tea", "x")]


def test_a_name_that_is_given_wins(spark):
    frame = spark.createDataFrame([("1", "2", "3")], ["a.b", "Preço", "_id"])
    names = {"Preço": "price", "_id": "id"}
    assert clean_column_names(frame, names).columns == ["a_b", "price", "id"]


def test_two_columns_of_one_name_are_refused(spark):
    frame = spark.createDataFrame([("1", "2")], ["Price", "Price ($)"])
    with pytest.raises(ValueError, match="'Price' and 'Price .*' would both be called 'price'"):
        clean_column_names(frame)


def test_a_name_without_letters_is_refused(spark):
    frame = spark.createDataFrame([("1",)], ["($)"])
    with pytest.raises(ValueError, match="has no letter or digit"):
        clean_column_names(frame)
