"""Builds of main, against one local AWS with all four accounts.

Each test begins with what the one before has left live, as builds do.
"""

import configparser
import dataclasses
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from ops.data import real_feed

from tests.checkout import commit_all
from tests.conftest import ACCOUNTS, LocalAws
from tests.e2e.reference import expect
from tests.e2e.warehouse import rows_where
from tests.pipeline.conftest import agent_environment
from tests.pipeline.jenkins import Build, Jenkins
from tests.queue_subscription import subscribed

DAY = date(2017, 3, 14)
GATES = {
    "Promote to qa": "qa",
    "Promote to staging": "release-manager",
    "Release Manager Approves": "release-manager",
    "Data Owner Approves": "data-owner",
}


@dataclass
class Company:
    """The accounts that releases go through, and the checkout that they are built from."""

    checkout: Path
    aws: LocalAws
    jenkins: Jenkins

    def make(self, *arguments: str) -> str:
        """Run make in the checkout; return what it printed."""
        done = subprocess.run(
            ["make", "--silent", *arguments],
            cwd=self.checkout,
            env=self.jenkins.env,
            text=True,
            capture_output=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def query(self, sql: str, env: str) -> list[str]:
        """Return the lines of CSV that a query gives, its header not among them."""
        return self.make("query", f"ENV={env}", f"SQL={sql}").splitlines()[1:]

    def live(self, environment: str) -> str:
        """Return the release that is live, as AWS says it."""
        client = self.aws.session(environment).client("stepfunctions")
        machine = (
            f"arn:aws:states:us-east-1:{ACCOUNTS[environment]}:stateMachine:"
            f"retail-pipeline-{environment}-etl"
        )
        try:
            alias = client.describe_state_machine_alias(stateMachineAliasArn=f"{machine}:live")
        except client.exceptions.ResourceNotFound:
            return ""
        (route,) = alias["routingConfiguration"]
        version = client.describe_state_machine(stateMachineArn=route["stateMachineVersionArn"])
        return version["description"]

    def manifest(self, environment: str, version: str) -> bytes:
        """Return the manifest of a release as it lies in an environment's bucket."""
        bucket = f"retail-pipeline-{environment}-artifacts-{ACCOUNTS[environment]}"
        s3 = self.aws.session(environment).client("s3")
        return s3.get_object(Bucket=bucket, Key=f"releases/{version}/manifest.json")["Body"].read()

    def approvals(self, version: str) -> set[str]:
        """Return the roles whose approval of a release is on record in prod."""
        bucket = f"retail-pipeline-prod-artifacts-{ACCOUNTS['prod']}"
        s3 = self.aws.session("prod").client("s3")
        found = s3.list_objects_v2(Bucket=bucket, Prefix="evidence/approvals/").get("Contents", [])
        keys = [item["Key"].split("/") for item in found]
        return {role for *_, role, name in keys if name == f"{version}.json"}

    def alarms(self, environment: str):
        """Return a context that gives what the environment's alarms topic says from now on."""
        topic = (
            f"arn:aws:sns:us-east-1:{ACCOUNTS[environment]}:retail-pipeline-{environment}-alarms"
        )
        return subscribed(self.aws.session(environment), topic, "pipeline-test-alarms")

    def another_release(self, file: str, old: str, new: str) -> str:
        """Upload to dev what a change of one file makes of the release; return its version."""
        path = self.checkout / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} has changed: make another release in another way"
        path.write_text(text.replace(old, new), encoding="utf-8")
        commit_all(self.checkout, f"Change {file}")
        version = self.make("build")
        self.make("upload", "ENV=dev", f"VERSION={version}")
        path.write_text(text, encoding="utf-8")
        commit_all(self.checkout, f"Change {file} back")
        return version


@pytest.fixture(name="company", scope="module")
def fixture_company(jenkins, local_aws) -> Company:
    """Four accounts in which nothing is deployed yet."""
    env = agent_environment(LOCALAWS_HOME=str(local_aws.home), LOCALAWS_PORT=str(local_aws.port))
    reaching = dataclasses.replace(jenkins, env=env)
    return Company(jenkins.checkout, local_aws, reaching)


@pytest.fixture(name="green", scope="module")
def fixture_green(company) -> Build:
    """The whole way: a commit of main, from its checks to prod, every gate opened."""
    build = company.jenkins.build(TARGET="local", AUDIT=False, answers=dict.fromkeys(GATES, "yes"))
    assert build.result == "SUCCESS", build.log
    return build


