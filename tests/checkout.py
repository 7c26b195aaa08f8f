"""Copies of the checkout under test, to build in or to break."""

import shutil
import subprocess
from pathlib import Path

from tests.conftest import REPOSITORY


def copy_checkout(target: Path) -> Path:
    """Clone the checkout, with what is not committed, into `target`; return it."""
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, target], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--modified", "--deleted", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)
    (target / ".venv").symlink_to(REPOSITORY / ".venv")
    return target
