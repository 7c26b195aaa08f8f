"""The project as a person uses it, through make, and what AWS says of it afterwards."""

import contextlib
import json
import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import LocalAws

PREFIX = "retail-pipeline-dev"
DATA_BUCKET = f"{PREFIX}-data-111111111111"
ARTIFACT_BUCKET = f"{PREFIX}-artifacts-111111111111"
STATE_MACHINE = f"arn:aws:states:us-east-1:111111111111:stateMachine:{PREFIX}-etl"


@dataclass(frozen=True)
class Project:
    """A checkout of the project and the local AWS that it works against."""

    folder: Path
    aws: LocalAws

    def make(self, *arguments: str, timeout: int = 600) -> subprocess.CompletedProcess:
        """Run make with a clean environment, as from a terminal."""
        with self.start(*arguments) as process:
            try:
                out, complaint = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, complaint)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start make likewise, as the leader of a process group of its own."""
        kept = ("HOME", "PATH", "LANG", "TMPDIR", "CI")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        env |= {k: v for k, v in self.aws.env.items() if k in ("LOCALAWS_HOME", "LOCALAWS_PORT")}
        return subprocess.Popen(
            # Where a shell runs the tests in the background, they ignore SIGINT, and so would make.
            ["env", "--default-signal=INT", "make", "--silent", *arguments],
            cwd=self.folder,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def feed(self, file: Path, env: str = "dev") -> subprocess.CompletedProcess:
        """Run make feed for a file."""
        return self.make("feed", f"ENV={env}", f"FILE={file}")

    def query(self, sql: str, env: str = "dev") -> list[str]:
        """Return the lines of a query's CSV, its header not among them."""
        done = self.make("query", f"ENV={env}", f"SQL={sql}")
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[1:-1]  # not splitlines(): a value may hold a line break

    def client(self, service: str):
        """Return a boto3 client of dev's administrator."""
        return self.aws.session("dev").client(service)

    def live_version(self) -> str:
        """Return the ARN of the state machine version that is live, alone."""
        ((version, weight),) = self.routes().items()
        assert weight == 100
        return version

    def routes(self) -> dict[str, int]:
        """Return the percentage of executions that each state machine version gets."""
        alias = self.client("stepfunctions").describe_state_machine_alias(
            stateMachineAliasArn=f"{STATE_MACHINE}:live"
        )
        return {
            route["stateMachineVersionArn"]: route["weight"]
            for route in alias["routingConfiguration"]
        }

    def aliases(self) -> dict[str, dict]:
        """Return where both aliases called live point: executions and events, by version."""
        trigger = self.client("lambda").get_alias(FunctionName=f"{PREFIX}-trigger-etl", Name="live")
        others = trigger.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        return {
            "executions": self.routes(),
            "events": {trigger["FunctionVersion"]: 1 - sum(others.values()), **others},
        }

    def last_record(self) -> dict:
        """Return the record of the last deploy or rollback."""
        s3 = self.client("s3")
        listed = s3.list_objects_v2(Bucket=ARTIFACT_BUCKET, Prefix="deploys/")["Contents"]
        newest = max(item["Key"] for item in listed)
        return json.load(s3.get_object(Bucket=ARTIFACT_BUCKET, Key=newest)["Body"])

    def executions(self) -> list[dict]:
        """Return all executions, the newest first."""
        pages = self.client("stepfunctions").get_paginator("list_executions")
        return [
            execution
            for page in pages.paginate(stateMachineArn=STATE_MACHINE)
            for execution in page["executions"]
        ]


def lose_machine(process: subprocess.Popen) -> None:
    """Kill what `Project.start` has started and all that came of it, in whatever group it is."""
    os.killpg(process.pid, signal.SIGSTOP)  # none of it acts on the death of another
    for pid in list(_descendants(process.pid)):
        os.kill(pid, signal.SIGKILL)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _descendants(ancestor: int) -> Iterator[int]:
    children = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
            parent = int(stat.read_text("utf-8").rpartition(")")[2].split()[1])
            children[parent].append(int(stat.parent.name))
    found = [ancestor]
    for pid in found:
        found += children[pid]
        yield from children[pid]
