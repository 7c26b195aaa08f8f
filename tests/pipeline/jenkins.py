"""Builds by the Jenkinsfile of a checkout, through the harness in groovy/."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HARNESS = Path(__file__).parent / "groovy"


@dataclass(frozen=True)
class Build:
    """One build: how it ended and what happened in it, in order."""

    result: str
    events: list[dict[str, Any]]
    log: str
    archive: Path

    @property
    def commands(self) -> list[str]:
        """The commands that were run."""
        return [event["command"] for event in self.events if "command" in event]

    @property
    def failed(self) -> list[str]:
        """The commands that have failed."""
        return [event["command"] for event in self.events if event.get("code")]

    @property
    def gates(self) -> dict[str, str]:
        """Who was asked, and the answer, by stage."""
        return {
            event["stage"]: f"{event['submitter']}: {event['answer']}"
            for event in self.events
            if "gate" in event
        }

    def stages(self, event: str) -> list[str]:
        """The stages that have started, succeeded, failed or were skipped."""
        return [found["stage"] for found in self.events if found.get("event") == event]


@dataclass
class Jenkins:
    """Builds a checkout; `env` is the environment of the agents."""

    checkout: Path
    folder: Path  # for workspaces, stashes and archives
    env: dict[str, str]
    numbers: list[int] = field(default_factory=list)

    def build(  # pylint: disable=too-many-arguments
        self,
        branch: str = "main",
        cause: str = "",
        answers: dict[str, str] | None = None,
        credentials: dict[str, Path] | None = None,
        **parameters: Any,
    ) -> Build:
        """Run one build to its end."""
        self.numbers.append(len(self.numbers) + 1)
        folder = self.folder / f"build-{self.numbers[-1]}"
        folder.mkdir(parents=True)
        settings = {
            "checkout": str(self.checkout),
            "folder": str(folder),
            "archive": str(folder / "archive"),
            "parameters": parameters,
            "cause": cause,
            "answers": answers or {},
            "credentials": {name: str(file) for name, file in (credentials or {}).items()},
            "report": str(folder / "report.json"),
        }
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        url = f"https://jenkins.example/job/retail-pipeline/{self.numbers[-1]}/"
        done = groovy(
            "run.groovy",
            str(folder / "settings.json"),
            env=self.env | {"BRANCH_NAME": branch, "BUILD_URL": url},
        )
        report = folder / "report.json"
        assert report.is_file(), done.stderr
        return Build(
            **json.loads(report.read_text("utf-8")), log=done.stderr, archive=folder / "archive"
        )


def groovy(script: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess:
    """Run one of the harness's scripts."""
    return subprocess.run(
        ["groovy", "-cp", HARNESS, HARNESS / script, *arguments],
        env=options.pop("env", os.environ) | {"JAVA_HOME": java_home()},
        text=True,
        capture_output=True,
        timeout=1800,
        check=False,
        **options,
    )


def java_home() -> str:
    """Return the home of the Java that is on the PATH; Debian's groovy finds no other by itself."""
    java = shutil.which("java")
    assert java, "java is not on the PATH"
    return str(Path(os.path.realpath(java)).parents[1])
