"""A run of the tests speaks for a release only if all passed, on a clean checkout of its commit."""

import json
import subprocess

import pytest
from ops.build.version import read_sources
from ops.checks.evidence_of_tests import NoEvidence, begin, count, end

PASSED = (
    '<testsuites><testsuite tests="3" failures="0" errors="0" skipped="0" time="1.5"/>'
    '<testsuite tests="2" failures="0" errors="0" skipped="0" time="0.5"/></testsuites>'
)


def git(repository, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)


@pytest.fixture(name="repository")
def fixture_repository(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (tmp_path / ".gitignore").write_text("/build/\n")
    (tmp_path / "test_all.py").write_text("one")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def run(repository, report=PASSED):
    """Do as make does: begin, test, end."""
    (begin("unit", repository) / "pytest.xml").write_text(report)
    return end("unit", repository)


def test_a_run_that_passed_names_its_commit_and_counts(repository):
    sources = read_sources(repository)
    file = run(repository)
    assert file == repository / f"build/.evidence/tests/unit/{sources.version}.json"
    record = json.loads(file.read_text())
    assert (record["layer"], record["tests"], record["seconds"]) == ("unit", 5, 2.0)
    assert (record["commit"], record["sources"]) == (sources.commit, sources.version)
    assert record["who"] and record["when"]


@pytest.mark.parametrize("what", ["failures", "errors", "skipped"])
def test_one_test_that_did_not_pass_is_enough_for_no_evidence(repository, what):
    with pytest.raises(NoEvidence, match=f"1 {what}"):
        run(repository, PASSED.replace(f'{what}="0"', f'{what}="1"', 1))


def test_a_run_that_was_narrowed_is_no_evidence(repository, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k lock")
    with pytest.raises(NoEvidence, match="PYTEST_ADDOPTS chooses what runs .-k lock.: run without"):
        run(repository)


def test_no_tests_are_no_evidence(repository):
    begin("unit", repository)
    with pytest.raises(NoEvidence, match="0 tests"):
        end("unit", repository)


def test_a_changed_test_is_no_evidence_for_the_commit(repository):
    (repository / "test_all.py").write_text("assert nothing")
    with pytest.raises(NoEvidence, match="has changes"):
        run(repository)


def test_a_change_during_the_run_is_no_evidence(repository):
    (begin("unit", repository) / "pytest.xml").write_text(PASSED)
    (repository / "new.py").write_text("")
    with pytest.raises(NoEvidence, match="has changes"):
        end("unit", repository)


def test_another_commit_during_the_run_is_no_evidence(repository):
    (begin("unit", repository) / "pytest.xml").write_text(PASSED)
    git(repository, "commit", "--allow-empty", "--quiet", "--message", "second")
    with pytest.raises(NoEvidence, match="has changed since"):
        end("unit", repository)


def test_a_run_that_fails_takes_back_what_an_earlier_one_has_left(repository):
    file = run(repository)
    begin("unit", repository)
    assert not file.exists()


def test_an_end_without_a_beginning_is_no_evidence(repository):
    with pytest.raises(NoEvidence, match="was not begun"):
        end("unit", repository)


def test_reports_of_pytest_and_bats_are_added_up(tmp_path):
    (tmp_path / "pytest.xml").write_text(PASSED)
    (tmp_path / "report.xml").write_text('<testsuite tests="4" failures="1" errors="0" time="1"/>')
    found = count(tmp_path)
    assert (found["tests"], found["failures"], found["seconds"]) == (9, 1, 3.0)
