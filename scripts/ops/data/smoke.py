"""The smoke test: a synthetic file goes through one version of the state machine, beside live
traffic.

Its file lies outside the inbox, its rows go to the tables of the schema `smoke`, under keys that
only this test uses. It passes when the warehouse holds exactly the rows that the file should
give, as computed here and not by the pipeline: their number, their content and the account of the
others. DATASET names the dataset to test; without it, `release.smoke_dataset` does.
"""

import argparse
import csv
import io
import json
import math
import os
import re
import secrets
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from ops.aws import or_none
from ops.datasets import RUN_TABLES
from ops.environment import INBOX, LIVE, Environment, OperationError, command
from ops.data.runs import SUCCEEDED, Account, describe, follow, read_account
from ops.data.tables import found_tables
from ops.data.warehouse import SMOKE_SCHEMA, Fingerprint, Warehouse, fingerprint_of
from ops.data.warehouse import quote as quote_identifier

SMOKE_RUN = "smoke-"  # what the names of its executions start with
FIRST_TIME = datetime(2017, 1, 1)
GOOD_ROWS = 100  # so that the bad ones stay far below every environment's limit
REPEATED_ROWS = 3
KEYS_A_TEST = 1000
DATASET_HELP = "default: the variable DATASET, or else release.smoke_dataset"
HISTORY = f"data/history/{SMOKE_SCHEMA}/"  # of all smoke tests

Values = dict[str, str]