@pytest.fixture(name="version", scope="module")
def fixture_version(green) -> str:
    """The release of the green build."""
    (manifest,) = green.archive.glob("build/*/manifest.json")
    return manifest.parent.name


def test_a_commit_goes_all_the_way_in_this_order(green, version):
    assert [
        c for c in green.commands if not c.startswith(("make package", "make --silent live"))
    ] == [
        "make lint",
        "make unit",
        "make --silent build",
        f"make upload ENV=dev VERSION={version}",
        f"make infra ENV=dev VERSION={version}",
        f"make app ENV=dev VERSION={version}",
        "make integration",
        "make release-test",
        f"make upload ENV=dev VERSION={version}",
        "make smoke ENV=dev",
        "make postcheck ENV=dev",
        f"make promote FROM=dev TO=qa VERSION={version}",
        "make postcheck ENV=qa",
        f"make promote FROM=qa TO=staging VERSION={version}",
        "make postcheck ENV=staging",
        f"make approve ENV=prod ROLE=release-manager VERSION={version}",
        f"make approve ENV=prod ROLE=data-owner VERSION={version}",
        f"make promote FROM=staging TO=prod VERSION={version}",
        "make postcheck ENV=prod",
    ]
    assert green.gates == {stage: f"{who}: yes" for stage, who in GATES.items()}


def test_the_same_bytes_are_live_in_all_four(company, green, version):
    (archived,) = green.archive.glob("build/*/manifest.json")
    digest = hashlib.sha256(archived.read_bytes()).hexdigest()
    for environment in ACCOUNTS:
        found = hashlib.sha256(company.manifest(environment, version)).hexdigest()
        assert found == digest, environment
        assert company.live(environment) == version
    assert company.approvals(version) == {"data-owner", "release-manager"}


@pytest.mark.usefixtures("green")
def test_prod_loads_a_day_of_the_real_feed(company, tmp_path):
    # GIVEN prod after the green build, and what plain Python says of a day's file
    (day,) = real_feed.PRODUCTS.files([DAY])
    file = Path(shutil.copy(day, tmp_path))
    expected = expect(file)
    assert expected.loaded > 1000

    # WHEN it arrives there, THEN the table holds exactly those rows
    company.make("feed", "ENV=prod", f"FILE={file}")
    assert rows_where(company, "product_id > 0", "prod") == expected.fingerprint()


@pytest.mark.usefixtures("green")
def test_the_nightly_run_tells_of_drift(company):
    # GIVEN accounts that are as they were deployed, WHEN the night comes, THEN nobody is told
    with company.alarms("prod") as told:
        quiet = company.jenkins.build(cause="TimerTrigger", TARGET="local")
        assert quiet.result == "SUCCESS", quiet.log
        assert sorted(quiet.commands) == sorted(f"make drift ENV={name}" for name in ACCOUNTS)
        assert told() == []

        # AND WHEN somebody changes a function of prod by hand, THEN those on duty are told
        functions = company.aws.session("prod").client("lambda")
        name = {"FunctionName": "retail-pipeline-prod-validate-input"}
        before = functions.get_function_configuration(**name)["Timeout"]
        functions.update_function_configuration(**name, Timeout=before + 1)
        found = company.jenkins.build(cause="TimerTrigger", TARGET="local")
        functions.update_function_configuration(**name, Timeout=before)
        (message,) = told()
    assert found.result == "FAILURE"
    assert found.failed == ["make drift ENV=prod"]
    assert found.stages("failed") == ["Drift in prod", "Nightly Drift"]
    assert message.startswith("Drift")


def credential(aws: LocalAws, folder: Path, environment: str) -> Path:
    """Write the AWS configuration that Jenkins keeps for an environment: one profile, its own."""
    known, keys, kept = (configparser.RawConfigParser() for _ in range(3))
    known.read(aws.env["AWS_CONFIG_FILE"])
    keys.read(aws.env["AWS_SHARED_CREDENTIALS_FILE"])
    section = f"profile {environment}"
    kept[section] = {**known[section], **keys[environment]}
    file = folder / f"aws-{environment}"
    with file.open("w", encoding="utf-8") as stream:
        kept.write(stream)
    return file


