"""Checks in a list: all are made, each is a line, and one that fails comes with a remedy."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from ops.build.manifest import ManifestError
from ops.config import ConfigurationError
from ops.environment import OperationError

NAME_WIDTH = 16


class CheckFailed(OperationError):
    """What a check has found is not as it should be; the message says what."""


@dataclass(frozen=True)
class Check:
    """One check: what it looks at, how, and what to do when it fails.

    `look` returns what it has found, in a few words; it raises CheckFailed, or whatever error came
    in its way, when that is not as it should be.
    """

    name: str
    look: Callable[[], str]
    remedy: str


@dataclass(frozen=True)
class Outcome:
    """What a check has come to."""

    name: str
    passed: bool
    found: str
    remedy: str

    def __str__(self) -> str:
        word, lines = ("ok", self.found) if self.passed else ("FAILED", self.found)
        indent = " " * (NAME_WIDTH + 9)
        text = f"{word:<8}{self.name:<{NAME_WIDTH}} " + lines.replace("\n", f"\n{indent}")
        return text if self.passed else f"{text}\n{indent}remedy: {self.remedy}"


def outcome(check: Check) -> Outcome:
    """Make one check; what AWS refuses or the tools cannot do is a failure, not an end."""
    try:
        return Outcome(check.name, True, check.look(), check.remedy)
    except (OperationError, ConfigurationError, ManifestError) as error:
        reason = str(error)
    except (ClientError, BotoCoreError) as error:
        reason = f"AWS refused: {error}"
    return Outcome(check.name, False, reason, check.remedy)


def make_all(checks: Iterable[Check]) -> list[Outcome]:
    """Make every check, whatever the others say; print each on stdout as soon as it is known."""
    outcomes = []
    for check in checks:
        outcomes.append(outcome(check))
        print(outcomes[-1], flush=True)
    return outcomes


def require(faults: Iterable[str], found: str) -> str:
    """Return what was found; raise CheckFailed when there are faults, with all of them."""
    if lines := list(faults):
        raise CheckFailed("\n".join(lines))
    return found
