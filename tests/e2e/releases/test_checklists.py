"""Each check of preflight and postcheck, seen to pass, to fail once what it looks at is broken, and
to pass again once that is mended.
"""

import json
import os
import time
from pathlib import Path

import pytest
from ops.aws import own_tags
from ops.environment import Environment
from ops.release import preflight as preflight_module
from ops.release.checklist import outcome
from ops.release.deploys import history
from ops.release.live import live_release
from ops.release.postcheck import Postcheck
from ops.release.preflight import Preflight
from ops.release.releases import download

from tests.e2e.project import DATA_BUCKET, PREFIX, STATE_MACHINE
from tests.localaws.workshop import wait_until

ARTIFACTS = "retail-pipeline-dev-artifacts-111111111111"
CONFIG = "releases/{version}/config/dev.json"
DAMAGE = b"{}"


@pytest.fixture(name="environment")
def fixture_environment(project, monkeypatch):
    """The deployed environment dev, as the tools see it."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, project.aws.env[name])
    monkeypatch.setenv("AWS_PROFILE", "dev")
    return Environment.load("dev", "dev")


@pytest.fixture(name="root")
def fixture_root(environment, tmp_path) -> Path:
    """The release that is live, in a folder of the test's own."""
    version, root = live_release(environment).release, tmp_path / "release"
    download(version, environment.artifact_bucket, root, environment.client("s3"))
    return root


def result(checks, name):
    """Make the check of this name; return what came of it."""
    (check,) = [one for one in checks.checks() if one.name == name]
    return outcome(check)


# ---- ways to break things; each returns what mends it --------------------------------------------


def somebody_deploys(project, _):
    s3, key = project.client("s3"), "locks/deploy.json"
    lock = {"who": "arn:ann", "host": "h", "pid": 1, "command": "deploy v1", "token": "t"}
    lock |= {"since": "2017-01-15T06:30:00+00:00", "expires": "2999-01-15T06:30:00+00:00"}
    s3.put_object(Bucket=ARTIFACTS, Key=key, Body=json.dumps(lock).encode())
    return lambda: s3.delete_object(Bucket=ARTIFACTS, Key=key)


def trigger_moved_by_hand(project, _):
    client, alias = project.client("lambda"), {"FunctionName": f"{PREFIX}-trigger-etl"}
    version = client.get_alias(**alias, Name="live")["FunctionVersion"]
    client.update_alias(**alias, Name="live", FunctionVersion="$LATEST")
    return lambda: client.update_alias(**alias, Name="live", FunctionVersion=version)


def artifact_changed(project, version):
    s3, key = project.client("s3"), CONFIG.format(version=version)
    put = s3.put_object(Bucket=ARTIFACTS, Key=key, Body=DAMAGE)
    return lambda: s3.delete_object(Bucket=ARTIFACTS, Key=key, VersionId=put["VersionId"])


def artifact_deleted(project, version):
    s3, key = project.client("s3"), CONFIG.format(version=version)
    marker = s3.delete_object(Bucket=ARTIFACTS, Key=key)
    return lambda: s3.delete_object(Bucket=ARTIFACTS, Key=key, VersionId=marker["VersionId"])


def rule_disabled(project, _):
    events = project.client("events")
    events.disable_rule(Name=f"{PREFIX}-inbox")
    return lambda: events.enable_rule(Name=f"{PREFIX}-inbox")


def alarm_rings(project, _):
    cloudwatch, name = project.client("cloudwatch"), f"{PREFIX}-of-the-test"
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Test",
        MetricName="NobodyPublishesIt",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="breaching",
    )
    ringing = {"AlarmNames": [name], "StateValue": "ALARM"}
    wait_until(lambda: cloudwatch.describe_alarms(**ringing)["MetricAlarms"], 30)
    return lambda: cloudwatch.delete_alarms(AlarmNames=[name])


def secret_scheduled_for_deletion(project, _):
    namespace = project.client("redshift-serverless").get_namespace(namespaceName=PREFIX)
    secret = namespace["namespace"]["adminPasswordSecretArn"]
    client = project.client("secretsmanager")
    client.delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    return lambda: client.restore_secret(SecretId=secret)


def log_group_deleted(project, _):
    logs, name = project.client("logs"), f"/aws/lambda/{PREFIX}-check-quality"
    (group,) = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    arn = f"arn:aws:logs:us-east-1:111111111111:log-group:{name}"
    tags = own_tags(logs.list_tags_for_resource(resourceArn=arn)["tags"])
    logs.delete_log_group(logGroupName=name)

    def mend():
        logs.create_log_group(logGroupName=name, kmsKeyId=group["kmsKeyId"], tags=tags)
        logs.put_retention_policy(logGroupName=name, retentionInDays=group["retentionInDays"])

    return mend


