"""ops.release.comparison: two releases, by their artifacts, lines and keys."""

import json
from pathlib import Path

from ops.release.comparison import (
    SHOWN_LINES,
    artifact_changes,
    configuration_changes,
    text_changes,
)


def release(root: Path, artifacts: dict[str, str], **texts: str) -> Path:
    """Write a release's manifest, with the sha256 of each artifact, and some of its files."""
    root.mkdir()
    listed = [{"path": path, "sha256": sha, "size": 1234} for path, sha in artifacts.items()]
    (root / "manifest.json").write_text(json.dumps({"artifacts": listed}))
    (root / "config").mkdir()
    for name, text in texts.items():
        (root / "config" / f"{name}.json").write_text(text)
    return root


def test_artifacts_are_added_removed_and_changed(tmp_path):
    old = release(tmp_path / "old", {"a": "1" * 64, "b": "2" * 64, "c": "3" * 64})
    new = release(tmp_path / "new", {"a": "1" * 64, "b": "4" * 64, "d": "5" * 64})
    lines = [" ".join(change.line().split()) for change in artifact_changes(old, new)]
    assert lines == [
        "~ b 1,234 -> 1,234 bytes sha256 222222222222 -> 444444444444",
        "- c 1,234 bytes sha256 333333333333",
        "+ d 1,234 bytes sha256 555555555555",
    ]


def test_without_a_live_release_everything_is_new(tmp_path):
    new = release(tmp_path / "new", {"a": "1" * 64})
    assert [change.line()[0] for change in artifact_changes(None, new)] == ["+"]


def test_configuration_is_compared_for_one_environment(tmp_path):
    old = release(tmp_path / "old", {}, dev='{"a": {"b": 1}}', qa="{}")
    new = release(tmp_path / "new", {}, dev='{"a": {"b": 2}}', qa='{"c": 1}')
    (difference,) = configuration_changes(old, new, "dev")
    assert (difference.path, difference.old, difference.new) == ("a.b", 1, 2)


def test_texts_are_shown_in_short(tmp_path):
    before = "\n".join(f"line {number}" for number in range(200))
    old = release(tmp_path / "old", {}, dev=before)
    new = release(tmp_path / "new", {}, dev=before.replace("line 7\n", "line seven\n"))
    found = list(text_changes(old, new, "config/dev.json"))
    assert found[0].startswith("@@") and "-line 7" in found and "+line seven" in found
    assert len(found) == 7  # a header, two lines, two of context on either side

    other = release(tmp_path / "other", {}, dev=before.replace("line", "row"))
    found = list(text_changes(old, other, "config/dev.json"))
    assert len(found) == SHOWN_LINES + 1
    assert found[-1] == "… 341 more lines"
