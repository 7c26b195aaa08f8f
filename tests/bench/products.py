"""What the peers have to know of the dataset products, as its configuration has it."""

from collections.abc import Iterable, Mapping
from typing import Any

# Header -> name, in the table's order.
COLUMNS = {
    "Product@ID": "product_id",
    "Product Name!": "product_name",
    "Department": "department",
    "Brand": "brand",
    "Product Category": "product_category",
    "Package Size": "package_size",
    "Price ($)": "price",
    "Quantity": "quantity",
    "Store ID": "store_id",
    "Time": "time",
}
NAMES = tuple(COLUMNS.values())
# The text columns, and the bytes that each may have.
TEXTS = {
    "product_name": 255,
    "department": 64,
    "brand": 64,
    "product_category": 128,
    "package_size": 64,
}
WHITESPACE = " \t\n\x0b\f\r"


def broken_by_column(rules: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many rows break each rule of a report that judges rows, by the rule's columns."""
    return {
        ", ".join(rule["columns"]): rule["result"]["unexpected_count"]
        for rule in rules
        if "unexpected_count" in rule["result"]
    }
