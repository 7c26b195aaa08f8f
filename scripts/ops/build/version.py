"""Names the release that the sources in this checkout make.

A clean checkout is named by its commit, `<commit date>-<12 hex>`; a changed one carries a hash of
the changes as well, `<commit date>-<12 hex>-dirty-<8 hex>`, so that one name never stands for two
contents. Configuration set at run time (SET) is such a change.
"""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ops.config import RUNTIME_VARIABLE

REPOSITORY = Path(__file__).resolve().parents[3]

# What a release is made from, and with: a changed README is no other release, but other tools are.
SOURCES = (
    "cloudformation",
    "config",
    "glue-jobs",
    "lambdas",
    "requirements",
    "scripts",
    "step-functions",
)


class VersionError(Exception):
    """The sources cannot be named: this is no git checkout, or it has no commit."""


@dataclass(frozen=True)
class Sources:
    """The state of the sources: the commit, its date (YYYYMMDD, UTC) and a hash of what differs."""

    commit: str
    date: str
    changes: str  # 8 hex, empty when nothing differs

    @property
    def version(self) -> str:
        """The release's name."""
        name = f"{self.date}-{self.commit[:12]}"
        return f"{name}-dirty-{self.changes}" if self.changes else name


def git(*arguments: str, repository: Path = REPOSITORY) -> str:
    """Return what a git command prints; raise VersionError with git's own words."""
    command = ["git", "-C", str(repository), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise VersionError(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout


def read_sources(repository: Path = REPOSITORY) -> Sources:
    """Return the state of the sources; raise VersionError outside a git checkout."""
    commit, seconds = git("log", "-1", "--format=%H %ct", repository=repository).split()
    date = datetime.fromtimestamp(int(seconds), UTC).strftime("%Y%m%d")
    return Sources(commit, date, _changes(repository))


def _changes(repository: Path) -> str:
    """Hash every changed, new and deleted source file: its path and its bytes; and SET."""
    listed = git(
        *("ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"),
        *("--", *SOURCES),
        repository=repository,
    )
    staged = git(
        "diff", "-z", "--name-only", "--cached", "HEAD", "--", *SOURCES, repository=repository
    )
    digest = hashlib.sha256()
    paths = sorted({path for path in (listed + staged).split("\0") if path})
    for path in paths:
        file = repository / path
        content = file.read_bytes() if file.is_file() else b"deleted"
        digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
    at_run_time = os.environ.get(RUNTIME_VARIABLE, "")
    digest.update(at_run_time.encode())
    return digest.hexdigest()[:8] if paths or at_run_time else ""


def main() -> int:
    """Print the version."""
    try:
        print(read_sources().version)
    except VersionError as error:
        print(
            f"version: {error}\nversion: build from a git checkout, or name VERSION=",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
