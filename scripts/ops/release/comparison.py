"""What differs between two releases: artifacts by bytes, texts by line, configuration by key."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.build.manifest import read
from ops.differences import Difference, differences
from ops.release.definition import DEFINITION

CONTEXT_LINES = 2
SHOWN_LINES = 60  # of one text's differences


@dataclass(frozen=True)
class ArtifactChange:
    """An artifact that is not the same in both releases; None where one does not have it."""

    path: str
    old: dict | None
    new: dict | None

    def line(self) -> str:
        """Return path, sizes and the beginnings of both SHA-256."""
        mark = "+" if self.old is None else "-" if self.new is None else "~"
        sides = [side for side in (self.old, self.new) if side is not None]
        sizes = " -> ".join(f"{side['size']:,}" for side in sides)
        digests = " -> ".join(side["sha256"][:12] for side in sides)
        return f"{mark} {self.path:<46} {sizes} bytes   sha256 {digests}"


def artifact_changes(old: Path | None, new: Path) -> list[ArtifactChange]:
    """Return the artifacts that differ between two releases' manifests, by path."""
    before, after = (
        {item["path"]: item for item in (read(root)["artifacts"] if root else [])}
        for root in (old, new)
    )
    return [
        ArtifactChange(path, before.get(path), after.get(path))
        for path in sorted(before.keys() | after.keys())
        if before.get(path, {}).get("sha256") != after.get(path, {}).get("sha256")
    ]


def configuration_changes(old: Path | None, new: Path, environment: str) -> list[Difference]:
    """Return the differences of an environment's configuration, key by key."""
    before, after = (
        (
            json.loads((root / f"config/{environment}.json").read_text(encoding="utf-8"))
            if root
            else {}
        )
        for root in (old, new)
    )
    return list(differences(before, after))


def text_changes(old: Path, new: Path, path: str) -> Iterator[str]:
    """Yield a short unified diff of a text artifact that both releases have."""
    before, after = ((root / path).read_text(encoding="utf-8").splitlines() for root in (old, new))
    found = list(difflib.unified_diff(before, after, n=CONTEXT_LINES, lineterm=""))[2:]
    yield from found[:SHOWN_LINES]
    if len(found) > SHOWN_LINES:
        yield f"… {len(found) - SHOWN_LINES} more lines"


def is_text(path: str) -> bool:
    """Return whether an artifact's lines are worth showing; configuration is shown by key."""
    return path == DEFINITION or path.startswith("cloudformation/")
