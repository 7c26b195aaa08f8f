"""Where two JSON values differ, and how to show that to a person."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SHOWN_CHARACTERS = 160  # of one value on a page


class _Nothing:
    """Stands for a value that one side does not have."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


@dataclass(frozen=True)
class Difference:
    """One place, a dotted path with [positions], and the value on either side or NOTHING."""

    path: str
    old: Any
    new: Any

    def shown(self) -> tuple[str, str]:
        """Return both values as text, long ones cut around where they begin to differ."""
        old, new = show(self.old), show(self.new)
        if max(len(old), len(new)) <= SHOWN_CHARACTERS:
            return old, new
        same = next(
            (index for index, pair in enumerate(zip(old, new)) if pair[0] != pair[1]),
            min(len(old), len(new)),
        )
        start = max(0, same - SHOWN_CHARACTERS // 4)
        return _cut(old, start), _cut(new, start)


def differences(old: Any, new: Any, path: str = "") -> Iterator[Difference]:
    """Yield each difference: mappings by key, lists of one length by position, others as elements.

    Numbers and booleans equal their own text: parameters and some services make text of them.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(
                old.get(key, NOTHING), new.get(key, NOTHING), f"{path}.{key}" if path else key
            )
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new)):
            yield from differences(*pair, f"{path}[{index}]")
    elif isinstance(old, list) and isinstance(new, list):
        yield from (Difference(f"{path}[]", item, NOTHING) for item in old if item not in new)
        yield from (Difference(f"{path}[]", NOTHING, item) for item in new if item not in old)
    elif show(old) != show(new):
        yield Difference(path, old, new)


def show(value: Any) -> str:
    """Return a value as text: strings as they are unless they would be misread, others as JSON."""
    if value is NOTHING:
        return repr(value)
    if isinstance(value, str) and value.strip() == value != "" and "\n" not in value:
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _cut(text: str, start: int) -> str:
    end = start + SHOWN_CHARACTERS
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
