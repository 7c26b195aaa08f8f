"""The checkout under test as one commit, and the Jenkins that builds it."""

import os
from pathlib import Path

import pytest

from tests.checkout import commit_all, copy_checkout
from tests.pipeline.jenkins import Jenkins

KEPT = ("HOME", "PATH", "LANG", "TMPDIR", "CI")


def agent_environment(**more: str) -> dict[str, str]:
    """Return what an agent has in its environment."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | more


@pytest.fixture(name="checkout", scope="session")
def fixture_checkout(tmp_path_factory) -> Path:
    """A clone in which what is not committed here is: prod takes no changed sources."""
    folder = copy_checkout(tmp_path_factory.mktemp("checkouts") / "checkout")
    commit_all(folder, "What is tested")
    return folder


@pytest.fixture(name="jenkins", scope="session")
def fixture_jenkins(checkout, tmp_path_factory) -> Jenkins:
    """A Jenkins whose agents reach no AWS at all."""
    home = tmp_path_factory.mktemp("nothing")
    env = agent_environment(LOCALAWS_HOME=str(home), LOCALAWS_PORT="9")
    return Jenkins(checkout, tmp_path_factory.mktemp("jenkins"), env)
