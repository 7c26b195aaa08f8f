"""A run that is stopped from outside moves no file and notifies nobody: an alarm tells of it, and
`make resend` runs its file again."""

from datetime import date

from ops.data import real_feed

from tests.e2e.project import DATA_BUCKET, PREFIX
from tests.e2e.reference import Expected, expect
from tests.e2e.warehouse import table
from tests.localaws.workshop import wait_until


def test_a_stopped_run_rings_an_alarm_and_its_file_is_run_again(project, alarms):
    # GIVEN a file whose run goes on
    alarms()  # subscribed before anything happens
    s3, states = project.client("s3"), project.client("stepfunctions")
    (day,) = real_feed.PRODUCTS.files([date(2017, 4, 19)])
    key = f"data/in/{day.name}"
    before = {execution["executionArn"] for execution in project.executions()}
    s3.put_object(Bucket=DATA_BUCKET, Key=key, Body=day.read_bytes())

    def begun() -> list[str]:
        return [
            execution["executionArn"]
            for execution in project.executions()
            if execution["executionArn"] not in before
        ]

    (execution,) = wait_until(begun, seconds=60)

    # WHEN somebody stops it
    states.stop_execution(executionArn=execution, error="Operator", cause="by mistake")

    # THEN an alarm says so
    def ringing() -> list[str]:
        return [change["AlarmName"] for change in alarms() if change["NewStateValue"] == "ALARM"]

    wait_until(lambda: f"{PREFIX}-executions-aborted" in ringing(), seconds=60)
    # AND no row is in the warehouse, the file where it was
    assert states.describe_execution(executionArn=execution)["status"] == "ABORTED"
    assert table(project, day) == Expected().fingerprint()
    assert s3.list_objects_v2(Bucket=DATA_BUCKET, Prefix=key)["KeyCount"] == 1

    # AND sent again, which is asked for twice, it is loaded once and whole
    sent, again = (project.make("resend", "ENV=dev") for _ in range(2))
    assert sent.returncode == 0, sent.stderr
    assert "1 started" in sent.stderr
    assert again.returncode == 0, again.stderr
    wait_until(lambda: not s3.list_objects_v2(Bucket=DATA_BUCKET, Prefix=key)["KeyCount"], 180)
    assert table(project, day) == expect(day).fingerprint()
    assert len(begun()) == 2
