"""Runs a SELECT in an environment's warehouse and prints its rows as CSV on stdout."""

import argparse
import csv
import os
import re
import sys

from ops.environment import Environment, OperationError, command
from ops.data.warehouse import Warehouse

READS = {"select", "with", "show", "explain"}
# Text and names may hold any word; what is left of a statement without them is SQL.
QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(\w*)", re.DOTALL)


def check(sql: str, environment: str) -> None:
    """Raise OperationError for anything but one statement that reads.

    Rows are changed by runs, which account for them; a slip of the hand in prod is not undone.
    """
    if not sql:
        raise OperationError(
            f"SQL is missing; try: make query ENV={environment} "
            'SQL="select count(*) from products"'
        )
    word = FIRST_WORD.match(sql)[1]
    if into := re.search(r"\binto\b", QUOTED.sub(" ", sql), re.IGNORECASE):
        word = f"{word} ... {into[0]}"  # makes a table
    if word.lower() not in READS:
        raise OperationError(
            f"{word or sql} ... is refused: make query only reads ({', '.join(sorted(READS))}); "
            "rows are changed by feeding files"
        )


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
    check(sql, arguments.env)
    result = Warehouse(Environment.load(arguments.env)).run(sql)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows(result.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
