"""A deploy that has lost its lock does not switch; one that was killed is on record as that."""

import os
import subprocess

import pytest

from tests.drills.phases import Deploy
from tests.drills.releases import build_releases, must
from tests.e2e.project import Project


@pytest.fixture(name="checkout")
def fixture_checkout(broken_copy) -> Project:
    """A copy of the checkout with a release that is not live."""
    build_releases(broken_copy, ["lost-1"])
    return broken_copy


@pytest.fixture(name="lock")
def fixture_lock(project):
    """A function that takes dev's lock, whoever holds it, and releases it; so does the end."""

    def lock(action, *options) -> subprocess.CompletedProcess:
        broken = ("--break-lock",) if action == "take" else ()
        tool = ("python", "-m", "ops.release.lock", action, "--env", "dev", "--token", "theirs")
        return subprocess.run(
            [*tool, *options, *broken],
            cwd=project.folder,
            env=project.aws.env | {"AWS_PROFILE": "dev"},
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )

    yield lock
    must(lock("release"))


def recorded(project, version) -> str:
    """Return what `make releases` says of the last deploy of a release."""
    shown = must(project.make("releases", "ENV=dev")).stdout.splitlines()
    return next(line for line in shown if f" {version} " in line)


def test_a_deploy_whose_lock_was_broken_leaves_live_alone(project, checkout, lock):
    # GIVEN a deploy that tests its release
    before = project.aliases()
    deploy = Deploy(checkout, "lost-1")
    deploy.until("smoke_test")

    # WHEN somebody else takes the environment from it
    must(lock("take", "--who", "arn:ann", "--command", "rollback it", "--pid", str(os.getpid())))
    deploy.go_on()
    code, _ = deploy.wait()

    # THEN it ends without a switch and says who has the environment now
    assert code != 0
    assert "no longer holds dev: it is locked by rollback it by arn:ann (pid" in deploy.said
    assert "smoke: passed" in deploy.said
    assert project.aliases() == before

    # AND that is on record, and deploying again finishes it once the environment is free
    assert "failed in s" in recorded(project, "lost-1")
    must(lock("release"))
    must(checkout.make("deploy", "ENV=dev", "VERSION=lost-1"))
    must(project.make("deploy", "ENV=dev"))  # what the other tests work with


def test_a_killed_deploy_is_on_record_as_interrupted(project, checkout):
    # GIVEN a deploy that is under way
    before = project.aliases()
    deploy = Deploy(checkout, "lost-1")
    deploy.until("upload_release")
    assert " running " in recorded(project, "lost-1")

    # WHEN it is killed
    deploy.kill()

    # THEN it is on record as that, with who it was and what it was to do
    assert " interrupted " in recorded(project, "lost-1")
    assert " user/admin" in recorded(project, "lost-1")
    assert project.aliases() == before
