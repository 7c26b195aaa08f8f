"""A deploy of an environment that somebody else holds changes nothing in it, nor its stacks."""

import os
import subprocess
from typing import NamedTuple

import pytest

from tests.buckets import remove_bucket
from tests.checkout import commit_all, copy_checkout
from tests.releases.release_history import BUCKET, PREFIX

STACK = f"{PREFIX}-artifacts"
LIFECYCLE = ("DaysAfterInitiation: 7", "DaysAfterInitiation: 8")


class Stack(NamedTuple):
    """The stack of the bucket that the lock lives in."""

    template: str
    updated: str
    change_sets: int


@pytest.fixture(name="stack")
def fixture_stack(local_aws):
    """A function that returns the stack as it is; it and its bucket are gone afterwards."""
    session = local_aws.session("qa")
    cloudformation = session.client("cloudformation")

    def stack() -> Stack:
        (found,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        template = cloudformation.get_template(StackName=STACK)["TemplateBody"]
        change_sets = cloudformation.list_change_sets(StackName=STACK)["Summaries"]
        return Stack(str(template), str(found.get("LastUpdatedTime")), len(change_sets))

    yield stack
    cloudformation.delete_stack(StackName=STACK)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=STACK, WaiterConfig={"Delay": 1}
    )
    remove_bucket(session.client("s3"), BUCKET)


@pytest.fixture(name="deploy")
def fixture_deploy(local_aws, tmp_path):
    """A function that deploys a named release of a copy of the checkout, as far as it can be done
    in seconds: its artifacts' stack and its upload."""
    folder = copy_checkout(tmp_path / "copy")

    def deploy(version, *options, **variables) -> subprocess.CompletedProcess:
        commit_all(folder, version)
        env = local_aws.env | {"AWS_PROFILE": "qa"}
        if not (folder / "build" / version).exists():
            build = ["scripts/build.sh"]
            subprocess.run(build, cwd=folder, env=env | {"VERSION": version}, check=True)
        command = ["scripts/deploy.sh", "--env", "qa", "--version", version, "--part", "upload"]
        return subprocess.run(
            [*command, *options],
            cwd=folder,
            env=env | variables,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )

    deploy.template = folder / "cloudformation/artifacts.yaml"
    return deploy


def test_who_is_locked_out_changes_no_stack_and_who_breaks_the_lock_does(deploy, in_qa, stack):
    # GIVEN an environment that somebody holds, and a release with another template of the bucket
    first = deploy("first")
    assert first.returncode == 0, first.stderr
    before = stack()
    text = deploy.template.read_text(encoding="utf-8")
    deploy.template.write_text(text.replace(*LIFECYCLE), encoding="utf-8")

    def hold(token) -> None:
        mine = ("--who", "arn:ann", "--command", f"deploy {token}", "--pid", str(os.getpid()))
        taken = in_qa("ops.release.lock", "take", "--token", token, *mine)
        assert taken.returncode == 0, taken.stderr

    hold("theirs")

    # WHEN that is deployed
    refused = deploy("second")

    # THEN it is told who holds the environment since when, and the stack is as it was
    assert refused.returncode == 1
    assert "FAILED in phase take_lock" in refused.stderr, refused.stderr
    holder = f"qa is locked: deploy theirs by arn:ann (pid {os.getpid()} on "
    (said,) = [line for line in refused.stderr.splitlines() if holder in line]
    assert " since 20" in said
    assert "BREAK_LOCK=1" in refused.stderr
    assert stack() == before
    assert LIFECYCLE[1] not in before.template

    # WHEN it breaks the lock, by the variable or by the option
    for options, variables in (((), {"BREAK_LOCK": "1"}), (("--break-lock",), {})):
        done = deploy("second", *options, **variables)

        # THEN it gets through, and leaves the environment free
        assert done.returncode == 0, done.stderr
        assert "took over the lock of deploy theirs" in done.stderr
        assert "broken as asked for" in done.stderr
        assert LIFECYCLE[1] in stack().template
        hold("theirs")
