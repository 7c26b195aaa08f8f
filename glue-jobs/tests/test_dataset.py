"""The job's view of a dataset's configuration."""

from decimal import Decimal

import pytest
from utils.dataset import Column, load_dataset
from utils.errors import ConfigurationError

STOCK = {
    "format": {"delimiter": ";", "encoding": "UTF-8", "multi_line": False},
    "columns": [
        {"source": "Item #", "name": "item", "type": "bigint", "required": True, "min": 0.1},
        {"source": "Note", "name": "note", "type": "varchar(40)"},
    ],
    "upsert_keys": ["item"],
    "order_by": [],
}


def test_a_dataset_is_read_from_the_merged_configuration():
    dataset = load_dataset({"datasets": {"stock": STOCK}}, "stock")
    assert dataset.sources == ["Item #", "Note"]
    assert dataset.column_names == ["item", "note"]
    assert dataset.columns[0] == Column("Item #", "item", "bigint", True, Decimal("0.1"))
    assert (dataset.delimiter, dataset.multi_line) == (";", False)


def test_an_unknown_dataset_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match="no dataset 'goods' .* it has: stock"):
        load_dataset({"datasets": {"stock": STOCK}}, "goods")
    with pytest.raises(ConfigurationError, match="it has: none"):
        load_dataset({}, "goods")


@pytest.mark.parametrize(
    "column_type, kind, spark_type",
    [
        ("varchar(255)", "varchar", "string"),
        ("decimal(12,4)", "decimal", "decimal(12,4)"),
        ("bigint", "bigint", "bigint"),
        ("timestamp", "timestamp", "timestamp"),
    ],
)
def test_a_column_knows_its_type_in_sparks_terms(column_type, kind, spark_type):
    column = Column("X", "x", column_type)
    assert (column.kind, column.spark_type) == (kind, spark_type)


def test_the_size_of_text_is_in_bytes():
    assert Column("X", "x", "varchar(255)").max_bytes == 255
