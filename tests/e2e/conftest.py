"""One deployed environment for all end-to-end tests."""

import json
from collections.abc import Iterator

import pytest

from tests.checkout import copy_checkout
from tests.conftest import REPOSITORY
from tests.e2e.project import PREFIX, Project
from tests.queue_subscription import subscribed


@pytest.fixture(scope="session")
def project(local_aws) -> Project:
    """The checkout under test, deployed to dev."""
    project = Project(REPOSITORY, local_aws)
    deployed = project.make("deploy", "ENV=dev")
    assert deployed.returncode == 0, deployed.stderr
    return project


@pytest.fixture(scope="session")
def notifications(project) -> Iterator:
    """A function that returns every notification sent so far, as parsed JSON."""
    topic = f"arn:aws:sns:us-east-1:111111111111:{PREFIX}-notifications"
    with subscribed(project.aws.session("dev"), topic, "e2e-notifications") as received:
        yield lambda: [json.loads(message) for message in received()]


@pytest.fixture(scope="session")
def alarms(project) -> Iterator:
    """A function that returns every change of an alarm's state so far, as parsed JSON."""
    topic = f"arn:aws:sns:us-east-1:111111111111:{PREFIX}-alarms"
    with subscribed(project.aws.session("dev"), topic, "e2e-alarms") as received:
        yield lambda: [json.loads(message) for message in received()]


@pytest.fixture
def broken_copy(project, tmp_path) -> Project:
    """A clone of the checkout, with what is not committed, to break; against the same local AWS."""
    return Project(copy_checkout(tmp_path / "copy"), project.aws)
