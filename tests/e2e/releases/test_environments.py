"""Environments live side by side: each in an account of its own, with rows of its own."""

import pytest

from tests.checkout import commit_all, copy_checkout
from tests.e2e.one_row import a_file
from tests.e2e.project import Project
from tests.e2e.reference import expect
from tests.e2e.warehouse import rows_where


@pytest.fixture(name="qa")
def fixture_qa(project, tmp_path) -> Project:
    """What is under test, deployed to qa too, which takes no changed sources."""
    clean = Project(copy_checkout(tmp_path / "clean"), project.aws)
    commit_all(clean.folder, "What is tested")
    deployed = clean.make("deploy", "ENV=qa")
    assert deployed.returncode == 0, deployed.stderr
    return clean


def test_a_file_is_loaded_in_its_own_environment_and_in_no_other(project, qa, tmp_path):
    # GIVEN a file for each of two environments
    files = {"dev": a_file(tmp_path, 20180301, rows=2), "qa": a_file(tmp_path, 20180302, rows=3)}

    # WHEN each is fed to its own
    for env, file in files.items():
        fed = (qa if env == "qa" else project).feed(file, env)
        assert fed.returncode == 0, fed.stderr

    # THEN its rows are there, and those of the other are not
    both = "product_id in (20180301, 20180302)"
    for env, file in files.items():
        assert rows_where(project, both, env) == expect(file).fingerprint()
