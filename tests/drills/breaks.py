"""How a deploy is broken in each of its phases, besides being killed there.

None of it needs a hook in the scripts: an action is denied to the user that deploys from the moment
that the phase begins, an artifact or a setting in the checkout is damaged, an alarm goes off.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.e2e.project import PREFIX, Project
from tests.localaws.workshop import wait_until

CANARY = (
    "STRATEGY=canary",
    "SET=release.canary.weights=[50] release.canary.interval_seconds=60 "
    "release.canary.metrics_seconds=0",
)
SHARED_SECONDS = 120
_USER, _POLICY = "admin", "drill"

Damage = Callable[[Project, str], contextlib.AbstractContextManager]


@dataclass(frozen=True)
class Break:
    """One way to break a phase: actions that are denied when it begins, something that is damaged
    before the deploy, or an alarm that goes off while the traffic is shared."""

    what: str
    denied: tuple[str, ...] = ()
    role: str = ""  # of the environment, to which they are denied; none: to the user that deploys
    damage: Damage | None = None
    alarm: bool = False


def denied(*actions: str) -> Break:
    """Return a break by AWS, which refuses these actions."""
    return Break(f"AWS refuses {actions[0]}", denied=actions)


@contextlib.contextmanager
def denying(project: Project, broken: Break) -> Iterator[None]:
    """Deny a break's actions until the end of the block."""
    iam = project.client("iam")
    statement = {"Effect": "Deny", "Action": list(broken.denied), "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    if broken.role:
        put, delete = iam.put_role_policy, iam.delete_role_policy
        whose = {"RoleName": f"{PREFIX}-{broken.role}", "PolicyName": _POLICY}
    else:
        put, delete = iam.put_user_policy, iam.delete_user_policy
        whose = {"UserName": _USER, "PolicyName": _POLICY}
    put(**whose, PolicyDocument=policy)
    try:
        yield
    finally:
        delete(**whose)


@contextlib.contextmanager
def ringing(project: Project) -> Iterator[str]:
    """Let an alarm of the environment go off; give its name; wait until it is over.

    By its metric: a state that is merely set lasts until the alarm is evaluated next.
    """
    cloudwatch = project.client("cloudwatch")
    name = f"{PREFIX}-rejected-rows"

    def state() -> str:
        return cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]

    cloudwatch.put_metric_data(
        Namespace="RetailPipeline",
        MetricData=[
            {
                "MetricName": "RejectedPercent",
                "Dimensions": [{"Name": "Environment", "Value": "dev"}],
                "Value": 100.0,
                "Unit": "Percent",
            }
        ],
    )
    wait_until(lambda: state() == "ALARM", 30)
    try:
        yield name
    finally:
        wait_until(lambda: state() != "ALARM", 180)


@contextlib.contextmanager
def _damaged_artifact(checkout: Project, version: str) -> Iterator[None]:
    path = checkout.folder / "build" / version / "glue/etl_main.py"
    content = path.read_bytes()
    path.write_bytes(content + b"# damaged\n")
    try:
        yield
    finally:
        path.write_bytes(content)


@contextlib.contextmanager
def _unapproved(checkout: Project, _version: str) -> Iterator[None]:
    path = checkout.folder / "config/dev/settings.yaml"
    content = path.read_text(encoding="utf-8")
    assert "gates:\n" in content
    path.write_text(
        content.replace("gates:\n", "gates:\n  approvals: [release-manager]\n"), encoding="utf-8"
    )
    try:
        yield
    finally:
        path.write_text(content, encoding="utf-8")


def wait_until_shared(project: Project) -> None:
    """Wait until a canary shares the traffic."""
    wait_until(lambda: len(project.routes()) == 2, seconds=SHARED_SECONDS)


# A phase of deploy.sh that is missing here turns a test red (tests/unit/test_drills.py).
BREAKS: dict[str, tuple[Break, ...]] = {
    "check_target": (denied("states:DescribeStateMachineAlias"),),
    "verify_release": (Break("a damaged artifact", damage=_damaged_artifact),),
    "check_gates": (Break("an approval that is missing", damage=_unapproved),),
    "check_tables": (denied("redshift-data:ExecuteStatement"),),
    # It asks AWS nothing about a release that is not live: there it can only be killed.
    "compare_with_live": (),
    "artifact_bucket": (denied("s3:ListBucket"),),
    "take_lock": (denied("s3:PutObject"),),
    "backup": (denied("lambda:GetFunction", "lambda:GetFunctionConfiguration"),),
    "end_canary": (denied("states:UpdateStateMachineAlias"),),
    "artifacts_stack": (denied("cloudformation:CreateChangeSet"),),
    "upload_release": (denied("s3:PutObject"),),
    "data_stack": (denied("cloudformation:CreateChangeSet"),),
    "application_stack": (denied("cloudformation:ExecuteChangeSet"),),
    "monitoring_stack": (denied("cloudformation:CreateChangeSet"),),
    "publish": (denied("lambda:PublishVersion"),),
    "prepare_warehouse": (
        denied("redshift-data:ExecuteStatement", "redshift-data:BatchExecuteStatement"),
    ),
    "publish_state_machine": (
        denied("states:UpdateStateMachine", "states:PublishStateMachineVersion"),
    ),
    "smoke_test": (
        denied("states:StartExecution"),
        Break(
            "a smoke test that fails: no function may be called",
            denied=("lambda:InvokeFunction",),
            role="etl-states",
        ),
    ),
    "shift_traffic": (Break("an alarm during the canary", alarm=True),),
    "switch_live": (denied("states:UpdateStateMachineAlias"),),
    "record_deploy": (denied("s3:PutObject"),),
    "prune": (denied("states:ListStateMachineVersions"),),
}
