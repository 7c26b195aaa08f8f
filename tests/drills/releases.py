"""Releases to drill with: named builds of one checkout that really differ in what runs."""

import subprocess

from tests.e2e.project import Project

# A comment of its own in each: other bytes, other versions, the same rows.
CHANGED = (
    "glue-jobs/src/etl_main.py",
    "lambdas/trigger_etl/src/trigger_etl.py",
    "lambdas/validate_input/src/validate_input.py",
    "lambdas/check_quality/src/check_quality.py",
    "lambdas/load_warehouse/src/load_warehouse.py",
)


def must(done: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    """Return what a command came to; raise RuntimeError with all it said when it has failed."""
    if done.returncode:
        raise RuntimeError(f"{' '.join(done.args)} failed:\n{done.stderr}")
    return done


def build_releases(checkout: Project, names: list[str]) -> None:
    """Build a release of each name in a copy of the checkout, which is changed for it."""
    for name in names:
        for file in CHANGED:
            with (checkout.folder / file).open("a", encoding="utf-8") as source:
                source.write(f"# {name}\n")
        must(checkout.make("build", "ENV=dev", f"VERSION={name}"))
