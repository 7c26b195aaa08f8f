"""Going back: live is the earlier release again, it loads what arrives and what the other one left
in the inbox, and the record says who.
"""

import re

from tests.callers import make_as, needed_for, user_with
from tests.e2e.one_row import a_file
from tests.e2e.project import ARTIFACT_BUCKET, DATA_BUCKET, PREFIX
from tests.e2e.reference import expect
from tests.e2e.warehouse import rows_where
from tests.localaws.workshop import wait_until


def newest_run(project):
    """Return the description of the execution that was started last."""
    newest = project.executions()[0]["executionArn"]
    return project.client("stepfunctions").describe_execution(executionArn=newest)


def artifacts_template(project):
    """Return the template of the bucket's stack, as CloudFormation has it."""
    found = project.client("cloudformation").get_template(StackName=f"{PREFIX}-artifacts")
    return str(found["TemplateBody"])


def backed_up_template(project):
    """Return the same template as the last deploy has found it and backed it up."""
    key = f"backups/{project.last_record()['backup']}/stacks/artifacts.yaml"
    found = project.client("s3").get_object(Bucket=ARTIFACT_BUCKET, Key=key)
    return found["Body"].read().decode()


def change(file, old, new):
    """Change a file's text; what is to be changed must be there."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def roll_back_with_no_other_rights(project, *arguments):
    """Roll back as a user who may do nothing else."""
    with user_with(project.client("iam"), needed_for("rollback")) as settings:
        return make_as(settings, project.aws, "rollback", *arguments)


def test_back_by_alias_and_forward_again(project, broken_copy, tmp_path):
    # GIVEN a release that was live, and another one, with another configuration, that is
    before, template = project.live_version(), artifacts_template(project)
    change(
        broken_copy.folder / "config/common/settings.yaml",
        "smoke_timeout_seconds: 300",
        "smoke_timeout_seconds: 301",
    )
    change(
        broken_copy.folder / "cloudformation/artifacts.yaml",
        "DaysAfterInitiation: 7",
        "DaysAfterInitiation: 8",
    )
    deployed = broken_copy.make("deploy", "ENV=dev")
    assert deployed.returncode == 0, deployed.stderr
    after = project.live_version()
    assert after == deployed.stdout.strip() != before

    # AND a backup of what the deploy has changed, as it was before
    assert artifacts_template(project) != template
    assert backed_up_template(project) == template

    # WHEN it is rolled back
    done = project.make("rollback", "ENV=dev")

    # THEN the earlier release is live, whole, and what arrives is loaded by it
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == before == project.live_version()
    assert "smoke: passed" in done.stderr
    assert project.feed(a_file(tmp_path, 20190101)).returncode == 0
    assert newest_run(project)["stateMachineVersionArn"] == before
    assert project.query("select quantity from products where product_id = 20190101") == ["2"]

    # AND the record says what was done
    record = project.last_record()
    assert (record["action"], record["result"]) == ("rollback", "succeeded")
    assert record["who"] == "arn:aws:iam::111111111111:user/admin"
    assert record["live"]["state_machine_version_arn"] == before

    # AND it has said what it will do before it did it, and how long it took
    left, (said, switched) = record["from"], done.stderr.split("==> switch_live\n")
    assert f"  release        {left}  ->  {record['to']}\n" in said
    state_machines = [arn.rpartition("stateMachine:")[2] for arn in (after, before)]
    assert f"  state machine  {'  ->  '.join(state_machines)}\n" in said
    assert re.search(rf"^rollback: {record['to']} is live in dev \([\d.]+ s\)$", switched, re.M)

    # AND the release that was left can be gone to by its name, by who may do no more than that
    assert left in project.make("releases", "ENV=dev").stdout
    forward = roll_back_with_no_other_rights(project, f"TO={left}")
    assert forward.returncode == 0, forward.stderr
    assert project.last_record()["who"].startswith("arn:aws:iam::111111111111:user/caller-")
    assert project.live_version() == after
    assert project.feed(a_file(tmp_path, 20190102)).returncode == 0
    assert newest_run(project)["stateMachineVersionArn"] == after

    # AND a release that nobody knows is refused, with those that there are
    refused = project.make("rollback", "ENV=dev", "TO=nobody-knows-it")
    assert refused.returncode == 2
    assert f"kept are: {left}, {record['to']}" in refused.stderr
    assert project.live_version() == after


def dead_letters(project):
    """Return the number of events that have started nothing."""
    sqs = project.client("sqs")
    queue = sqs.get_queue_url(QueueName=f"{PREFIX}-trigger-dead-letters")["QueueUrl"]
    name = "ApproximateNumberOfMessages"
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[name])["Attributes"]
    return int(found[name])


def test_what_a_failing_trigger_has_left_in_the_inbox_is_loaded(project, broken_copy, tmp_path):
    # GIVEN a live release whose trigger passes the smoke test, of a file that is gone, and raises
    # on a file that is there
    before = project.live_version()
    trigger = broken_copy.folder / "lambdas/trigger_etl/src/trigger_etl.py"
    text, line = trigger.read_text(encoding="utf-8"), "    return _start(source)\n"
    assert text.count(line) == 1, "the trigger has changed: break it in another way"
    trigger.write_text(text.replace(line, '    raise ValueError("no more")\n'), encoding="utf-8")
    deployed = broken_copy.make("deploy", "ENV=dev")
    assert deployed.returncode == 0, deployed.stderr
    # AND a file that it has failed on for good
    assert dead_letters(project) == 0
    file = a_file(tmp_path, 20190103, rows=30)
    key = f"data/in/{file.name}"
    project.client("s3").put_object(
        Bucket=DATA_BUCKET, Key=key, Body=file.read_bytes(), ChecksumAlgorithm="SHA256"
    )
    wait_until(lambda: dead_letters(project) == 1, seconds=60)
    assert rows_where(project, "product_id = 20190103").startswith("0 rows")

    # WHEN it is rolled back
    done = project.make("rollback", "ENV=dev")

    # THEN the release before has taken the file, and no dead letter tells of it any more
    assert done.returncode == 0, done.stderr
    assert project.live_version() == before
    assert "files in the inbox: 1 started" in done.stderr
    assert "dead letters about them, removed: 1" in done.stderr
    assert dead_letters(project) == 0
    assert project.feed(file).returncode == 0  # returns once the run that has it has ended
    (run,) = [run for run in project.executions() if run["name"].startswith(file.stem)]
    assert (run["status"], run["stateMachineVersionArn"]) == ("SUCCEEDED", before)
    assert rows_where(project, "product_id = 20190103") == expect(file).fingerprint()