@dataclass(frozen=True)
class SyntheticFile:
    """A file with good, bad and repeated rows, and what the pipeline must make of it."""

    name: str
    content: bytes
    rows: list[list[str]]  # as the warehouse prints them
    account: Account
    where: str  # selects this test's rows and no others

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint that the warehouse must have."""
        return fingerprint_of(self.rows)


def synthetic_file(dataset: dict[str, Any], test_id: str) -> SyntheticFile:
    """Make a file for a dataset with a bigint among its keys; `test_id` is 12 hex digits.

    Raises OperationError for another dataset.
    """
    columns = dataset["columns"]
    key = _own_key(dataset)
    alike = {*dataset["upsert_keys"], *dataset["order_by"]}  # in rows of which the last is kept
    first_key = int(test_id, 16) * KEYS_A_TEST + 1

    def good(number: int, text: str = "smoke test") -> Values:
        # Columns hold different values, so that one loaded in another's place is seen.
        values = {
            column["name"]: _value(
                column, number + GOOD_ROWS * place, "" if column["name"] in alike else text
            )
            for place, column in enumerate(columns)
        }
        return values | {key: str(first_key + number)}

    # Repeated keys: of each pair the last is kept.
    superseded = [good(number, "superseded") for number in range(REPEATED_ROWS)]
    kept = [good(number, 'kept, "quoted", größer') for number in range(REPEATED_ROWS)]
    plain = [good(number) for number in range(REPEATED_ROWS, GOOD_ROWS)]
    bad = [
        good(GOOD_ROWS) | {key: ""},
        good(GOOD_ROWS + 1) | {key: "not a value"},
    ]

    text = io.StringIO()
    writer = csv.writer(text, delimiter=dataset["format"]["delimiter"], lineterminator="\n")
    writer.writerow(column["source"] for column in columns)
    for row in [*superseded, *plain, *bad, *kept]:
        writer.writerow(row[column["name"]] for column in columns)
    return SyntheticFile(
        name=dataset["example_file"].removesuffix(".gz"),
        content=text.getvalue().encode(),
        rows=[[row[column["name"]] for column in columns] for row in [*kept, *plain]],
        account=Account(
            rows_in=GOOD_ROWS + REPEATED_ROWS + len(bad),
            loaded=GOOD_ROWS,
            rejected=len(bad),
            superseded=REPEATED_ROWS,
        ),
        where=f"{quote_identifier(key)} BETWEEN {first_key} AND {first_key + KEYS_A_TEST - 1}",
    )


def _own_key(dataset: dict[str, Any]) -> str:
    """Return the first upsert key that has room for keys of every smoke test."""
    types = {column["name"]: column["type"] for column in dataset["columns"]}
    for key in dataset["upsert_keys"]:
        if types[key] == "bigint":
            return key
    raise OperationError(
        f"{dataset['name']} has no bigint among its upsert keys, which a smoke test needs to keep "
        "its rows apart: test another dataset (release.smoke_dataset, or DATASET=)"
    )


def _value(column: dict[str, Any], number: int, text: str) -> str:
    """Return a value of a column, within its limits and written as the warehouse prints it."""
    kind, *sizes = re.findall(r"\w+", column["type"])
    number += math.ceil(column.get("min", 0)) + 1
    most = math.floor(column.get("max", number + 1))
    match kind:
        case "varchar":
            whole = f"{number} {text}".encode()[: int(sizes[0])]
            return whole.decode(errors="ignore").strip()
        case "decimal":
            precision, scale = map(int, sizes)
            number = min(number, most - 1, 10 ** (precision - scale) - 1)
            return f"{number}.{'25'.ljust(scale, '0')[:scale]}".rstrip(".")
        case "timestamp":
            return f"{FIRST_TIME + timedelta(seconds=number):%Y-%m-%d %H:%M:%S}"
        case "bigint" | "integer":
            return str(min(number, most))
    raise OperationError(
        f"the smoke test knows no values of the type {column['type']}; add them here"
    )


def remove_rows(warehouse: Warehouse, table: str, where: str, run_id: str) -> None:
    """Remove a run's rows from a table of the schema smoke, and its lines from the tables of runs.

    The release that is tested may be of a time that had fewer of those.
    """
    there = found_tables(warehouse)
    warehouse.run_all(
        [
            f"DELETE FROM {SMOKE_SCHEMA}.{quote_identifier(table)} WHERE {where}",
            *[
                f"DELETE FROM {SMOKE_SCHEMA}.{run_table} WHERE run_id = '{run_id}'"
                for run_table in RUN_TABLES
                if (SMOKE_SCHEMA, run_table) in there
            ],
        ]
    )


class SmokeTest:
    """One smoke test: its own file, its own run, its own rows."""

    def __init__(self, environment: Environment, dataset: str = ""):
        self._environment = environment
        named = dataset or environment.config["release"]["smoke_dataset"]
        self.dataset = environment.dataset(named)
        test_id = secrets.token_hex(6)
        self._s3 = environment.client("s3")
        self._warehouse = Warehouse(environment)
        self.run_id = f"{SMOKE_RUN}{test_id}"
        self.prefix = f"data/smoke/{test_id}/"
        self.file = synthetic_file(self.dataset, test_id)

    def start(self, version_arn: str) -> None:
        """Put the file and start its run by the state machine version (or alias) given."""
        bucket, key = self._environment.data_bucket, self.prefix + self.file.name
        put = self._s3.put_object(Bucket=bucket, Key=key, Body=self.file.content)
        source = {
            "bucket": bucket,
            "key": key,
            "version_id": put["VersionId"],
            "content_id": put["ETag"].strip('"'),
            "size": len(self.file.content),
            "name": self.file.name,
            "copy_source": f"{quote(f'{bucket}/{key}')}?versionId={quote(put['VersionId'])}",
        }
        target = {
            "schema": SMOKE_SCHEMA,
            "archive_prefix": f"{self.prefix}archive/",
            "failed_prefix": f"{self.prefix}failed/",
        }
        execution_input = {"run_id": self.run_id, "sources": [source], "target": target}
        self._environment.client("stepfunctions").start_execution(
            stateMachineArn=version_arn, name=self.run_id, input=json.dumps(execution_input)
        )

    def wait(self, timeout: float) -> None:
        """Wait for the run; raise OperationError when it fails or takes longer."""
        for state in follow(self._environment, self.run_id, timeout):
            if state.seconds is not None:
                print(f"  {state.name:<20} {state.seconds:6.1f} s", file=sys.stderr)
        execution = describe(self._environment, self.run_id)
        if execution["status"] != SUCCEEDED:
            raise OperationError(
                f"the run {execution['status'].lower()}{self._place(execution)}: "
                f"{execution.get('error')}: {execution.get('cause')}"
            )

    def _place(self, execution: dict[str, Any]) -> str:
        """Return in words the state that the run failed in, with the function that it calls.

        The reason that the run leaves beside its file has it; nothing where it left none.
        """
        reason = or_none(
            self._s3.get_object,
            Bucket=self._environment.data_bucket,
            Key=f"{self.prefix}failed/{self.run_id}/{self.file.name}.reason.json",
        )
        if reason is None:
            return ""
        state = json.load(reason["Body"])["state"]
        version = self._environment.client("stepfunctions").describe_state_machine(
            stateMachineArn=execution["stateMachineVersionArn"]
        )
        called = json.loads(version["definition"])["States"][state].get("Arguments", {})
        function = called.get("FunctionName", "").partition(":function:")[2]
        return f" in {state} ({function})" if function else f" in {state}"

    def prove(self) -> None:
        """Compare rows, account and history with the file; raise OperationError that shows both."""
        account = read_account(self._environment, self.run_id)
        expected = self.file.account
        history = self._warehouse.one(
            "SELECT rows_in, rows_loaded, rows_rejected, rows_superseded "
            f"FROM {SMOKE_SCHEMA}.load_history WHERE run_id = '{self.run_id}'"
        )
        counts = (expected.rows_in, expected.loaded, expected.rejected, expected.superseded)
        found = (account.rows_in, account.loaded, account.rejected, account.superseded)
        for what, wanted, actual in (
            ("rows in the warehouse", self.file.fingerprint, self._rows()),
            ("rows in, loaded, rejected, superseded in the report", counts, found),
            ("rows in, loaded, rejected, superseded in load_history", counts, history),
            ("rejected rows with a reason", expected.rejected, account.with_reason),
        ):
            if wanted != actual:
                raise OperationError(f"{what}: expected {wanted}, found {actual}")

    def _rows(self) -> Fingerprint:
        return self._warehouse.fingerprint(SMOKE_SCHEMA, self.dataset, self.file.where)

    def remove_rows(self) -> None:
        """Remove this test's rows from the tables of the schema smoke."""
        table = self.dataset["target"]["table"]
        remove_rows(self._warehouse, table, self.file.where, self.run_id)

    def remove_objects(self) -> None:
        """Remove every version of this test's objects from the data bucket."""
        bucket = self._environment.data_bucket
        versions = self._s3.get_paginator("list_object_versions")
        own = (self.prefix, f"data/runs/{self.run_id}/", f"data/staging/{self.run_id}/")
        for prefix in (*own, HISTORY):
            for page in versions.paginate(Bucket=bucket, Prefix=prefix):
                objects = [
                    {"Key": item["Key"], "VersionId": item["VersionId"]}
                    for kind in ("Versions", "DeleteMarkers")
                    for item in page.get(kind, [])
                    if prefix != HISTORY or self.run_id in item["Key"]
                ]
                if objects:
                    self._s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})


