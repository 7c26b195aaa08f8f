"""A build: the same bytes everywhere, and a release that differs from its manifest goes nowhere."""

import json
import os
import subprocess

import pytest
from tests.checkout import copy_checkout


def build(folder, umask, **env):
    """Run make build; return the folder of the release."""
    done = subprocess.run(
        ["bash", "-c", f"umask {umask}; make --silent build"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "build" / done.stdout.strip()


def contents(root):
    """Return the bytes of every file below a folder, by path."""
    return {
        file.relative_to(root).as_posix(): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file()
    }


@pytest.fixture(name="release", scope="module")
def fixture_release(tmp_path_factory):
    """A release in a clone of its own."""
    folder = copy_checkout(tmp_path_factory.mktemp("builds") / "one")
    return build(folder, "022", LANG="C", TZ="UTC")


def test_the_same_commit_gives_the_same_bytes_everywhere(release, tmp_path):
    # GIVEN a second clone, in a folder with a space and checked out under another umask
    old = os.umask(0o077)
    try:
        clone = copy_checkout(tmp_path / "an other one")
    finally:
        os.umask(old)

    # WHEN it is built elsewhere
    other = build(clone, "077", LANG="tr_TR.UTF-8", LC_ALL="C.UTF-8", TZ="Asia/Kathmandu")

    # THEN name and bytes are the same, the manifest among them
    one, two = contents(release), contents(other)
    assert other.name == release.name
    assert {"manifest.json", "sbom.cdx.json", "layers/common.zip"} < one.keys()
    assert [
        path for path in sorted(one.keys() | two.keys()) if one.get(path) != two.get(path)
    ] == []


def test_the_bill_of_materials_is_an_artifact(release):
    listed = json.loads((release / "manifest.json").read_text())["artifacts"]
    assert "sbom.cdx.json" in [artifact["path"] for artifact in listed]


def test_a_function_that_is_too_large_is_not_packaged(tmp_path):
    folder = copy_checkout(tmp_path / "large")
    (folder / "lambdas/trigger_etl/src/ballast.py").write_bytes(os.urandom(101 * 1024))

    packaged = subprocess.run(
        ["make", "--silent", "package-lambda"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert packaged.returncode != 0
    assert "lambdas/trigger_etl.zip" in packaged.stderr and "102400" in packaged.stderr


def test_a_flipped_bit_is_refused_before_anything_is_touched(release, local_aws):
    # GIVEN a release with one bit of one zip flipped
    zip_file = release / "lambdas/trigger_etl.zip"
    whole = zip_file.read_bytes()
    zip_file.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])

    before = resources(local_aws, "qa")

    # WHEN it is deployed by its name
    try:
        done = deploy(release, local_aws, "qa")
    finally:
        zip_file.write_bytes(whole)

    # THEN the deploy names the file, and nothing was made, not even a bucket
    assert done.returncode == 1
    assert "lambdas/trigger_etl.zip: sha256 is" in done.stderr
    assert "FAILED in phase verify_release" in done.stderr
    assert resources(local_aws, "qa") == before


def test_changed_sources_are_refused_outside_dev(local_aws, tmp_path):
    # GIVEN a build of a checkout with a change that is not committed
    folder = copy_checkout(tmp_path / "changed")
    (folder / "lambdas/trigger_etl/src/new.py").write_text("NEW = True\n")
    release = build(folder, "022")
    assert "-dirty-" in release.name
    before = resources(local_aws, "qa")

    # WHEN it is deployed
    done = deploy(release, local_aws, "qa")

    # THEN it is refused, with the remedy
    assert done.returncode == 1
    assert "built from changed sources" in done.stderr and "commit" in done.stderr
    assert "FAILED in phase check_gates" in done.stderr
    assert resources(local_aws, "qa") == before


def deploy(release, local_aws, environment):
    return subprocess.run(
        ["scripts/deploy.sh", "--env", environment, "--version", release.name],
        cwd=release.parents[1],
        env=local_aws.env | {"AWS_PROFILE": environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def resources(local_aws, environment):
    """Return the buckets and stacks of an account, which other tests may have filled."""
    session = local_aws.session(environment)
    buckets = [bucket["Name"] for bucket in session.client("s3").list_buckets()["Buckets"]]
    stacks = session.client("cloudformation").describe_stacks()["Stacks"]
    return sorted(buckets), sorted(stack["StackName"] for stack in stacks)
