"""The Jenkinsfile as it is read: what is no pipeline, or calls no Make target, is refused."""

import pytest

from tests.conftest import REPOSITORY
from tests.pipeline.jenkins import groovy

UPLOAD = 'sh "make upload ENV=dev VERSION=${env.RELEASE}"'

BROKEN = {
    "a section that there is not": (
        "  triggers {",
        "  schedule {",
        "'schedule' does not belong into pipeline",
    ),
    "a misspelt directive": ("  options {\n", "  option {\n", "'option' does not belong into"),
    "a directive in the wrong place": (
        "      steps {\n        checkParameters()",
        "      triggers { cron('') }\n      steps {\n        checkParameters()",
        "'triggers' does not belong into stage",
    ),
    "an option that there is not": (
        "disableConcurrentBuilds()",
        "disableConcurrentBuild()",
        "'disableConcurrentBuild' does not",
    ),
    "an argument that there is not": (
        "returnStdout: true",
        "returnStdOut: true",
        "'sh' takes no 'returnStdOut'",
    ),
    "a step that there is not": (
        "unstash 'release'",
        "unstsh 'release'",
        "no step and no function 'unstsh'",
    ),
    "a function that there is not": (
        "steps { promote('dev', 'qa') }",
        "steps { promot('dev', 'qa') }",
        "'promot'",
    ),
    "a condition that there is not": (
        "branch 'main'",
        "branches 'main'",
        "'branches' does not belong into when",
    ),
    "a post condition that there is not": (
        "unsuccessful {",
        "unsucessful {",
        "'unsucessful' does not",
    ),
    "no agent for the pipeline": ("  agent none", "  // agent none", "pipeline has no 'agent'"),
    "a stage without an agent": (
        "          agent { label 'linux' }\n          steps { promote('dev', 'qa') }",
        "          steps { promote('dev', 'qa') }",
        "steps needs an agent",
    ),
    "a stage without steps": ("steps { sh 'make lint' }", "", "not none"),
    "no stages": (
        "  stages {\n    stage('Parameters') {",
        "  stages {\n  }\n  post {\n    always {",
        "does not belong",
    ),
    "two stages of one name": (
        "stage('Unit Tests')",
        "stage('Code Quality')",
        "two stages are called 'Code Quality'",
    ),
    "an agent around parallel stages": (
        "      parallel {\n        stage('Drift in dev')",
        "      agent any\n      parallel {\n        stage('Drift in dev')",
        "cannot have an agent",
    ),
    "Groovy among steps": (
        "steps { sh 'make lint' }",
        "steps { if (true) { sh 'make lint' } }",
        "only steps do",
    ),
    "a command that is no make": (
        "sh 'make lint'",
        "sh 'scripts/lint.sh'",
        "not one call of a Make target",
    ),
    "a command after make": (
        "sh 'make lint'",
        "sh 'make lint || true'",
        "not one call of a Make target",
    ),
    "a command that is made up as it runs": (
        "sh 'make lint'",
        'sh "make ${env.WHAT}"',
        "not one call of a Make target",
    ),
    "a target that there is not": (
        "sh 'make lint'",
        "sh 'make lnt'",
        "the Makefile has no target 'lnt'",
    ),
    "a variable that there is not": (
        UPLOAD,
        UPLOAD.replace("ENV=", "ENVIRON="),
        "knows no variable 'ENVIRON'",
    ),
    "a brace too few": ("pipeline {", "pipeline ", "Jenkinsfile"),
}


@pytest.fixture(name="faults", scope="module")
def fixture_faults(tmp_path_factory):
    """What the harness has to say about ours and about each broken one, by name."""
    folder = tmp_path_factory.mktemp("jenkinsfiles")
    ours = (REPOSITORY / "Jenkinsfile").read_text(encoding="utf-8")
    (folder / "ours").write_text(ours, encoding="utf-8")
    for name, (old, new, _) in BROKEN.items():
        assert old in ours, f"the Jenkinsfile has changed: break it in another way ({name})"
        (folder / name).write_text(ours.replace(old, new), encoding="utf-8")
    files = ["ours", *BROKEN]
    done = groovy("check.groovy", REPOSITORY / "Makefile", *files, cwd=folder)
    assert done.returncode == 1, done.stderr
    lines = [line.partition(": ") for line in done.stderr.splitlines()]
    return {file: [said for name, _, said in lines if name == file] for file in files}


def test_ours_is_taken(faults):
    assert faults["ours"] == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_refused(name, faults):
    assert any(BROKEN[name][2] in said for said in faults[name]), faults[name]