@pytest.mark.usefixtures("green")
def test_accounts_are_reached_by_the_credentials_that_jenkins_lends(company, tmp_path):
    # GIVEN the release that is live, and secret files with a profile each
    live = company.live("dev")
    dev, qa = (credential(company.aws, tmp_path, name) for name in ("dev", "qa"))
    request = {"TARGET": "aws", "VERSION": live, "DEPLOY_TO": "dev"}

    # WHEN none is kept, or that of another account under this one's name, THEN nothing is touched
    none = company.jenkins.build(**request)
    assert none.result == "FAILURE" and none.commands == []
    assert "Could not find credentials entry with ID 'aws-dev-deployer'" in none.log
    qa_file = tmp_path / "qa-as-dev"
    qa_file.write_text(qa.read_text("utf-8").replace("profile qa", "profile dev"), "utf-8")
    other = company.jenkins.build(**request, credentials={"aws-dev-deployer": qa_file})
    assert other.result == "FAILURE"
    assert "dev is configured for account 111111111111" in other.log

    # WHEN it is the right one, THEN the build reaches the account with it, and with no other
    build = company.jenkins.build(**request, credentials={"aws-dev-deployer": dev})
    assert build.result == "SUCCESS", build.log
    lent = {event["credential"] for event in build.events if "credential" in event}
    assert lent == {"aws-dev-deployer"}
    assert f"make app ENV=dev VERSION={live}" in build.commands


def test_a_rejected_gate_leaves_prod_as_it_is(company, version):
    # GIVEN another release
    other = company.another_release(
        "config/common/settings.yaml", "smoke_timeout_seconds: 300", "smoke_timeout_seconds: 301"
    )

    # WHEN it is sent on, and of the two who are asked for prod one says no
    answers = dict.fromkeys(GATES, "yes") | {"Data Owner Approves": "no"}
    build = company.jenkins.build(TARGET="local", VERSION=other, answers=answers)

    # THEN it is live up to staging, prod was not touched, and the one approval is on record
    assert build.result == "ABORTED", build.log
    assert [company.live(environment) for environment in ACCOUNTS] == [other] * 3 + [version]
    assert [c for c in build.commands if "=prod" in c] == [
        f"make approve ENV=prod ROLE=release-manager VERSION={other}"
    ]
    assert company.approvals(other) == {"release-manager"}
    assert "Commit" in build.stages("skipped"), "a release of the past is not built again"


@pytest.mark.usefixtures("green")
def test_what_fails_after_the_switch_goes_back_and_is_told(company):
    # GIVEN a release whose trigger reads its version from the ARN that it is called by: the smoke
    # test before the switch passes, and the one after it, by alias, does not
    before = company.live("dev")
    broken = company.another_release(
        "lambdas/trigger_etl/src/trigger_etl.py",
        "bind(bucket=bucket, key=key)",
        'bind(version=int(_context.invoked_function_arn.rpartition(":")[2]))',
    )

    # WHEN it is sent to dev
    with company.alarms("dev") as told:
        build = company.jenkins.build(TARGET="local", VERSION=broken, DEPLOY_TO="dev")
        messages = [message for message in told() if message.startswith("Release")]

    # THEN live is the release before again, which loads rows, and those on duty know
    assert build.result == "FAILURE"
    assert build.failed == ["make smoke ENV=dev"], build.log
    assert build.stages("failed") == ["Smoke Tests", "Dev"]
    assert build.commands[-2:] == [
        f"make rollback ENV=dev TO={before}",
        "make notify ENV=dev",
    ]
    assert company.live("dev") == before
    company.make("smoke", "ENV=dev")
    (message,) = messages
    assert f"{broken} failed in Smoke Tests: live is {before} again." in message


@pytest.mark.usefixtures("green")
def test_what_fails_before_the_switch_leaves_live_and_is_told(company):
    # GIVEN a release whose job throws
    before = company.live("dev")
    broken = company.another_release(
        "glue-jobs/src/etl_main.py", "\nimport json\n", "\nraise RuntimeError('broken')\n"
    )
    with company.alarms("dev") as told:
        build = company.jenkins.build(TARGET="local", VERSION=broken, DEPLOY_TO="dev")
        messages = [message for message in told() if message.startswith("Release")]
    assert build.failed == [f"make app ENV=dev VERSION={broken}"], build.log
    assert not [command for command in build.commands if "rollback" in command]
    assert company.live("dev") == before
    (message,) = messages
    assert f"failed in Deploy Application: live is {before}, as before." in message
