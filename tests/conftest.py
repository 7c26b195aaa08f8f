"""Fixtures for every test that needs AWS: a local AWS of its own, beside the one of `make up`."""

import contextlib
import os
import random
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import botocore.session
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PYTHON = REPOSITORY / ".venv/localaws/bin/python"
ACCOUNTS = {
    "dev": "111111111111",
    "qa": "222222222222",
    "staging": "333333333333",
    "prod": "444444444444",
}
_PORTS = range(20_000, 32_000)  # Linux takes the ports of connections from 32768 on
_ports_given: set[int] = set()


@dataclass(frozen=True)
class LocalAws:
    """A local AWS with a home and a port of its own."""

    home: Path
    port: int

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """The environment for programs that talk to it."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                str(REPOSITORY / part) for part in (".", "scripts", "lambdas/layers/common/python")
            ),
            "AWS_CONFIG_FILE": str(self.home / "aws/config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.home / "aws/credentials"),
            "LOCALAWS_HOME": str(self.home),
            "LOCALAWS_PORT": str(self.port),
            "LOCALAWS_PROFILES": " ".join(f"{name}={id_}" for name, id_ in ACCOUNTS.items()),
            "LOCALAWS_GLUE_PYTHON": str(REPOSITORY / ".venv/glue/bin/python"),
            "LOCALAWS_LAMBDA_PYTHON": str(REPOSITORY / ".venv/lambda/bin/python"),
        }

    def run(self, command: str) -> subprocess.CompletedProcess:
        """Run ``python -m localaws <command>`` for this home."""
        return subprocess.run(
            [PYTHON, "-m", "localaws", command],
            env=self.env,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def session(self, profile: str = "dev") -> boto3.Session:
        """Return a boto3 session of the profile's administrator."""
        session = botocore.session.Session(profile=profile)
        session.set_config_variable("config_file", self.env["AWS_CONFIG_FILE"])
        session.set_config_variable("credentials_file", self.env["AWS_SHARED_CREDENTIALS_FILE"])
        return boto3.Session(botocore_session=session)


def pytest_configure() -> None:
    """Hide the caller's AWS settings and proxies: no test may reach anything but its own AWS.

    What a build of the Jenkinsfile was given is for its deploys, not for those of the tests.
    """
    given = ("TARGET", "VERSION", "STRATEGY")
    for name in [name for name in os.environ if name.startswith("AWS_") or name in given]:
        del os.environ[name]
    os.environ["NO_PROXY"] = "127.0.0.1"


def free_port() -> int:
    """Return a port that nothing listens on, and that stays free until its local AWS takes it.

    Not one from the kernel (port 0): between two starts of a local AWS, another worker of the
    same run of tests or any connection could be given it. Below the kernel's own range, each
    worker has a part.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    width = len(_PORTS) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = set(_PORTS[worker * width : (worker + 1) * width])
    while True:
        port = random.choice(sorted(mine - _ports_given))
        _ports_given.add(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def new_home() -> Iterator[Path]:
    """Give a temporary folder for a local AWS; it is gone afterwards."""
    # Not pytest's tmp_path: when root runs the tests, PostgreSQL runs as a user of its own, which
    # must get in; and a socket's path has to be short.
    with tempfile.TemporaryDirectory(prefix="localaws-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextlib.contextmanager
def new_local_aws() -> Iterator[LocalAws]:
    """Start a local AWS in which nothing is; it is gone afterwards."""
    with new_home() as home:
        aws = LocalAws(home, free_port())
        started = aws.run("up")
        assert started.returncode == 0, started.stderr
        try:
            yield aws
        finally:
            stopped = aws.run("down")
        assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="session")
def local_aws() -> Iterator[LocalAws]:
    """One local AWS for the session (for each worker of pytest-xdist, one)."""
    with new_local_aws() as aws:
        yield aws