def versioning_suspended(project, _):
    s3 = project.client("s3")
    s3.put_bucket_versioning(Bucket=DATA_BUCKET, VersioningConfiguration={"Status": "Suspended"})
    return lambda: s3.put_bucket_versioning(
        Bucket=DATA_BUCKET, VersioningConfiguration={"Status": "Enabled"}
    )


def policy_removed(project, _):
    s3 = project.client("s3")
    policy = s3.get_bucket_policy(Bucket=DATA_BUCKET)["Policy"]
    s3.delete_bucket_policy(Bucket=DATA_BUCKET)
    return lambda: s3.put_bucket_policy(Bucket=DATA_BUCKET, Policy=policy)


def key_disabled(project, _):
    kms = project.client("kms")
    key = kms.describe_key(KeyId=f"alias/{PREFIX}-data")["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=key)
    return lambda: kms.enable_key(KeyId=key)


def take_right(project, role, policy, sid):
    """Take a statement out of a role's policy."""
    iam, policy = project.client("iam"), {"RoleName": f"{PREFIX}-{role}", "PolicyName": policy}
    document = iam.get_role_policy(**policy)["PolicyDocument"]
    kept = [statement for statement in document["Statement"] if statement["Sid"] != sid]
    assert len(kept) == len(document["Statement"]) - 1
    iam.put_role_policy(**policy, PolicyDocument=json.dumps(document | {"Statement": kept}))
    return lambda: iam.put_role_policy(**policy, PolicyDocument=json.dumps(document))


def job_may_not_write(project, _):
    return take_right(project, "etl-glue", "etl", "WriteRuns")


def trigger_may_not_look(project, _):
    return take_right(project, "trigger-etl", "trigger-etl", "LookAtInboxAndRemoveRepeats")


# ---- after a deploy ------------------------------------------------------------------------------


@pytest.fixture(name="postcheck")
def fixture_postcheck(environment, tmp_path):
    """A function that makes one check of what is live."""

    def make(name, **changes):
        record = next(one for one in history(environment) if one["result"] == "succeeded")
        live, folder = live_release(environment), tmp_path / str(time.monotonic_ns())
        return result(Postcheck(environment, live, record | changes, folder), name)

    return make


@pytest.mark.parametrize(
    ("name", "broken", "says"),
    [
        ("lock", somebody_deploys, "dev is locked: deploy v1 by arn:ann"),
        ("live", trigger_moved_by_hand, "the trigger's alias is at version $LATEST"),
        ("artifacts", artifact_changed, "config/dev.json: sha256 is"),
        ("pins", artifact_deleted, "config/dev.json"),
        ("trigger", rule_disabled, f"the rule {PREFIX}-inbox is DISABLED"),
        ("alarms", alarm_rings, f"{PREFIX}-of-the-test"),
        ("smoke test", trigger_may_not_look, "does not answer an inbox event"),
        ("warehouse", secret_scheduled_for_deletion, "can't be found"),
        ("logs", log_group_deleted, f"there is no log group /aws/lambda/{PREFIX}-check-quality"),
        ("buckets", versioning_suspended, f"{DATA_BUCKET}: versioning is Suspended"),
        ("buckets", policy_removed, f"{DATA_BUCKET}: TLS-only policy: NoSuchBucketPolicy"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value if " " not in value else "",
)
def test_postcheck_sees_what_is_broken(project, environment, postcheck, name, broken, says):
    # pylint: disable=too-many-arguments,too-many-positional-arguments
    mend = broken(project, live_release(environment).release)
    try:
        found = postcheck(name)
    finally:
        mend()
    assert not found.passed and says in found.found, found
    assert found.remedy
    if name not in ("smoke test", "logs", "alarms"):  # a run would have to come first, or time pass
        assert postcheck(name).passed, postcheck(name)


def test_postcheck_sees_that_another_release_is_on_record(postcheck):
    assert postcheck("live").passed
    found = postcheck("live", to="v9")
    assert not found.passed and "on record is v9" in found.found
    found = postcheck("artifacts", manifest_sha256="0" * 64)
    assert not found.passed and f"on record is {'0' * 64}" in found.found


def test_postcheck_sees_a_subscription_that_is_not_there(environment, postcheck):
    assert postcheck("topics").passed
    environment.config["parameters"]["application"]["NotificationEmail"] = "ann@example.org"
    found = postcheck("topics")
    assert not found.passed
    assert "ann@example.org gets no notifications: not subscribed" in found.found


def test_postcheck_sees_a_failed_execution_but_no_refused_file(project, environment, postcheck):
    states = project.client("stepfunctions")

    def fail(name, **given):
        arn = states.start_execution(
            stateMachineArn=f"{STATE_MACHINE}:live", name=name, input=json.dumps(given)
        )["executionArn"]
        while (done := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
            time.sleep(0.2)
        assert done["status"] == "FAILED"
        return done

    started = history(environment)[0]["started"]
    since = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}.000Z"
    assert postcheck("executions", started=since).passed
    failed = fail(f"not-a-run-{os.getpid()}", nothing="that a run could use")
    found = postcheck("executions", started=since)
    assert not found.passed and failed["name"] in found.found, (found, started)


# ---- before a deploy -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "broken", "says"),
    [
        ("lock", somebody_deploys, "dev is locked: deploy v1 by arn:ann"),
        ("warehouse", secret_scheduled_for_deletion, "can't be found"),
        ("secrets", secret_scheduled_for_deletion, "is scheduled for deletion since"),
        ("secrets", key_disabled, f"the key alias/{PREFIX}-data is Disabled"),
        ("roles", job_may_not_write, f"{PREFIX}-etl-glue is not allowed s3:PutObject on"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value if " " not in value else "",
)
def test_preflight_sees_what_is_broken(project, environment, root, name, broken, says):
    # pylint: disable=too-many-arguments,too-many-positional-arguments
    mend = broken(project, None)
    try:
        found = result(Preflight(environment, root), name)
    finally:
        mend()
    assert not found.passed and says in found.found, found
    assert found.remedy
    assert result(Preflight(environment, root), name).passed


def test_preflight_sees_credentials_of_another_account(root):
    found = result(Preflight(Environment.load("dev", "qa"), root), "account")
    assert not found.passed and "of account 222222222222; dev is configured" in found.found


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "says"),
    [
        ("artifacts", "glue/etl_main.py", "import", "import ", "glue/etl_main.py: sha256 is"),
        ("artifacts", "manifest.json", "{", " {", "is another manifest than"),
        ("templates", "cloudformation/data.yaml", "KmsKeyId:", "KmsKey:", "KmsKey"),
        ("templates", "config/dev.json", "BaseCapacity", "Capacity", "declares no such parameter"),
        ("configuration", "config/dev.json", "{", '{"db_password": "hunter2-hunter2",', "Keyword"),
    ],
)
def test_preflight_sees_what_is_wrong_with_a_release(environment, root, name, file, old, new, says):
    # pylint: disable=too-many-arguments,too-many-positional-arguments
    assert result(Preflight(environment, root), name).passed
    replace(root / file, old, new)
    found = result(Preflight(environment, root), name)
    assert not found.passed and says in found.found, found


def test_preflight_for_prod_names_what_the_release_has_not_earned(environment, root):
    assert environment.name == "dev"
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    manifest |= {"version": "20170115-nobody-knows-it", "dirty": True}
    (root / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    prod = Preflight(Environment.load("prod", "prod"), root)
    for name, says in (
        ("sources", "was built from changed sources"),
        ("tests", "make unit on a clean checkout"),
        ("promotion", "make promote FROM=staging TO=prod"),
        ("approvals", "make approve ENV=prod ROLE=data-owner"),
    ):
        found = result(prod, name)
        assert not found.passed and says in found.found, found


def test_preflight_sees_a_stack_that_is_not_at_rest(environment, root, monkeypatch):
    assert result(Preflight(environment, root), "stacks").passed
    for state in ("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"):
        monkeypatch.setattr(Preflight, "_stack_states", lambda _, s=state: iter([("data", s)]))
        found = result(Preflight(environment, root), "stacks")
        assert not found.passed and f"{PREFIX}-data is {state}" in found.found


def test_preflight_sees_a_service_that_has_nothing(environment, root):
    assert result(Preflight(environment, root), "services").passed
    flight = Preflight(environment, root)
    environment.config["project"] = "another-project"
    found = result(flight, "services")
    assert not found.passed
    for service in ("S3:", "Lambda:", "Glue:", "Step Functions:", "SNS:"):
        assert service in found.found


def test_preflight_sees_a_quota_that_is_used_up(environment, root, monkeypatch):
    assert result(Preflight(environment, root), "quotas").passed
    monkeypatch.setattr(preflight_module, "CODE_HEADROOM", 0)
    found = result(Preflight(environment, root), "quotas")
    assert not found.passed and "MB of Lambda code storage are used" in found.found
