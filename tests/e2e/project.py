"""The project as a person uses it, through make, and what AWS says of it afterwards."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import LocalAws

PREFIX = "retail-pipeline-dev"
DATA_BUCKET = f"{PREFIX}-data-111111111111"
STATE_MACHINE = f"arn:aws:states:us-east-1:111111111111:stateMachine:{PREFIX}-etl"


@dataclass(frozen=True)
class Project:
    """A checkout of the project and the local AWS that it works against."""

    folder: Path
    aws: LocalAws

    def make(self, *arguments: str, timeout: int = 600) -> subprocess.CompletedProcess:
        """Run make with a clean environment, as from a terminal."""
        kept = ("HOME", "PATH", "LANG", "TMPDIR", "CI")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        env |= {k: v for k, v in self.aws.env.items() if k in ("LOCALAWS_HOME", "LOCALAWS_PORT")}
        return subprocess.run(
            ["make", "--silent", *arguments],
            cwd=self.folder,
            env=env,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def feed(self, file: Path) -> subprocess.CompletedProcess:
        """Run make feed for a file."""
        return self.make("feed", "ENV=dev", f"FILE={file}")

    def query(self, sql: str) -> list[str]:
        """Return the lines of a query's CSV, its header not among them."""
        done = self.make("query", "ENV=dev", f"SQL={sql}")
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[1:-1]  # not splitlines(): a value may hold a line break

    def client(self, service: str):
        """Return a boto3 client of dev's administrator."""
        return self.aws.session("dev").client(service)

    def live_version(self) -> str:
        """Return the ARN of the state machine version that is live."""
        alias = self.client("stepfunctions").describe_state_machine_alias(
            stateMachineAliasArn=f"{STATE_MACHINE}:live"
        )
        (route,) = alias["routingConfiguration"]
        assert route["weight"] == 100
        return route["stateMachineVersionArn"]

    def executions(self) -> list[dict]:
        """Return all executions, the newest first."""
        pages = self.client("stepfunctions").get_paginator("list_executions")
        return [
            execution
            for page in pages.paginate(stateMachineArn=STATE_MACHINE)
            for execution in page["executions"]
        ]
