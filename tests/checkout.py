"""Copies of the checkout under test, to build in or to break."""

import shutil
import subprocess
from pathlib import Path

from tests.conftest import REPOSITORY


def copy_checkout(target: Path, source: Path = REPOSITORY) -> Path:
    """Clone a checkout, with what is not committed, into `target`; return it."""
    subprocess.run(["git", "clone", "--quiet", source, target], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--modified", "--deleted", "--others", "--exclude-standard", "-z"],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)
    (target / ".venv").symlink_to(REPOSITORY / ".venv")
    return target


def commit_all(folder: Path, message: str) -> None:
    """Commit what has changed in a copy, so that what is built of it is not dirty."""
    exclude = folder / ".git/info/exclude"
    if "/.venv\n" not in exclude.read_text(encoding="utf-8"):  # a link, which .gitignore means not
        exclude.write_text("/.venv\n", encoding="utf-8")
    author = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
    for command in (
        ["git", "add", "--all"],
        ["git", *author, "commit", "--quiet", "--allow-empty", "--message", message],
    ):
        subprocess.run(command, cwd=folder, check=True)
