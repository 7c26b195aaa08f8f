"""Approving a release, and fetching one to promote it: what is written, and what is refused."""

import json
import shutil
import subprocess

import pytest
from ops.build.manifest import MANIFEST, artifacts, sha256
from ops.environment import Environment
from ops.release.releases import upload

from tests.buckets import remove_bucket
from tests.conftest import REPOSITORY

STAGING = "retail-pipeline-staging-artifacts-333333333333"
PROD = "retail-pipeline-prod-artifacts-444444444444"
ROLE, VERSION = "data-owner", "20170115-promotion"


@pytest.fixture(name="release", scope="module")
def fixture_release(tmp_path_factory):
    """A small release: prod's configuration and the template of the bucket for releases."""
    root = tmp_path_factory.mktemp("release") / VERSION
    (root / "cloudformation").mkdir(parents=True)
    (root / "config").mkdir()
    shutil.copy(REPOSITORY / "cloudformation/artifacts.yaml", root / "cloudformation")
    (root / "config/prod.json").write_text(json.dumps(Environment.load("prod").config))
    manifest = {
        "version": VERSION,
        "sources": VERSION,
        "commit": "0123456789abcdef",
        "dirty": False,
        "artifacts": [{"path": path, "sha256": sha256(root / path)} for path in artifacts(root)],
    }
    (root / MANIFEST).write_text(json.dumps(manifest))
    return root


@pytest.fixture(name="staging")
def fixture_staging(local_aws, release):
    """An S3 client of staging, whose bucket holds the release and evidence that it has passed."""
    s3 = local_aws.session("staging").client("s3")
    s3.create_bucket(Bucket=STAGING)
    upload(release, STAGING, s3)
    passed(s3, sha256(release / MANIFEST))
    yield s3
    remove_bucket(s3, STAGING)


@pytest.fixture(name="prod")
def fixture_prod(local_aws):
    """An S3 client of prod, where nothing has been deployed; what a test makes is removed."""
    session = local_aws.session("prod")
    s3, cloudformation = session.client("s3"), session.client("cloudformation")
    yield s3
    cloudformation.delete_stack(StackName="retail-pipeline-prod-artifacts")
    remove_bucket(s3, PROD)


def passed(s3, manifest_sha256, **changes):
    """Write the record of a postcheck in staging."""
    record = {"passed": True, "checks": [], "when": "2017-01-15T06:30:00+00:00"}
    record |= {"version": VERSION, "manifest_sha256": manifest_sha256} | changes
    key = f"evidence/postcheck/{VERSION}.json"
    s3.put_object(Bucket=STAGING, Key=key, Body=json.dumps(record).encode())


def buckets(s3):
    return [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def approval(s3, role=ROLE):
    key = f"evidence/approvals/{role}/{VERSION}.json"
    return json.load(s3.get_object(Bucket=PROD, Key=key)["Body"])


@pytest.fixture(name="run")
def fixture_run(local_aws):
    """A function that runs a command with prod's credentials."""

    def run(*command, **env):
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env=local_aws.env | {"AWS_PROFILE": "prod", "STACK_POLL_SECONDS": "0.2"} | env,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    return run


def approve(run, role=ROLE, version=VERSION, env="prod"):
    return run("scripts/approve.sh", "--env", env, "--role", role, "--version", version)


# ---- approving -----------------------------------------------------------------------------------


def test_an_approval_before_the_first_deploy_makes_its_bucket(run, staging, prod, release):
    assert "Contents" in staging.list_objects_v2(Bucket=STAGING) and PROD not in buckets(prod)

    done = approve(run)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"s3://{PROD}/evidence/approvals/{ROLE}/{VERSION}.json"
    record = approval(prod)
    assert record["manifest_sha256"] == sha256(release / MANIFEST)
    assert record["who"] == "arn:aws:iam::444444444444:user/admin"
    assert (record["role"], record["version"], record["environment"]) == (ROLE, VERSION, "prod")
    assert record["when"]
    # The bucket is the template's own, and another approval leaves it alone.
    assert prod.get_bucket_versioning(Bucket=PROD)["Status"] == "Enabled"
    again = approve(run, "release-manager")
    assert again.returncode == 0, again.stderr
    assert "retail-pipeline-prod-artifacts" not in again.stderr
    assert approval(prod, "release-manager")["manifest_sha256"] == record["manifest_sha256"]


def test_an_approval_ends_with_the_bytes_that_it_is_for(run, staging, prod, release, tmp_path):
    assert approve(run).returncode == 0

    def gates(root):
        return run("python", "-m", "ops.release.gates", "--env", "prod", str(root)).stderr

    assert ROLE not in gates(release)
    other = shutil.copytree(release, tmp_path / "other")
    manifest = other / MANIFEST
    manifest.write_text(manifest.read_text() + "\n")
    assert f"the approval of the {ROLE} is for another manifest of {VERSION}" in gates(other)
    assert staging and prod


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"role": "boss"}, "it asks for: release-manager, data-owner"),
        ({"env": "staging"}, "the credentials are of account 444444444444; staging is configured"),
        ({"version": "no-such"}, f"{STAGING}: {VERSION}"),
    ],
)
def test_what_nobody_knows_is_refused_with_what_is_known(options, says, run, staging, prod):
    done = approve(run, **options)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert staging and PROD not in buckets(prod)


