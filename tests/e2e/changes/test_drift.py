"""make drift: silent after a deploy and a rollback, and loud about whatever is changed by hand."""

import re
from typing import NamedTuple

import pytest
from tests.checkout import copy_checkout
from tests.e2e.changes.deployed import ACCOUNT, PREFIX, Checkout
from tests.e2e.changes.wreckage import MACHINE, wreck

NONE, SOME = 0, 2  # exit codes


class Finding(NamedTuple):
    """What drift says of one thing: regular expressions that have to match whole."""

    where: str
    expected: str
    found: str


def _resource(stack: str, name: str, path: str, expected: str, found: str) -> Finding:
    """A finding of CloudFormation's; without a path the resource is gone."""
    where = rf"{PREFIX}-{stack}: {name} \(AWS::\S+ \S+\)" + (f" {re.escape(path)}" if path else "")
    return Finding(where, expected, found)


_ARTIFACTS = f"s3://{PREFIX}-artifacts-{ACCOUNT}/releases/[^/]+"
_ANY = ".+"
# One entry for each thing that wreckage.py changes.
FINDINGS = {
    "state machine's alias is moved and weighted": Finding(
        f"alias live of state machine {PREFIX}-etl",
        "version 2 100 %",
        "version 3 90 %, version 2 10 %",
    ),
    "trigger's alias is weighted": Finding(
        f"alias live of function {PREFIX}-trigger-etl weight of version 2", "nothing", "0.1"
    ),
    "trigger's alias is moved": Finding(
        f"alias live of function {PREFIX}-trigger-etl version", "2", "3"
    ),
    "live version is no release": Finding(
        f"state machine {PREFIX}-etl version 3, which is live: release", _ANY, '""'
    ),
    "live definition": Finding(
        f"state machine {PREFIX}-etl version 3, which is live: definition TimeoutSeconds",
        r"\d+",
        "60",
    ),
    "current definition": Finding(
        f"state machine {PREFIX}-etl, current definition Comment",
        "A file in the inbox .+",
        "changed in the console",
    ),
    "current definition, a setting": Finding(
        f"state machine {PREFIX}-etl, current definition TimeoutSeconds", "60", r"\d+"
    ),
    "state machine's role, against the live version": Finding(
        f"state machine {PREFIX}-etl, current role", _ANY + "-etl-states", _ANY + "/made-by-hand"
    ),
    "state machine's role": _resource(
        "application", "StateMachine", "RoleArn", _ANY + "-etl-states", _ANY + "/made-by-hand"
    ),
    "state machine's log level": _resource(
        "application", "StateMachine", "LoggingConfiguration.Level", "ALL", "OFF"
    ),
    "state machine's log content": _resource(
        "application", "StateMachine", "LoggingConfiguration.IncludeExecutionData", "true", _ANY
    ),
    "state machine's log group": _resource(
        "application", "StateMachine", "LoggingConfiguration.Destinations", _ANY, "nothing"
    ),
    "function's code": Finding(f"function {PREFIX}-load-warehouse code sha256", _ANY, _ANY),
    "function's concurrency": Finding(
        f"function {PREFIX}-trigger-etl ReservedConcurrentExecutions", "null", "1"
    ),
    "function's environment": Finding(
        f"function {PREFIX}-validate-input Environment Variables", "nothing", '{"DEBUG": "1"}'
    ),
    "function's memory": _resource("application", "ValidateFunction", "MemorySize", "512", "1024"),
    "function's timeout": _resource("application", "ValidateFunction", "Timeout", "300", "77"),
    "function's role": _resource(
        "application", "ValidateFunction", "Role", _ANY + "-validate-input", _ANY + "-check-quality"
    ),
    "function's layers": _resource("application", "ValidateFunction", "Layers.0", _ANY, "nothing"),
    "function is gone": _resource("application", "CheckFunction", "", "there", "nothing"),
    "version of a function is gone": Finding(
        rf"function {PREFIX}-check-quality version \d+, which is live", "there", "nothing"
    ),
    "settings of a version": Finding(
        f"function {PREFIX}-trigger-etl version 3, which is live: MemorySize", "256", "320"
    ),
    "trigger's memory": _resource("application", "TriggerFunction", "MemorySize", "256", "320"),
    "job's script": _resource(
        "application", "GlueJob", "Command.ScriptLocation", _ANY, "s3://elsewhere/etl_main.py"
    ),
    "job's workers": _resource("application", "GlueJob", "WorkerType", r"G\.1X", r"G\.2X"),
    "job's timeout": _resource("application", "GlueJob", "Timeout", "30", "99"),
    "job's arguments": _resource(
        "application",
        "GlueJob",
        "DefaultArguments.--job-bookmark-option",
        "job-bookmark-disable",
        "on",
    ),
    "bucket's versioning": _resource(
        "data", "DataBucket", "VersioningConfiguration.Status", "Enabled", "Suspended"
    ),
    "bucket's encryption": _resource(
        "data",
        "DataBucket",
        "BucketEncryption.ServerSideEncryptionConfiguration.0"
        ".ServerSideEncryptionByDefault.SSEAlgorithm",
        "aws:kms",
        "AES256",
    ),
    "bucket's key": _resource(
        "data",
        "DataBucket",
        "BucketEncryption.ServerSideEncryptionConfiguration.0"
        ".ServerSideEncryptionByDefault.KMSMasterKeyID",
        _ANY,
        "nothing",
    ),
    "bucket's cheaper key": _resource(
        "data",
        "DataBucket",
        "BucketEncryption.ServerSideEncryptionConfiguration.0.BucketKeyEnabled",
        "true",
        _ANY,
    ),
    "other bucket's encryption": _resource(
        "artifacts",
        "ArtifactBucket",
        "BucketEncryption.ServerSideEncryptionConfiguration.0"
        ".ServerSideEncryptionByDefault.SSEAlgorithm",
        "AES256",
        "aws:kms",
    ),
    "bucket's public access": _resource(
        "data", "DataBucket", "PublicAccessBlockConfiguration", _ANY, "nothing"
    ),
    "bucket's lifecycle": _resource(
        "data", "DataBucket", "LifecycleConfiguration.Rules.2", ".*expire-runs.*", "nothing"
    ),
    "bucket's notifications": _resource(
        "data",
        "DataBucket",
        "NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled",
        "true",
        "false",
    ),
    "notifications that no template sets": Finding(
        f"bucket {PREFIX}-artifacts-{ACCOUNT} notification EventBridgeConfiguration",
        "nothing",
        "{}",
    ),
    "bucket's policy": _resource(
        "data", "DataBucketPolicy", "PolicyDocument.Statement.0.Effect", "Deny", "Allow"
    ),
    "bucket's policy is gone": _resource(
        "artifacts", "ArtifactBucketPolicy", "", "there", "nothing"
    ),
    "release's bytes": Finding(f"{_ARTIFACTS}/glue/etl_main.py sha256", _ANY, _ANY),
    "release's bytes are gone": Finding(f"{_ARTIFACTS}/config/prod.json", "sha256 .+", "nothing"),
    "alarm is silenced": _resource(
        "monitoring", "ExecutionsFailedAlarm", "ActionsEnabled", "true", "false"
    ),
    "alarm is gone": _resource("monitoring", "DeadLettersAlarm", "", "there", "nothing"),
    "alarm's threshold": _resource("monitoring", "RejectedRowsAlarm", "Threshold", r"\d", "95"),
    "topic": _resource("monitoring", "AlarmsTopic", "DisplayName", "retail-.+", "hello"),
    "topic's policy": _resource(
        "application",
        "NotificationsTopicPolicy",
        "PolicyDocument.Statement.0.Principal",
        r"\*",
        r".*:root.*",
    ),
    "rule": _resource("application", "TriggerRule", "State", "ENABLED", "DISABLED"),
    "log group is gone": _resource("application", "GlueErrorLogGroup", "", "there", "nothing"),
    "log group's retention": _resource(
        "application", "GlueOutputLogGroup", "RetentionInDays", "14", "1"
    ),
    "role's policy": _resource(
        "application",
        "TriggerRole",
        "Policies.0.PolicyDocument.Statement.0.Action",
        r".*logs:CreateLogStream.*",
        r"logs:\*",
    ),
    "key": _resource("data", "DataKey", "EnableKeyRotation", "true", "false"),
    "warehouse": _resource("data", "Workgroup", "MaxCapacity", "16", "64"),
    "queue": _resource(
        "application", "TriggerDeadLetterQueue", "MessageRetentionPeriod", "1209600", "60"
    ),
    "stack's parameter": Finding(
        f"stack {PREFIX}-monitoring parameter AlarmEmail", '""', "someone@example.com"
    ),
    "stack's tag": Finding(f"stack {PREFIX}-monitoring tag Owner", "data-engineering", "nothing"),
    "stack's template": Finding(
        f"stack {PREFIX}-monitoring template", ".*alarms that say.*", ".*alarms that shout.*"
    ),
}


