"""Runs SQL in an environment's warehouse and prints its rows as CSV on stdout."""

import argparse
import csv
import os
import sys

from ops.environment import Environment, OperationError, command
from ops.data.warehouse import Warehouse


@command
def main() -> int:
    """Run the statement given by --sql or the variable SQL."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.query", description=__doc__)
    parser.add_argument("--env", required=True)
    # From the environment, so that quotes in the SQL need not survive another shell.
    parser.add_argument(
        "--sql", default=os.environ.get("SQL", ""), help="default: the variable SQL"
    )
    arguments = parser.parse_args()
    sql = arguments.sql.strip().rstrip(";")
    if not sql:
        raise OperationError(
            f"there is no SQL; try: make query ENV={arguments.env} "
            'SQL="select count(*) from products"'
        )
    result = Warehouse(Environment.load(arguments.env)).run(sql)
    if result.columns:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(result.rows)
    else:
        print("done; the statement returns no rows", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # `make query ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
