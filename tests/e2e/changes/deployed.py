"""A checkout of its own that is deployed, planned and rolled back by the scripts themselves."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import LocalAws

PREFIX = "retail-pipeline-dev"
ACCOUNT = "111111111111"


@dataclass(frozen=True)
class Checkout:
    """A copy of the project to change, and the local AWS that it is deployed to."""

    folder: Path
    aws: LocalAws

    def run(self, *command: str, env: str = "dev", **variables: str) -> subprocess.CompletedProcess:
        """Run a command in the checkout for an environment."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.aws.env
            | {"AWS_PROFILE": env, "PYTHONPATH": str(self.folder / "scripts")}
            | variables,
            text=True,
            capture_output=True,
            timeout=600,
            check=False,
        )

    def script(self, name: str, *options: str, env: str = "dev") -> subprocess.CompletedProcess:
        """Run one of scripts/*.sh for an environment."""
        return self.run(f"scripts/{name}.sh", "--env", env, *options, env=env)

    def client(self, service: str, env: str = "dev"):
        """Return a client of an environment's administrator."""
        return self.aws.session(env).client(service)

    def replace(self, file: str, old: str, new: str) -> None:
        """Change a text of the sources that is there exactly once."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} has {text.count(old)} times {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")
