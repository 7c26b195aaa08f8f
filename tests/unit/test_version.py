"""A release's name follows from the commit and from what differs from it."""

import subprocess

import pytest
from ops.build.version import VersionError, read_sources


def git(repository, *arguments):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)


@pytest.fixture(name="repository")
def fixture_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2017-01-15T23:30:00 -0200")  # the 16th in UTC
    (tmp_path / "lambdas").mkdir()
    (tmp_path / "lambdas/a.py").write_text("one")
    (tmp_path / "README.md").write_text("read me")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_clean_checkout_is_named_by_commit_and_its_utc_date(repository):
    sources = read_sources(repository)
    assert sources.version == f"20170116-{sources.commit[:12]}"


def test_changed_readme_is_no_other_release(repository):
    clean = read_sources(repository).version
    (repository / "README.md").write_text("read me again")
    assert read_sources(repository).version == clean


@pytest.mark.parametrize("staged", [False, True])
def test_each_change_of_a_source_has_a_name_of_its_own(repository, staged):
    names = [read_sources(repository).version]
    for name, content in (("a.py", "two"), ("a.py", "three"), ("new.py", "")):
        (repository / "lambdas" / name).write_text(content)
        if staged:
            git(repository, "add", "--all")
        names.append(read_sources(repository).version)
    (repository / "lambdas/a.py").unlink()
    names.append(read_sources(repository).version)
    assert len(set(names)) == 5
    assert all("-dirty-" in name for name in names[1:])


def test_other_locked_tools_make_another_release(repository):
    clean = read_sources(repository).version
    (repository / "requirements").mkdir()
    (repository / "requirements/glue.txt").write_text("setuptools==1")
    assert read_sources(repository).version != clean


def test_change_taken_back_gives_the_first_name_again(repository):
    clean = read_sources(repository).version
    (repository / "lambdas/a.py").write_text("two")
    (repository / "lambdas/a.py").write_text("one")
    assert read_sources(repository).version == clean


def test_what_is_set_at_run_time_is_a_change(repository, monkeypatch):
    clean = read_sources(repository).version
    names = {clean}
    for value in ("release.keep_releases=7", "release.keep_releases=8"):
        monkeypatch.setenv("SET", value)
        names.add(read_sources(repository).version)
    assert len(names) == 3
    assert all("-dirty-" in name for name in names - {clean})


def test_folder_outside_git_is_an_error_in_gits_words(tmp_path):
    with pytest.raises(VersionError, match="not a git repository"):
        read_sources(tmp_path)
