"""S3 as it is on a bad day: while `<home>/s3-faults` lies there, every few requests fail.

The file holds one line, `every 7: 503 SlowDown`: each seventh request is answered so instead of
being carried out. S3's own faults under load are 503 SlowDown and 500 InternalError; whoever calls
S3 is expected to try again.
"""

import itertools
import logging
import re
from pathlib import Path

from ministack.services import s3

from localaws import hooks
from localaws.settings import S3_FAULTS, Settings

logger = logging.getLogger("localaws.s3_faults")

_LINE = re.compile(r"every (\d+): (\d{3}) (\w+)\s*")


def register() -> None:
    """Hook into every request to S3."""
    faults = Settings.from_environment().home / S3_FAULTS
    hooks.replace(s3, "handle_request", failing(s3.handle_request, faults))


def failing(handle, faults: Path):
    """Return an S3 that fails as the file `faults` says, as long as there is one."""
    count = itertools.count(1)

    async def handle_request(*request, **options):
        try:
            line = faults.read_text(encoding="utf-8")
        except FileNotFoundError:
            return await handle(*request, **options)
        found = _LINE.fullmatch(line)
        if not found:
            raise ValueError(f"{faults}: expected 'every 7: 503 SlowDown', found {line!r}")
        every, status, code = found.groups()
        if next(count) % max(1, int(every)):
            return await handle(*request, **options)
        logger.warning("S3 answers %s %s, as %s says", status, code, faults)
        # pylint: disable-next=protected-access  # S3's own form of an error, which callers parse
        return s3._error(code, "Please try again.", int(status))

    return handle_request
