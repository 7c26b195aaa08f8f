"""Column names: from whatever the source system writes to names that SQL takes unquoted."""

import re
from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def clean_column_name(name: str) -> str:
    """Returns a name in lower snake case: "Product@ID" -> "product_id", "Price ($)" -> "price"."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def clean_column_names(frame: DataFrame, names: Mapping[str, str] | None = None) -> DataFrame:
    """Renames every column, to its entry in `names` or else by `clean_column_name`.

    In: any columns. Out: the same columns in the same order under clean names; others that start
    with an underscore are the job's own and stay. Raises ValueError when a name would be empty or
    two columns would get the same one.
    """
    renamed = {
        old: (names or {}).get(old) or (old if old.startswith("_") else clean_column_name(old))
        for old in frame.columns
    }
    sources: dict[str, str] = {}
    for old, new in renamed.items():
        if not new:
            raise ValueError(f"column {old!r} has no letter or digit to make a name of")
        if new in sources:
            raise ValueError(f"columns {sources[new]!r} and {old!r} would both be called {new!r}")
        sources[new] = old
    return frame.select([F.col(f"`{old}`").alias(new) for old, new in renamed.items()])