def test_a_changed_artifact_is_not_approved(run, staging, prod):
    key = f"releases/{VERSION}/config/prod.json"
    staging.put_object(Bucket=STAGING, Key=key, Body=b"{}")
    done = approve(run)
    assert done.returncode == 1
    assert "config/prod.json: sha256 is" in done.stderr
    assert PROD not in buckets(prod)


# ---- promoting -----------------------------------------------------------------------------------


def promote(run, tmp_path, origin="staging", to="prod", **env):
    options = ("--from", origin, "--to", to, "--version", VERSION, str(tmp_path))
    return run("python", "-m", "ops.release.promotion", *options, **env)


def test_what_has_passed_is_fetched_from_where_it_passed(run, staging, release, tmp_path):
    done = promote(run, tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, VERSION), done.stderr
    assert "read as arn:aws:iam::333333333333:user/admin" in done.stderr
    fetched = tmp_path / VERSION
    assert {path: sha256(fetched / path) for path in artifacts(fetched)} == {
        path: sha256(release / path) for path in artifacts(release)
    }
    assert staging


def remove_evidence(s3, _):
    s3.delete_object(Bucket=STAGING, Key=f"evidence/postcheck/{VERSION}.json")


def fail_checks(s3, manifest_sha256):
    passed(s3, manifest_sha256, passed=False, checks=[{"name": "alarms", "passed": False}])


def change_evidence(s3, _):
    passed(s3, "0" * 64)


def change_artifact(s3, _):
    s3.put_object(Bucket=STAGING, Key=f"releases/{VERSION}/config/prod.json", Body=b"{}")


def remove_artifact(s3, _):
    s3.delete_object(Bucket=STAGING, Key=f"releases/{VERSION}/config/prod.json")


def remove_release(s3, _):
    s3.delete_object(Bucket=STAGING, Key=f"releases/{VERSION}/{MANIFEST}")


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (remove_evidence, f"{VERSION} has not passed its checks in staging: make deploy"),
        (fail_checks, "has failed its checks in staging at 2017-01-15T06:30:00+00:00: alarms"),
        (change_evidence, f"the one that passed its checks there is {'0' * 64}"),
        (change_artifact, "config/prod.json: sha256 is"),
        (remove_artifact, "config/prod.json: in the manifest but not there"),
        (remove_release, "there is no manifest.json"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_has_not_passed_as_it_is_now_is_refused(
    break_it, says, run, staging, release, tmp_path
):  # pylint: disable=too-many-arguments,too-many-positional-arguments
    break_it(staging, sha256(release / MANIFEST))
    done = promote(run, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr


@pytest.mark.parametrize(("origin", "to"), [("dev", "prod"), ("prod", "staging"), ("qa", "dev")])
def test_another_way_than_the_promotion_path_is_refused(origin, to, run, tmp_path):
    done = promote(run, tmp_path, origin, to)
    assert done.returncode == 1
    assert "the path is dev -> qa -> staging -> prod" in done.stderr


def test_the_profile_of_the_environment_before_can_be_named(run, staging, tmp_path):
    done = promote(run, tmp_path, FROM_PROFILE="qa")
    assert done.returncode == 1
    assert "of account 222222222222; staging is configured for account 333333333333" in done.stderr
    done = promote(run, tmp_path, FROM_PROFILE="nobody")
    assert "there is none called nobody: name it, FROM_PROFILE=<profile>" in done.stderr
    assert staging
