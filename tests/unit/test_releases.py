"""A release is written once: the same bytes again are skipped, other bytes are refused."""

import boto3
import pytest
from moto import mock_aws
from ops.build.manifest import ManifestError, create
from ops.release.releases import ReleaseConflict, download, upload

BUCKET = "artifacts"


@pytest.fixture(name="s3")
def fixture_s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


def make_release(root, script=b"print()"):
    (root / "glue").mkdir(parents=True)
    (root / "glue/etl_main.py").write_bytes(script)
    (root / "config").mkdir()
    (root / "config/dev.json").write_bytes(b"{}")
    create(root, "v1")
    return root


def keys(s3):
    return [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_upload_puts_every_artifact_and_the_manifest(s3, tmp_path):
    assert upload(make_release(tmp_path), BUCKET, s3) == 3
    assert keys(s3) == [
        "releases/v1/config/dev.json",
        "releases/v1/glue/etl_main.py",
        "releases/v1/manifest.json",
    ]


def test_same_bytes_again_write_nothing(s3, tmp_path):
    release = make_release(tmp_path)
    upload(release, BUCKET, s3)
    assert upload(release, BUCKET, s3) == 0
    assert len(s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 3


def test_other_bytes_under_the_same_version_are_refused_and_named(s3, tmp_path):
    upload(make_release(tmp_path / "a"), BUCKET, s3)
    with pytest.raises(ReleaseConflict, match="releases/v1/glue/etl_main.py has other bytes"):
        upload(make_release(tmp_path / "b", script=b"print(2)"), BUCKET, s3)
    stored = s3.get_object(Bucket=BUCKET, Key="releases/v1/glue/etl_main.py")["Body"].read()
    assert stored == b"print()"


def test_interrupted_upload_is_finished(s3, tmp_path):
    release = make_release(tmp_path)
    upload(release, BUCKET, s3)
    for key in ("releases/v1/manifest.json", "releases/v1/config/dev.json"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert upload(release, BUCKET, s3) == 2


def test_damaged_build_is_refused_before_anything_is_written(s3, tmp_path):
    release = make_release(tmp_path)
    (release / "glue/etl_main.py").write_bytes(b"damaged")
    with pytest.raises(ManifestError, match="etl_main.py: sha256"):
        upload(release, BUCKET, s3)
    assert not keys(s3)


def test_download_gives_the_same_release(s3, tmp_path):
    upload(make_release(tmp_path / "a"), BUCKET, s3)
    download("v1", BUCKET, tmp_path / "b", s3)
    assert (tmp_path / "b/glue/etl_main.py").read_bytes() == b"print()"


def test_release_without_manifest_is_none(s3, tmp_path):
    upload(make_release(tmp_path / "a"), BUCKET, s3)
    s3.delete_object(Bucket=BUCKET, Key="releases/v1/manifest.json")
    with pytest.raises(ManifestError, match="is no release"):
        download("v1", BUCKET, tmp_path / "b", s3)
