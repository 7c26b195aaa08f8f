"""Each way out of the released state machine: what fails, takes too long or cannot be told."""

import re

import pytest
from tests.integration.state_machine import (
    ACCEPT,
    COUNT,
    FIRST_RAISE,
    locked_table,
    KEY,
    LOAD,
    NAME,
    RAISE,
    REFUSE,
    SLEEP,
    SLOW_JOB,
    SLOW_TO_DESCRIBE,
)
from tests.localaws.workshop import wait_until


@pytest.mark.parametrize(
    "job, cause",
    [
        ("raise ValueError('Price ($) is no column')", "Price ($) is no column"),
        ("import sys\nsys.exit(3)", "3"),
    ],
)
def test_a_job_that_fails_says_why_in_its_own_words(pipeline, job, cause):
    made = pipeline(job=job)

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    (run,) = made.job_runs()
    assert run["JobRunState"] == "FAILED"
    assert ended["cause"] == run["ErrorMessage"] and cause in ended["cause"]
    reason = made.failure()
    assert (reason["state"], reason["cause"]) == ("StartGlueJob", ended["cause"])


def test_a_job_run_that_somebody_stops_is_said_to_be_stopped(pipeline):
    made = pipeline(job=SLOW_JOB)
    execution = made.start(made.put())
    (run,) = wait_until(
        lambda: [run for run in made.job_runs() if run["JobRunState"] == "RUNNING"], seconds=30
    )

    made.glue.batch_stop_job_run(JobName=made.catalog, JobRunIds=[run["Id"]])

    assert made.end(execution)["status"] == "FAILED"
    reason = made.failure()
    assert (reason["state"], reason["error"]) == ("StartGlueJob", "States.TaskFailed")
    assert reason["cause"] == "the job run ended as STOPPED"


def test_a_job_that_cannot_be_started_says_why(pipeline):
    made = pipeline(denied=("glue:StartJobRun", "*"))

    assert made.run(made.put())["status"] == "FAILED"
    reason = made.failure()
    assert (reason["state"], reason["error"]) == ("StartGlueJob", "Glue.AccessDeniedException")
    assert "glue:StartJobRun" in reason["cause"]
    assert not made.job_runs()


@pytest.mark.parametrize(
    "error, cause",
    [
        ("QualityBreach", "brand is empty in 9 rows of 10."),
        ("ZeroDivisionError", '"errorMessage": "brand is empty in 9 rows of 10."'),
    ],
)
def test_rows_that_are_not_as_they_shall_be_are_not_loaded(pipeline, error, cause):
    made = pipeline(check=RAISE % error)
    execution = made.start(made.put())

    ended = made.end(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", error)
    reason = made.failure()
    assert (reason["state"], reason["error"]) == ("CheckQuality", error)
    # What was foreseen is told alone; what was not, with its traceback.
    assert reason["cause"] == cause or (error != "QualityBreach" and cause in reason["cause"])
    # It was not tried again: that would change nothing.
    assert made.errors(execution) == [error]
    assert "LoadWarehouse" not in made.entered(execution)


@pytest.mark.parametrize(
    "broken, state, known",
    [
        ({"validate": REFUSE}, "ValidateInput", set()),
        (
            {"job": "import sys\nsys.exit(3)"},
            "StartGlueJob",
            {"dataset", "run_date", "job_name", "job_run_id"},
        ),
        ({"denied": ("glue:StartJobRun", "*")}, "StartGlueJob", {"dataset", "run_date"}),
    ],
)
def test_a_failed_run_is_recorded_with_what_is_known_of_it(pipeline, broken, state, known):
    made = pipeline(**broken)

    ended = made.run(made.put())

    assert ended["status"] == "FAILED"
    recorded, reason = made.recorded(), made.failure()
    assert (recorded["run_id"], recorded["release"]) == ("run-1", "1")
    assert (recorded["schema"], recorded["sources"][0]["name"]) == ("public", NAME)
    assert recorded["failure"]["State"] == reason["state"] == state
    assert recorded["failure"]["Error"] == reason["error"] == ended["error"]
    assert recorded["failure"]["Cause"] == reason["cause"] == ended["cause"]
    assert {"dataset", "run_date", "job_name", "job_run_id"} & recorded.keys() == known


def test_a_failure_that_cannot_be_recorded_ends_as_itself(pipeline):
    made = pipeline(check=RAISE % "QualityBreach", load=RAISE % "WarehouseError")
    execution = made.start(made.put())

    ended = made.end(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", "QualityBreach")
    assert made.failure()["error"] == "QualityBreach"
    assert made.errors(execution) == ["QualityBreach", "WarehouseError", "WarehouseError"]


def test_what_passes_is_tried_again_until_it_has_passed(pipeline):
    lambdas, others = "Lambda.ServiceException", "ClientError"
    warehouses = "ActiveStatementsExceededException"
    made = pipeline(
        ACCEPT + FIRST_RAISE % [lambdas, others],
        check=COUNT + FIRST_RAISE % [others, lambdas],
        load=LOAD % "SELECT 1" + FIRST_RAISE % [lambdas, warehouses, others],
    )
    execution = made.start(made.put())

    ended = made.end(execution)

    assert ended["status"] == "SUCCEEDED", ended["cause"]
    assert made.errors(execution) == [
        *(lambdas, others),  # ValidateInput
        *(others, lambdas),  # CheckQuality
        *(lambdas, warehouses, others),  # LoadWarehouse
        *(lambdas, warehouses, others),  # DescribeLoad
    ]
    assert made.keys() == [f"data/archive/{NAME}"]
    assert made.notification()["status"] == "loaded"


@pytest.mark.parametrize(
    "state, slow, attempts",
    [("CheckQuality", {"check": SLEEP}, 2), ("StartGlueJob", {"job": SLOW_JOB}, 1)],
)
def test_what_takes_too_long_is_given_up(pipeline, state, slow, attempts):
    made = pipeline(**slow, timeout_of=state)
    execution = made.start(made.put())

    ended = made.end(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    reason = made.failure()
    assert (reason["state"], reason["error"]) == (state, "States.Timeout")
    assert reason["cause"] == "no cause was given: see the log"
    assert made.errors(execution) == attempts * ["States.Timeout"]
    # No job goes on for a run that has ended.
    runs = 1 if state == "StartGlueJob" else 0
    wait_until(lambda: [run["JobRunState"] for run in made.job_runs()][:runs] == runs * ["STOPPED"])


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"denied": ("redshift-data:DescribeStatement", "*")}, "redshift-data:DescribeStatement"),
        (
            {"timeout_of": "DescribeLoad", "load": LOAD % "SELECT 1" + SLOW_TO_DESCRIBE},
            "States.Timeout",
        ),
    ],
)
def test_a_load_whose_end_is_not_known_is_not_said_to_have_failed(pipeline, changes, why):
    made = pipeline(**changes)

    ended = made.run(made.put())

    assert ended["status"] == "FAILED"
    reason = made.failure()
    assert reason["state"] == "DescribeLoad"
    assert reason["cause"].startswith("Whether the load was committed is not known")
    assert why in reason["cause"]


