"""One build goes through all environments: the same bytes, refused wherever it has not earned it.

Before the tests that make runs fail by name: an environment whose alarms ring passes no checks.
"""

import hashlib
import json
import shutil
import subprocess
from datetime import date

import pytest
from ops.data import real_feed

from tests.checkout import copy_checkout
from tests.conftest import ACCOUNTS
from tests.e2e.project import Project
from tests.e2e.reference import expect
from tests.e2e.warehouse import table

DAY = date(2017, 3, 16)
# The whole layer would take minutes; how it leaves its evidence is the same for one file of it.
LAYER = "tests/integration/test_notify.py"


def git(folder, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(name="checkout")
def fixture_checkout(project, tmp_path):
    """A clean clone, in which prod asks for a layer of tests that takes seconds."""
    folder = copy_checkout(tmp_path / "clean")
    for file in folder.glob("tests/integration/test_*.py"):
        if file != folder / LAYER:
            file.unlink()
    for file in folder.glob("glue-jobs/tests/whole_job/test_*.py"):
        file.unlink()
    settings = folder / "config/prod/settings.yaml"
    text = settings.read_text(encoding="utf-8")
    assert "tests: [unit, integration, release-test]" in text
    settings.write_text(
        text.replace("tests: [unit, integration, release-test]", "tests: [integration]")
    )
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Tests that take seconds")
    return Project(folder, project.aws)


def bucket(env):
    return f"retail-pipeline-{env}-artifacts-{ACCOUNTS[env]}"


def s3(project, env):
    return project.aws.session(env).client("s3")


def is_untouched(project, env):
    """Return whether nothing was ever deployed to an environment."""
    return bucket(env) not in [one["Name"] for one in s3(project, env).list_buckets()["Buckets"]]


def manifest_sha256(project, env, version):
    found = s3(project, env).get_object(Bucket=bucket(env), Key=f"releases/{version}/manifest.json")
    return hashlib.sha256(found["Body"].read()).hexdigest()


def make(checkout, *arguments):
    done = checkout.make(*arguments)
    assert done.returncode == 0, done.stderr
    return done


def refused(checkout, *arguments):
    """Return what a command says that must not do what it is told."""
    done = checkout.make(*arguments)
    assert done.returncode == 2 and done.stdout == "", done.stdout + done.stderr
    return done.stderr


def test_one_build_reaches_prod_step_by_step(checkout):  # pylint: disable=too-many-statements
    # GIVEN one build, live in dev
    make(checkout, "deploy", "ENV=dev")
    (version,) = [folder.name for folder in (checkout.folder / "build").glob("[!.]*")]
    sha256 = manifest_sha256(checkout, "dev", version)

    # THEN prod takes it from nobody, and says all that is missing
    said = refused(checkout, "deploy", "ENV=prod", f"VERSION={version}")
    for command in (
        f"make promote FROM=staging TO=prod VERSION={version}",
        "make integration on a clean checkout",
        f"make approve ENV=prod ROLE=release-manager VERSION={version}",
        f"make approve ENV=prod ROLE=data-owner VERSION={version}",
    ):
        assert command in said
    assert is_untouched(checkout, "prod")

    # AND nothing is built from here on: promotions take it from the bucket where it has passed
    shutil.rmtree(checkout.folder / "build" / version)

    # WHEN it has not passed its checks in dev, THEN it is not promoted; when it has, it is
    assert "has not passed its checks in dev" in refused(checkout, "promote", "FROM=dev", "TO=qa")
    assert is_untouched(checkout, "qa")
    make(checkout, "postcheck", "ENV=dev")
    make(checkout, "promote", "FROM=dev", "TO=qa")

    # WHEN somebody changes an artifact in qa's bucket, THEN staging is not touched
    assert "has not passed its checks in qa" in refused(
        checkout, "promote", "FROM=qa", "TO=staging"
    )
    make(checkout, "postcheck", "ENV=qa")
    key, qa = f"releases/{version}/glue/etl_main.py", s3(checkout, "qa")
    changed = qa.put_object(Bucket=bucket("qa"), Key=key, Body=b"print('not what was tested')")
    said = refused(checkout, "promote", "FROM=qa", "TO=staging")
    assert "glue/etl_main.py: sha256 is" in said
    assert is_untouched(checkout, "staging")
    qa.delete_object(Bucket=bucket("qa"), Key=key, VersionId=changed["VersionId"])
    make(checkout, "promote", "FROM=qa", "TO=staging")
    make(checkout, "postcheck", "ENV=staging")

    # WHEN tests and approvals are missing, THEN prod refuses, and takes it once it has them
    said = refused(checkout, "promote", "FROM=staging", "TO=prod")
    assert "make integration" in said and said.count("make approve ENV=prod") == 2
    assert is_untouched(checkout, "prod")
    make(checkout, "integration")
    for role in ("release-manager", "data-owner"):
        make(checkout, "approve", "ENV=prod", f"ROLE={role}", f"VERSION={version}")
    make(checkout, "preflight", "ENV=prod", f"VERSION={version}")
    make(checkout, "promote", "FROM=staging", "TO=prod")

    # THEN the same manifest is in all four buckets, with what spoke for it on the way
    assert [manifest_sha256(checkout, env, version) for env in ACCOUNTS] == [sha256] * 4
    for kind, env in (
        ("tests/integration", ""),
        ("promotion", "staging"),
        ("approvals/data-owner", "prod"),
    ):
        found = s3(checkout, "prod").get_object(
            Bucket=bucket("prod"), Key=f"evidence/{kind}/{version}.json"
        )
        record = json.load(found["Body"])
        assert (record["version"], record["manifest_sha256"]) == (version, sha256)
        assert record.get("environment", "") == env

    # AND prod loads a day of the real feed whole
    (day,) = real_feed.PRODUCTS.files([DAY])
    fed = checkout.feed(day, "prod")
    assert fed.returncode == 0, fed.stderr
    assert table(checkout, day, "prod") == expect(day).fingerprint()
