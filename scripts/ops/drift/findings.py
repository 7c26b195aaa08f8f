"""What a check of drift finds: a place, what is expected there and what is found."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ops.differences import NOTHING, Difference, differences


@dataclass(frozen=True)
class Finding:
    """One thing that is not as the release has it; NOTHING where there is, or should be, none."""

    where: str
    expected: Any
    found: Any

    def lines(self) -> Iterator[str]:
        """Yield the finding for a person."""
        expected, found = Difference(self.where, self.expected, self.found).shown()
        yield self.where
        yield f"    expected  {expected}"
        yield f"    found     {found}"


def compare(where: str, expected: Any, found: Any) -> Iterator[Finding]:
    """Yield a finding for each place at which two JSON values differ."""
    for difference in differences(expected, found):
        path = f" {difference.path}" if difference.path else ""
        yield Finding(where + path, difference.old, difference.new)


def missing(where: str, expected: Any = "there") -> Finding:
    """Return the finding of something that is not there."""
    return Finding(where, expected, NOTHING)