def test_a_load_that_takes_longer_is_waited_for(pipeline, warehouse, schema):
    with locked_table(warehouse, schema) as insert:
        made = pipeline(load=LOAD % insert)
        execution = made.start(made.put())
        wait_until(lambda: "WaitLonger" in made.entered(execution), seconds=60)

    ended = made.end(execution)

    assert ended["status"] == "SUCCEEDED", ended["cause"]
    # A second between two looks at first, later more.
    waits = [name for name in made.entered(execution) if name.startswith("Wait")]
    assert waits[:3] == ["WaitForLoad", "WaitForLoad", "WaitLonger"]
    assert set(waits[3:]) <= {"WaitLonger"}
    assert warehouse.run(f"SELECT COUNT(*), SUM(a) FROM {schema}.t") == [(1, 1)]


def test_a_load_that_does_not_end_is_cancelled_and_leaves_no_row(pipeline, warehouse, schema):
    with locked_table(warehouse, schema) as insert:
        made = pipeline(load=LOAD % insert)
        execution = made.start(made.put())
        ended = made.end(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", "WarehouseError")
    assert made.entered(execution).count("CancelLoad") == 1
    reason = made.failure()
    assert reason["state"] == "LoadWarehouse"
    assert reason["cause"].startswith("The load was rolled back")
    assert warehouse.run(f"SELECT COUNT(*) FROM {schema}.t") == [(0,)]


def test_a_load_that_cannot_be_cancelled_is_given_up_with_its_statement_named(
    pipeline, warehouse, schema
):
    with locked_table(warehouse, schema) as insert:
        made = pipeline(load=LOAD % insert, denied=("redshift-data:CancelStatement", "*"))
        execution = made.start(made.put())
        ended = made.end(execution)

    assert (ended["status"], ended["error"]) == ("FAILED", "WarehouseError")
    entered = made.entered(execution)
    # The refusal is no end: it might have been cancelled, or finished, by the next look.
    assert entered[entered.index("CancelLoad") + 1 :][:2] == ["WaitLonger", "DescribeLoad"]
    assert entered.count("CancelLoad") == 1 and entered.count("DescribeLoad") == 6
    reason = made.failure()
    assert reason["state"] == "LoadWarehouse"
    assert re.search(r"look at statement [0-9a-f-]{36} before", reason["cause"])
    # Giving it up does not end it.
    wait_until(lambda: warehouse.run(f"SELECT COUNT(*) FROM {schema}.t") == [(1,)])


def test_rows_that_nobody_is_told_of_are_still_said_to_be_loaded(pipeline):
    made = pipeline()
    made.workshop.session.client("sns").delete_topic(TopicArn=made.topic)

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "LoadedButUnfinished")
    assert ended["cause"].startswith("The rows of run-1 are loaded, but NotifySuccess failed")
    # All else is done.
    assert made.keys() == [f"data/archive/{NAME}"]
    assert len(made.partitions()) == 1


def test_a_file_without_a_reason_beside_it_is_still_set_aside(pipeline):
    made = pipeline(REFUSE, denied=("s3:PutObject", "arn:aws:s3:::*/*.reason.json"))

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidSourceFile")
    place = f"data/failed/run-1/{NAME}"
    assert made.keys() == [place]
    assert made.read(place) == b"as sent"
    # The notification has the reason.
    notification = made.notification()
    assert (notification["cause"], notification["files"]) == (
        ended["cause"],
        [{"file": KEY, "moved_to": place}],
    )


def test_a_failed_file_that_cannot_leave_the_inbox_is_said_to_be_there(pipeline):
    made = pipeline(REFUSE, denied=("s3:DeleteObjectVersion", "*"))

    ended = made.run(made.put())

    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidSourceFile")
    assert KEY in made.keys()
    [file] = made.notification()["files"]
    assert file["file"] == KEY and file["not_moved"].startswith("S3.")