class Drift(NamedTuple):
    """What the command answered."""

    code: int
    findings: list[Finding]
    verdict: str


@pytest.fixture(scope="module", name="checkout")
def fixture_checkout(local_aws, tmp_path_factory) -> Checkout:
    return Checkout(copy_checkout(tmp_path_factory.mktemp("drift") / "copy"), local_aws)


def drift(checkout: Checkout) -> Drift:
    done = checkout.run("python", "-m", "ops.drift.detect", "--env", "dev")
    assert done.returncode in (NONE, SOME), done.stderr
    *lines, verdict = done.stdout.splitlines()
    findings = [
        Finding(
            where, expected.removeprefix("    expected  "), found.removeprefix("    found     ")
        )
        for where, expected, found in zip(lines[::3], lines[1::3], lines[2::3], strict=True)
    ]
    return Drift(done.returncode, findings, verdict)


@pytest.fixture(scope="module", name="quiet")
def fixture_quiet(checkout) -> dict[str, Drift]:
    """What drift says after a deploy, another one, a rollback and the way forward again."""
    said = {}

    def after(name: str, script: str, *options: str) -> str:
        done = checkout.script(script, *options)
        assert done.returncode == 0, done.stderr
        said[name] = drift(checkout)
        return said[name].verdict.split()[3]  # drift: none from <release> in dev

    first = after("deploy", "deploy")
    # Other configuration, another layer, and with it another version of each function.
    checkout.replace("config/common/settings.yaml", "GlueMaxRetries: 0", "GlueMaxRetries: 1")
    errors = "lambdas/layers/common/python/pipeline_common/errors.py"
    with (checkout.folder / errors).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    second = after("second deploy", "deploy")
    assert after("rollback", "rollback") == first != second
    assert after("forward", "rollback", "--to", second) == second
    return said


