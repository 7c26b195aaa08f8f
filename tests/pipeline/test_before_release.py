"""Builds that end before anything is released: none of them may reach AWS, and there is none."""

import dataclasses
import json

import pytest
from tests.checkout import commit_all, copy_checkout

CHECKS = ["make lint", "make unit"]
PACKAGES = {"make package-glue", "make package-lambda"}
BUILD = "make --silent build"


@pytest.mark.parametrize(
    ("branch", "parameters", "says"),
    [
        ("main", {"VERSION": "../../etc"}, "VERSION '../../etc' must be 1 to 64 letters"),
        ("main", {"VERSION": "v1; true"}, "VERSION 'v1; true' must be 1 to 64 letters"),
        ("feature/x", {"VERSION": "v1"}, "leave it empty on feature/x"),
        ("main", {"TARGET": "aws", "AUDIT": False}, "AUDIT may be left out with TARGET=local only"),
        ("main", {"DEPLOY_TO": "production"}, "Illegal choice for parameter DEPLOY_TO: production"),
        ("main", {"STRATEGY": "big-bang"}, "Illegal choice for parameter STRATEGY: big-bang"),
        ("main", {"DEPLOY": "prod"}, "no such parameter: DEPLOY"),
    ],
)
def test_a_wrong_parameter_is_refused_at_the_start(jenkins, branch, parameters, says):
    build = jenkins.build(branch=branch, **{"TARGET": "local"} | parameters)
    assert build.result in ("FAILURE", "NOT_BUILT")
    assert says in build.log
    assert build.commands == []


def test_a_feature_branch_stops_after_its_build(jenkins):
    # WHEN a branch is built that is not main
    build = jenkins.build(branch="feature/x", TARGET="local", AUDIT=False)

    # THEN its checks, its tests and both packages are made, and a release of them
    assert build.result == "SUCCESS", build.log
    assert build.commands[:2] == CHECKS
    assert set(build.commands[2:4]) == PACKAGES
    assert build.commands[4:] == [BUILD]
    assert "glue was packaged before" in build.log and "lambda was packaged before" in build.log
    (tests,) = [event for event in build.events if "tests" in event]
    assert tests["tests"] > 0 and tests["failed"] == 0
    (manifest,) = build.archive.glob("build/*/manifest.json")
    assert json.loads(manifest.read_text("utf-8"))["version"] == manifest.parent.name
    assert (manifest.parent / "sbom.cdx.json").is_file()

    # AND nothing else; what was switched off is named
    assert build.stages("skipped") == ["Nightly Drift", "Dependency Audit", "Dev", "Promotion"]
    assert build.gates == {}


def test_a_failing_unit_test_stops_the_build(jenkins, tmp_path):
    # GIVEN a commit whose archives only their owner can read
    checkout = copy_checkout(tmp_path / "checkout", jenkins.checkout)
    source = checkout / "scripts/ops/build/zip_tree.py"
    text = source.read_text(encoding="utf-8")
    assert "FILE_MODE = 0o100644" in text
    source.write_text(text.replace("FILE_MODE = 0o100644", "FILE_MODE = 0o100600"), "utf-8")
    commit_all(checkout, "Break the archives")

    # WHEN it is built on main
    broken = dataclasses.replace(jenkins, checkout=checkout, folder=tmp_path / "jenkins")
    build = broken.build(TARGET="local", AUDIT=False)

    # THEN it ends there, the report of the tests is kept, nothing is packaged or uploaded
    assert build.result == "FAILURE"
    assert build.commands == CHECKS and build.failed == ["make unit"]
    assert [event["failed"] > 0 for event in build.events if "tests" in event] == [True]
    assert build.stages("failed") == ["Unit Tests", "Commit"]
