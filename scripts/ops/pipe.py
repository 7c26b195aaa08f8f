"""Ends a command quietly whose reader has seen enough, as in `make query ... | head`."""

import functools
import os
import sys
from collections.abc import Callable


def until_closed(main: Callable[..., int]) -> Callable[..., int]:
    """Make a command that prints end with 0 when its output is closed before all of it is read."""

    @functools.wraps(main)
    def run(*arguments) -> int:
        try:
            code = main(*arguments)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            # Python flushes once more as it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    return run
