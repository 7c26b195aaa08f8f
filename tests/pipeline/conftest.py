"""The checkout under test as one commit, and the Jenkins that builds it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import commit_all, copy_checkout
from tests.conftest import new_home
from tests.pipeline.jenkins import Jenkins

KEPT = ("HOME", "PATH", "LANG", "TMPDIR", "CI")
# What is tested here is the Jenkinsfile and what it releases, so its test stages run a few tests of
# each layer, by commit: evidence of a narrowed run is none. TESTS=all keeps them all.
A_FEW_TESTS = {
    "addopts = [": 'addopts = ["-k", "zip_tree or notify or lock", ',
    "fail_under = 90": "fail_under = 0",
}


def agent_environment(**more: str) -> dict[str, str]:
    """Return what an agent has in its environment."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | more


@pytest.fixture(name="checkout", scope="session")
def fixture_checkout(tmp_path_factory) -> Path:
    """A clone in which what is not committed here is: prod takes no changed sources."""
    folder = copy_checkout(tmp_path_factory.mktemp("checkouts") / "checkout")
    if os.environ.get("TESTS") != "all":
        settings = folder / "pyproject.toml"
        text = settings.read_text(encoding="utf-8")
        for whole, few in A_FEW_TESTS.items():
            assert whole in text
            text = text.replace(whole, few)
        settings.write_text(text, encoding="utf-8")
    commit_all(folder, "What is tested")
    return folder


@pytest.fixture(name="jenkins", scope="session")
def fixture_jenkins(checkout, tmp_path_factory) -> Iterator[Jenkins]:
    """A Jenkins whose agents reach no AWS at all."""
    home = tmp_path_factory.mktemp("nothing")
    with new_home() as folder:  # for others, too: a build's own tests start a PostgreSQL
        yield Jenkins(
            checkout, folder, agent_environment(LOCALAWS_HOME=str(home), LOCALAWS_PORT="9")
        )
