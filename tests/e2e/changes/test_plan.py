"""make plan: what a deploy would change, on one page, and nothing changed by the asking."""

import json

import pytest
from ops.checks.iam_check import TEMPLATES, load_template
from tests.checkout import copy_checkout
from tests.e2e.changes.deployed import ACCOUNT, PREFIX, Checkout

STACKS = ("artifacts", "data", "application", "monitoring")
NONE, SOME, ERROR = 0, 2, 1  # exit codes


@pytest.fixture(scope="module", name="deployed")
def fixture_deployed(local_aws, tmp_path_factory) -> Checkout:
    """A checkout that is live in dev, unchanged since."""
    checkout = Checkout(copy_checkout(tmp_path_factory.mktemp("plan") / "copy"), local_aws)
    done = checkout.script("deploy")
    assert done.returncode == 0, done.stderr
    return checkout


@pytest.fixture(name="change")
def fixture_change(deployed):
    """A function that changes a text of the sources until the end of the test."""
    before = {}

    def change(file: str, old: str, new: str) -> None:
        before.setdefault(file, (deployed.folder / file).read_bytes())
        deployed.replace(file, old, new)

    yield change
    for file, content in before.items():
        (deployed.folder / file).write_bytes(content)


def account(checkout: Checkout, env: str = "dev") -> str:
    """Return what is in an account, as far as a deploy changes it."""
    stacks = checkout.client("cloudformation", env)
    s3, functions = checkout.client("s3", env), checkout.client("lambda", env)
    machines = checkout.client("stepfunctions", env)
    names = [stack["StackId"] for stack in stacks.describe_stacks()["Stacks"]]
    there = {
        "stacks": stacks.describe_stacks()["Stacks"],
        "change sets": [stacks.list_change_sets(StackName=name)["Summaries"] for name in names],
        "resources": [stacks.describe_stack_resources(StackName=name) for name in names],
        "objects": [
            s3.list_object_versions(Bucket=bucket["Name"]).get("Versions", [])
            for bucket in s3.list_buckets()["Buckets"]
        ],
        "functions": [
            [
                functions.list_versions_by_function(FunctionName=function["FunctionName"]),
                functions.list_aliases(FunctionName=function["FunctionName"]),
            ]
            for function in functions.list_functions()["Functions"]
        ],
        "state machines": [
            [
                machines.list_state_machine_versions(stateMachineArn=machine["stateMachineArn"]),
                machines.list_state_machine_aliases(stateMachineArn=machine["stateMachineArn"]),
                machines.describe_state_machine(stateMachineArn=machine["stateMachineArn"]),
            ]
            for machine in machines.list_state_machines()["stateMachines"]
        ],
    }
    text = json.dumps(there, default=str, sort_keys=True)
    return "\n".join(line for line in _without_metadata(json.loads(text)))


def _without_metadata(value, path=""):
    """Yield a line a leaf, but for what every answer has of its own."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "ResponseMetadata":
                yield from _without_metadata(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _without_metadata(item, f"{path}[{index}]")
    else:
        yield f"{path} {value}"


def plan(checkout: Checkout, *options: str, env: str = "dev") -> tuple[int, str]:
    """Return exit code and page of a plan that has changed nothing in the account."""
    before = account(checkout, env)
    done = checkout.script("plan", *options, env=env)
    assert account(checkout, env) == before
    assert done.returncode in (NONE, SOME), done.stderr
    return done.returncode, done.stdout


def words(page: str) -> list[str]:
    """Return the page's lines, each with single spaces."""
    return [" ".join(line.split()) for line in page.splitlines()]


def test_what_is_live_would_change_nothing(deployed):
    code, page = plan(deployed)
    assert code == NONE
    assert [line for line in words(page) if line.endswith("no changes")] == [
        f"{stack} no changes" for stack in STACKS
    ]
    assert page.splitlines()[-1].startswith("plan: no changes: ")


