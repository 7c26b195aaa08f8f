"""Whether each dataset's next file has come by when its schedule expects it.

How far a dataset is loaded is its watermark's to say, so a file that came and could not be loaded
is overdue as well; of a dataset that was never loaded nothing is. The exit code is 1 when one is:
whoever calls this every morning need not read.
"""

import argparse
import csv
import os
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ops.data.replay import parse_day
from ops.data.warehouse import Warehouse
from ops.data.watermark import read_watermark
from ops.environment import FAILED, INBOX, Environment, command

DAYS = {"day": 1, "week": 7}
ON_TIME, OVERDUE, NOTHING_YET, UNSCHEDULED = "on time", "overdue", "nothing yet", "no schedule"


@dataclass(frozen=True)
class Freshness:
    """How far a dataset is, the file that comes next, and the last day that it may come on."""

    dataset: str
    loaded_to: date | None
    next_file: date | None
    due_by: date | None
    state: str


def freshness(dataset: Mapping[str, Any], loaded_to: date | None, today: date) -> Freshness:
    """Return a dataset's freshness on a day; `loaded_to` is its watermark's day."""
    name, schedule = dataset["name"], dataset.get("schedule")
    if schedule is None or loaded_to is None:
        state = UNSCHEDULED if schedule is None else NOTHING_YET
        return Freshness(name, loaded_to, None, None, state)
    next_file = loaded_to + timedelta(days=DAYS[schedule["every"]])
    due_by = next_file + timedelta(days=schedule["due_after_days"])
    return Freshness(name, loaded_to, next_file, due_by, OVERDUE if today > due_by else ON_TIME)


@command
def main() -> int:
    """Show every dataset's freshness as CSV; exit 1 when a file is overdue."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.freshness", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--dataset", default=os.environ.get("DATASET", ""), help="default: all")
    parser.add_argument(
        "--on", default=os.environ.get("ON", ""), help="a day as YYYY-MM-DD; default: today, in UTC"
    )
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    names = [arguments.dataset] if arguments.dataset else environment.config["datasets"]
    datasets = [environment.dataset(name) for name in names]
    today = parse_day("ON", arguments.on) or datetime.now(UTC).date()
    warehouse = Warehouse(environment)
    found = []
    for dataset in datasets:
        mark = read_watermark(warehouse, dataset["name"])
        found.append(freshness(dataset, mark.run_date if mark else None, today))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(field.name for field in fields(Freshness))
    writer.writerows(map(astuple, found))
    overdue = [one for one in found if one.state == OVERDUE]
    for one in overdue:
        print(
            f"freshness: {one.dataset}: the file of {one.next_file} was due by {one.due_by} and "
            f"is not loaded: look into s3://{environment.data_bucket}/{INBOX} and {FAILED}, then "
            "ask its sender",
            file=sys.stderr,
        )
    return 1 if overdue else 0


if __name__ == "__main__":
    sys.exit(main())
