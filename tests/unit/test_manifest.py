"""A manifest names every artifact of a release, and a folder that differs from it is refused."""

import hashlib
import json

import pytest
from ops.build.manifest import ManifestError, create, verify

ARTIFACTS = {
    "glue/etl_main.py": b"print()",
    "lambdas/trigger_etl.zip": b"zip",
    "config/dev.json": b"{}",
}


@pytest.fixture(name="release")
def fixture_release(tmp_path):
    for path, content in ARTIFACTS.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(content)
    create(tmp_path, "v1")
    return tmp_path


def test_manifest_lists_each_artifact_sorted_with_digest_and_size(release):
    artifacts = json.loads((release / "manifest.json").read_text())["artifacts"]
    assert [artifact["path"] for artifact in artifacts] == sorted(ARTIFACTS)
    for artifact in artifacts:
        content = ARTIFACTS[artifact["path"]]
        assert artifact["sha256"] == hashlib.sha256(content).hexdigest()
        assert artifact["size"] == len(content)
        assert len(artifact["commit"]) in (0, 40)  # none before the first commit of its sources


def test_manifest_made_twice_is_the_same(release):
    first = (release / "manifest.json").read_bytes()
    create(release, "v1")
    assert (release / "manifest.json").read_bytes() == first


def test_untouched_release_is_verified(release):
    assert verify(release)["version"] == "v1"


def test_every_difference_is_named(release):
    (release / "glue/etl_main.py").write_bytes(b"changed")
    (release / "config/dev.json").unlink()
    (release / "config/qa.json").write_bytes(b"{}")
    with pytest.raises(ManifestError) as error:
        verify(release)
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert "config/dev.json: in the manifest but not there" in lines[0]
    assert "config/qa.json: there but not in the manifest" in lines[1]
    assert "glue/etl_main.py: sha256 is" in lines[2]


def test_folder_without_manifest_says_what_to_run(tmp_path):
    with pytest.raises(ManifestError, match="make build"):
        verify(tmp_path)


def test_file_that_no_release_has_is_refused(release):
    (release / "notes.txt").write_text("?")
    with pytest.raises(ManifestError, match="notes.txt"):
        create(release, "v1")