def test_a_changed_value_is_shown_by_key_and_by_property(deployed, change):
    change("config/common/settings.yaml", "StagingRetentionDays: 7", "StagingRetentionDays: 8")

    code, page = plan(deployed)

    assert code == SOME
    lines = words(page)
    assert "parameters.data.StagingRetentionDays 7 -> 8" in lines
    assert "~ DataBucket AWS::S3::Bucket" in lines
    assert "LifecycleConfiguration.Rules[0].ExpirationInDays 7 -> 8" in lines
    assert "monitoring no changes" in lines
    assert any(line.startswith("~ config/dev.json ") for line in lines)
    assert not any(line.startswith("~ lambdas/") for line in lines)
    assert page.splitlines()[-1].startswith("plan: a deploy of ")
    assert "1 configuration value, what is live in dev" in page.splitlines()[-1]


def test_a_changed_function_is_shown_by_its_bytes(deployed, change):
    change("lambdas/trigger_etl/src/trigger_etl.py", "def handler(", "# changed\ndef handler(")

    code, page = plan(deployed)

    assert code == SOME
    (line,) = [line for line in words(page) if line.startswith("~ lambdas/")]
    assert line.startswith("~ lambdas/trigger_etl.zip ")
    assert " -> " in line and " bytes sha256 " in line
    assert "configuration of dev" not in page


def test_a_changed_state_machine_is_shown_by_its_lines(deployed, change):
    change("step-functions/etl_pipeline.asl.json", "Most loads take seconds.", "Wait a little.")

    code, page = plan(deployed)

    assert code == SOME
    (removed,) = [line for line in words(page) if "Most loads take seconds." in line]
    (added,) = [line for line in words(page) if "Wait a little." in line]
    assert removed.startswith('- "WaitForLoad": ') and added.startswith('+ "WaitForLoad": ')


def test_a_changed_template_is_shown_by_resource_and_by_line(deployed, change):
    change(
        "cloudformation/monitoring.yaml",
        "  AlarmsSubscription:\n",
        "  SecondTopic:\n    Type: AWS::SNS::Topic\n\n  AlarmsSubscription:\n",
    )
    change(
        "cloudformation/monitoring.yaml", "      Threshold: !Ref Rej", "      Threshold: 7 # !Rej"
    )

    code, page = plan(deployed)

    assert code == SOME
    lines = words(page)
    assert "monitoring 2 resources" in lines
    assert "+ SecondTopic AWS::SNS::Topic" in lines
    assert any(line.startswith("Threshold ") and line.endswith(" -> 7") for line in lines)
    assert "+ Type: AWS::SNS::Topic" in lines


def test_a_version_of_the_past_is_planned_from_the_bucket(deployed, change):
    # GIVEN that the release which is live is not in build/ any more
    live = plan(deployed)[1].splitlines()[-1].split()[3]
    folder = deployed.folder / "build" / live
    folder.rename(folder.with_name("moved-away"))
    change("config/common/settings.yaml", "StagingRetentionDays: 7", "StagingRetentionDays: 9")

    code, page = plan(deployed, "--version", live)

    assert code == NONE, page


def test_a_first_deploy_is_all_new_and_leaves_no_stack_behind(deployed):
    code, page = plan(deployed, env="qa")

    assert code == SOME
    lines = words(page)
    for stack in ("artifacts", "data"):
        resources = load_template(TEMPLATES / f"{stack}.yaml")["Resources"]
        assert f"{stack} new, {len(resources)} resources" in lines
    assert "application new" in lines
    assert "No export named retail-pipeline-qa-artifacts-ArtifactBucketName found." in page
    assert lines[1].startswith("live nothing yet ->")
    assert deployed.client("cloudformation", "qa").describe_stacks()["Stacks"] == []


def test_a_template_that_no_deploy_can_carry_out_is_an_error(deployed, change):
    change("cloudformation/monitoring.yaml", "!Ref RejectedPercentThreshold", "!Ref NoSuchThing")
    before = account(deployed)

    done = deployed.script("plan")

    assert done.returncode == ERROR
    assert "NoSuchThing" in done.stderr
    assert done.stdout == ""
    assert account(deployed) == before


def test_a_release_that_lost_its_manifest_is_compared_with_nothing(deployed):
    live = plan(deployed)[1].splitlines()[-1].split()[3]
    bucket = f"{PREFIX}-artifacts-{ACCOUNT}"
    manifest = {"Bucket": bucket, "Key": f"releases/{live}/manifest.json"}
    deployed.client("s3").delete_object(**manifest)

    code, page = plan(deployed)

    assert code == SOME
    assert (
        f"note the live release cannot be compared with, so all counts as new: s3://{bucket}"
        in (" ".join(page.split()))
    )
