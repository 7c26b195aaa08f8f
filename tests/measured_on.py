"""On which commit and machine something was measured, for the pages that say so."""

import os
import platform
import subprocess

from tests.conftest import REPOSITORY


def commit() -> str:
    """Return the commit of the checkout, marked where something was changed since."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return described.stdout.strip()


def machine() -> str:
    """Return the system, the cores and the memory, and no name of a host."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB"
