"""Backups in the bucket: written once, refused when damaged, pruned but for the last deploy's."""

import json
from dataclasses import asdict, replace

import pytest

from tests.buckets import remove_bucket
from tests.unit.test_backup_store import PARTS, backup

BUCKET = "retail-pipeline-qa-artifacts-222222222222"
KEPT = 10  # release.keep_backups of config/common/settings.yaml


@pytest.fixture(name="s3")
def fixture_s3(local_aws):
    session = local_aws.session("qa")
    client, cloudformation = session.client("s3"), session.client("cloudformation")
    client.create_bucket(Bucket=BUCKET)
    # What says that the environment is deployed.
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "backups"}}
    template = {"Resources": {"Topic": topic}}
    stack = "retail-pipeline-qa-application"
    cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))
    yield client
    cloudformation.delete_stack(StackName=stack)
    remove_bucket(client, BUCKET)


@pytest.fixture(name="run")
def fixture_run(in_qa, s3):  # pylint: disable=unused-argument  # there is a bucket
    """A function that runs a module of ops.backup against qa."""

    def run(module, *arguments):
        return in_qa(f"ops.backup.{module}", *arguments)

    return run


def write(s3, number, parts=None, **changes):
    """Write a backup, its parts as told; return its id."""
    backup_id = f"20260101T0000{number:02}000Z-v1"
    whole = {"id": backup_id, "environment": "qa", "account_id": "222222222222"}
    index = replace(backup().index, **(whole | changes))
    for path, content in (PARTS if parts is None else parts).items():
        s3.put_object(Bucket=BUCKET, Key=f"backups/{backup_id}/{path}", Body=content)
    key = f"backups/{backup_id}/backup.json"
    s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(asdict(index)).encode())
    return backup_id


def there(s3):
    """Return the ids of which anything is there."""
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="backups/").get("Contents", [])
    return {item["Key"].split("/")[1] for item in listed}


@pytest.mark.parametrize(
    ("parts", "changes", "words"),
    [
        (PARTS | {"job.json": b"{ }"}, {}, "job.json: SHA-256 is"),
        ({"job.json": b"{}"}, {}, "functions/a.json: missing"),
        (PARTS, {"environment": "prod"}, "is of backup 20260101T000001000Z-v1 of prod"),
        (PARTS, {"id": "20250101T000000000Z-v0"}, "is of backup 20250101T000000000Z-v0"),
    ],
    ids=["other bytes", "missing", "another environment", "another id"],
)
def test_what_is_not_whole_or_not_ours_is_refused(run, s3, tmp_path, parts, changes, words):
    backup_id = write(s3, 1, parts, **changes)
    done = run("restore", "choose", str(tmp_path), "--backup", backup_id)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


def test_a_backup_without_an_index_is_none(run, s3, tmp_path):
    backup_id = write(s3, 1)
    s3.delete_object(Bucket=BUCKET, Key=f"backups/{backup_id}/backup.json")
    done = run("restore", "choose", str(tmp_path), "--backup", backup_id)
    assert done.returncode == 1 and f"there is no backup {backup_id} in qa" in done.stderr
    assert backup_id not in run("listing", "show").stdout


def test_where_nothing_is_live_there_is_nothing_to_back_up(run, s3):
    done = run("make", "--who", "arn:ann", "--command", "backup")
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing is live yet" in done.stderr
    assert not there(s3)


def test_the_newest_stay_and_the_last_deploys_with_all_their_parts(run, s3):
    made = [write(s3, number) for number in range(1, KEPT + 4)]
    record = {"action": "deploy", "result": "succeeded", "to": "v1", "backup": made[0]}
    key = "deploys/20260101T000000.000Z-v1.json"
    s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(record).encode())
    unreadable = write(s3, 0)
    s3.put_object(Bucket=BUCKET, Key=f"backups/{unreadable}/backup.json", Body=b"no JSON")

    done = run("listing", "prune")

    assert done.returncode == 0, done.stderr
    assert there(s3) == {unreadable, made[0], *made[-KEPT:]}
    lacking = write(s3, KEPT + 4, lacks=["Glue job some"])
    shown = run("listing", "show")
    assert f"{lacking} is not whole: it lacks Glue job some" in shown.stdout.replace("\n", " ")
    assert all(kept in shown.stdout for kept in made[-KEPT:])
    assert f"{unreadable}/backup.json is no index of a backup" in shown.stderr
