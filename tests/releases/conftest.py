"""What the tests of the release commands share."""

import subprocess
from collections.abc import Callable

import pytest
from tests.conftest import REPOSITORY


@pytest.fixture(name="in_qa")
def fixture_in_qa(local_aws) -> Callable[..., subprocess.CompletedProcess]:
    """A function that runs a module of scripts/ against qa."""

    def run(module: str, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["python", "-m", module, *arguments, "--env", "qa"],
            cwd=REPOSITORY,
            env=local_aws.env | {"AWS_PROFILE": "qa"},
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )

    return run