def check_trigger(environment: Environment, version_arn: str) -> None:
    """Send the trigger the event of a file that is gone, which it must see and start nothing for.

    Raises OperationError with the function's own error.
    """
    key = f"{INBOX}{secrets.token_hex(6)}-smoke-test-that-is-not-there.csv"
    detail = {
        "bucket": {"name": environment.data_bucket},
        "object": {"key": key, "version-id": "null"},
    }
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    answer = environment.client("lambda").invoke(
        FunctionName=version_arn, Payload=json.dumps(event).encode()
    )
    outcome = json.load(answer["Payload"])
    if "FunctionError" in answer or outcome.get("outcome") != "already_gone":
        raise OperationError(
            f"the trigger {version_arn} does not answer an inbox event: {json.dumps(outcome)}\n"
            f"  logs  /aws/lambda/{environment.function('trigger-etl')}"
        )


def smoke_test(
    environment: Environment,
    version: str | None = None,
    trigger: str | None = None,
    dataset: str = "",
) -> SmokeTest:
    """Run one smoke test to its end; return what it proved.

    It tests what is live unless it is given the ARN of a version of the state machine or of the
    trigger. Raises OperationError that says what failed and where to look.
    """
    version = version or f"{environment.state_machine_arn}:{LIVE}"
    check_trigger(environment, trigger or f"{environment.function('trigger-etl')}:{LIVE}")
    test = SmokeTest(environment, dataset)
    print(f"smoke: {test.run_id} by {version}", file=sys.stderr)
    passed = False
    try:
        test.start(version)
        test.wait(environment.config["release"]["smoke_timeout_seconds"])
        test.prove()
        passed = True
    except OperationError as error:
        raise OperationError(
            f"{error}\n"
            f"  run   {environment.execution_arn(test.run_id)}\n"
            f"  logs  {environment.log_groups['executions']}, "
            f"{environment.log_groups['glue error']}, /aws/lambda/{environment.prefix}-*\n"
            f"  data  s3://{environment.data_bucket}/{test.prefix}"
        ) from error
    finally:
        tidy(test, passed)
    test.remove_objects()
    return test


def tidy(test: SmokeTest, passed: bool) -> None:
    """Remove a test's rows; of one that did not pass, its own error is the one to be told, also
    where the warehouse fails at this as well."""
    try:
        test.remove_rows()
    except OperationError as error:
        if passed:
            raise
        print(f"smoke: its rows stay in the schema {SMOKE_SCHEMA}: {error}", file=sys.stderr)


@command
def main() -> int:
    """Run one smoke test."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.smoke", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--state-machine-version-arn", help="default: the version that is live")
    parser.add_argument("--trigger-version-arn", help="default: the version that is live")
    parser.add_argument("--dataset", default=os.environ.get("DATASET", ""), help=DATASET_HELP)
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    environment.require_deployed()
    started = time.monotonic()
    test = smoke_test(
        environment,
        arguments.state_machine_version_arn,
        arguments.trigger_version_arn,
        arguments.dataset,
    )
    seconds = time.monotonic() - started
    print(
        f"smoke: passed in {seconds:.1f} s: {test.dataset['name']}, {test.file.fingerprint}",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
