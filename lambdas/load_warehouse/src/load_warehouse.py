"""Loads a run into the warehouse as one transaction: submits it, tells how it goes, cancels it; or
records that the run failed.

All are done here because the Data API shows a statement only to the role that submitted it.

Environment: COPY_ROLE_ARN, the role with which the warehouse reads the run's files.
"""

import os
import time
from typing import Any

from botocore.exceptions import ClientError
from load_sql import failure_statements, load_statements
from pipeline_common.aws import client, error_code
from pipeline_common.config import dataset_config, load_config
from pipeline_common.errors import WarehouseError
from pipeline_common.log import bind, logged, logger

# How long a failure's line is waited for.
PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3, 5, 5)
# Any other error of the Data API passes; the state machine tries again by its name.
FINAL_ERRORS = {"ValidationException", "ResourceNotFoundException", "AccessDeniedException"}


@logged
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Carries out the event's action: "submit", "describe", "cancel" or
    "record_failure".

    Raises WarehouseError when the Data API refuses the request for good.
    """
    try:
        return ACTIONS[event["action"]](event)
    except ClientError as error:
        if error_code(error) not in FINAL_ERRORS:
            raise
        asked = event["action"].replace("_", " ")
        raise WarehouseError(
            f"The warehouse refuses to {asked} for the run {event['run_id']}: {error}"
        ) from error


def submit(run: dict[str, Any]) -> dict[str, str]:
    """Submits the load of a run and returns its statement_id.

    The run's id is the request's token: a repeated request submits nothing and returns the first
    one's statement.
    """
    bind(dataset=run["dataset"])
    dataset = dataset_config(load_config(run["config_uri"]), run["dataset"])
    submitted = client("redshift-data").batch_execute_statement(
        WorkgroupName=run["workgroup"],
        Database=run["database"],
        StatementName=run["run_id"],
        ClientToken=run["run_id"],
        Sqls=load_statements(run, dataset, os.environ["COPY_ROLE_ARN"]),
    )
    logger.info("load submitted", extra={"statement_id": submitted["Id"]})
    return {"statement_id": submitted["Id"]}


def describe(event: dict[str, Any]) -> dict[str, str]:
    """Returns a statement's status, such as STARTED or FINISHED, and its error, empty if none."""
    statement = client("redshift-data").describe_statement(Id=event["statement_id"])
    return {"status": statement["Status"], "error": statement.get("Error", "")}


def cancel(event: dict[str, Any]) -> dict[str, bool]:
    """Asks for a statement to be cancelled and returns whether the warehouse took the request."""
    answer = client("redshift-data").cancel_statement(Id=event["statement_id"])
    return {"cancelled": answer["Status"]}


def record_failure(run: dict[str, Any]) -> dict[str, str]:
    """Writes the line of a run that failed, and returns how the statement went.

    Waits for it a little, since nobody else does; raises WarehouseError when it has failed.
    """
    submitted = client("redshift-data").batch_execute_statement(
        WorkgroupName=run["workgroup"],
        Database=run["database"],
        StatementName=run["run_id"],
        Sqls=failure_statements(run),
    )
    statement = {"status": "SUBMITTED", "error": ""}
    for pause in PAUSES_SECONDS:
        time.sleep(pause)
        statement = describe({"statement_id": submitted["Id"]})
        if statement["status"] in ("FINISHED", "FAILED", "ABORTED"):
            break
    if statement["status"] in ("FAILED", "ABORTED"):
        raise WarehouseError(f"The failure of {run['run_id']} is not recorded: {statement}")
    logger.info("failure recorded", extra={"statement_id": submitted["Id"]})
    return statement


ACTIONS = {
    "submit": submit,
    "describe": describe,
    "cancel": cancel,
    "record_failure": record_failure,
}
