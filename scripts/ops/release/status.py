"""Shows what is live in an environment: release, stacks, alarms, deploys, runs and rows."""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table

from ops.aws import metric_alarms
from ops.environment import STACKS, Environment, OperationError, command
from ops.data.runs import SUCCEEDED, read_account
from ops.data.warehouse import LIVE_SCHEMA, Warehouse
from ops.release import lock
from ops.release.deploys import history
from ops.release.live import describe, routes, version_number

RECENT_RUNS = 10
RECENT_DEPLOYS = 3
PLAIN_WIDTH = 140  # of tables that go to a file or a pipe


def console() -> Console:
    """Return a console on stdout whose tables are not cut where there is no terminal."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def stack_states(environment: Environment) -> Iterator[str]:
    """Yield each stack with its status."""
    client = environment.client("cloudformation")
    for name in STACKS:
        try:
            (stack,) = client.describe_stacks(StackName=environment.stack(name))["Stacks"]
            yield f"{name} {stack['StackStatus']}"
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            yield f"{name} missing"


def alarm_states(environment: Environment) -> Iterator[str]:
    """Yield each alarm with its state."""
    prefix = f"{environment.prefix}-"
    for alarm in metric_alarms(environment.client("cloudwatch"), prefix):
        yield f"{alarm['AlarmName'].removeprefix(prefix)} {alarm['StateValue']}"


def runs_table(environment: Environment) -> Table:
    """Return the latest runs with their row accounts, the newest first."""
    table = Table("run", "status", "started (UTC)", box=None, pad_edge=False)
    for column in ("seconds", "rows in", "loaded", "rejected", "superseded"):
        table.add_column(column, justify="right")
    executions = environment.client("stepfunctions").list_executions(
        stateMachineArn=environment.state_machine_arn, maxResults=RECENT_RUNS
    )["executions"]
    for execution in executions:
        table.add_row(*_run_cells(environment, execution))
    return table


def _run_cells(environment: Environment, execution: dict[str, Any]) -> list[str]:
    started, stopped = execution["startDate"], execution.get("stopDate")
    cells = [
        execution["name"],
        execution["status"],
        f"{started:%Y-%m-%d %H:%M:%S}",
        f"{(stopped - started).total_seconds():.1f}" if stopped else "",
    ]
    if execution["status"] != SUCCEEDED:
        return cells
    try:
        account = read_account(environment, execution["name"])
    except OperationError:  # a smoke test removes what it wrote
        return cells
    counts = (account.rows_in, account.loaded, account.rejected, account.superseded)
    return cells + [str(count) for count in counts]


def facts(environment: Environment) -> Iterator[tuple[str, str]]:
    """Yield what there is to know besides the runs, as (label, text)."""
    yield "where", f"account {environment.account_id}, {environment.region}"
    weights = routes(environment)
    if len(weights) > 1:
        yield "strategy", _canary_state(environment)
    for label, (version_arn, weight) in zip(("live", "canary"), weights.items()):
        version = describe(environment, version_arn)
        share = f", {weight} % of executions" if len(weights) > 1 else ""
        yield label, (
            f"{version.release}, version {version_number(version_arn)} of "
            f"{environment.prefix}-etl{share}"
        )
        yield "pins", " ".join(version.functions)
    if not weights:
        yield "live", f"nothing yet; run: make deploy ENV={environment.name}"
    yield "stacks", ", ".join(stack_states(environment))
    yield "alarms", ", ".join(alarm_states(environment)) or "none"
    warehouse = Warehouse(environment)
    for dataset in environment.config["datasets"].values():
        name = f"{LIVE_SCHEMA}.{dataset['target']['table']}"
        yield "warehouse", f"{name}: {warehouse.fingerprint(LIVE_SCHEMA, dataset)}"
    for deploy in history(environment, RECENT_DEPLOYS):
        yield "deploy", (
            f"{deploy['started']}  {deploy['to']}  {deploy['result']}  {deploy['seconds']} s  "
            f"by {deploy['who']}"
        )
    yield "data", f"s3://{environment.data_bucket}/data/"
    yield "logs", (
        f"{environment.log_groups['executions']}, /aws/lambda/{environment.prefix}-*, "
        f"{environment.log_groups['glue output']} and /error"
    )


def _canary_state(environment: Environment) -> str:
    if holder := lock.holder(environment):
        return f"canary, watched by {holder}"
    return (
        "canary, left by an interrupted deploy and watched by nobody; end it: "
        f"make rollback ENV={environment.name}, or go on: make deploy ENV={environment.name}"
    )


@command
def main() -> int:
    """Show the status of one environment on stdout."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.status", description=__doc__)
    parser.add_argument("--env", required=True)
    environment = Environment.load(parser.parse_args().env)
    environment.require_deployed()
    out = console()
    out.print(f"{environment.prefix}\n")
    for label, fact in facts(environment):
        out.print(f"{label:<10} {fact}", soft_wrap=True)
    out.print("", runs_table(environment), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