@pytest.fixture(scope="module", name="wrecked")
def fixture_wrecked(checkout, quiet) -> Drift:
    """What drift says once everything that a person can change was changed."""
    wreck(checkout, quiet["forward"].verdict.split()[3])
    return drift(checkout)


@pytest.mark.parametrize("after", ["deploy", "second deploy", "rollback", "forward"])
def test_there_is_none_after(quiet, after):
    assert quiet[after].findings == []
    assert quiet[after].code == NONE
    assert quiet[after].verdict.startswith("drift: none from ")


@pytest.mark.parametrize("change", FINDINGS)
def test_a_change_by_hand_is_found_with_what_is_expected(wrecked, change):
    wanted = FINDINGS[change]
    (finding,) = [found for found in wrecked.findings if re.fullmatch(wanted.where, found.where)]
    assert re.fullmatch(wanted.expected, finding.expected)
    assert re.fullmatch(wanted.found, finding.found)


def test_the_verdict_says_how_much_there_is(wrecked):
    assert wrecked.code == SOME
    assert wrecked.verdict.startswith(f"drift: {len(wrecked.findings)} differences from ")


def test_nothing_is_found_that_nobody_changed(wrecked):
    places = [finding.where for finding in FINDINGS.values()]
    unexpected = [
        finding.where
        for finding in wrecked.findings
        if not any(re.fullmatch(place, finding.where) for place in places)
    ]
    # The rules behind a removed one are found a place further on.
    assert [where for where in unexpected if "LifecycleConfiguration.Rules" not in where] == []


def test_aliases_that_are_gone_are_named(checkout, wrecked):
    assert wrecked.code == SOME
    checkout.client("stepfunctions").delete_state_machine_alias(
        stateMachineAliasArn=f"{MACHINE}:live"
    )
    checkout.client("lambda").delete_alias(FunctionName=f"{PREFIX}-trigger-etl", Name="live")
    found = {finding.where: finding for finding in drift(checkout).findings}
    gone = found[f"alias live of state machine {PREFIX}-etl"]
    assert (gone.expected, gone.found) == ("version 2 100 %", "nothing")
    assert found[f"alias live of function {PREFIX}-trigger-etl"].found == "nothing"


def test_an_environment_without_a_release_is_an_error(checkout):
    done = checkout.run("python", "-m", "ops.drift.detect", "--env", "qa", env="qa")
    assert done.returncode == 1
    assert "make deploy ENV=qa" in done.stderr
