"""The checks before a deploy: is the release fit for the environment, and that for the release?

All of them are made, each is a line; one that fails says what to do. What the first deploy will
make, such as roles and the warehouse, is said to be missing, which is no failure.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from botocore.exceptions import ClientError

from ops.aws import is_missing
from ops.build.manifest import verify
from ops.checks.credentials_check import findings
from ops.data.warehouse import Warehouse, administrator_secret
from ops.environment import STACKS, Environment, OperationError, command
from ops.release import evidence, gates, lock
from ops.release.caller_permissions import require_permissions
from ops.release.checklist import Check, make_all, require
from ops.release.evidence import BUILDS, Release
from ops.release.live import live_release
from ops.release.lookup import fetch_or_refuse
from ops.release.permissions import denials, roles
from ops.release.releases import stored_checksum, checksum
from ops.release.stacks import stack_request
from ops.release.target import caller

# CloudFormation's limit for a template that is sent with the call, as deploy does.
MAX_TEMPLATE_BYTES = 51_200
CODE_HEADROOM = 0.9  # of Lambda's code storage: a deploy adds a few megabytes
NOTHING_YET = "nothing is deployed yet: the first deploy makes it"
AT_REST = ("COMPLETE", "FAILED")
DEAD = ("UPDATE_ROLLBACK_FAILED", "DELETE_FAILED")


class Preflight:
    """The checks of one release for one environment."""

    def __init__(self, environment: Environment, root: Path):
        self._environment = environment
        self._root = root
        self._release = Release.of(root)
        self._config = root / "config" / f"{environment.name}.json"
        self._stacks = dict(self._stack_states())

    def checks(self) -> Iterator[Check]:
        """Yield the checks, in the order of the runbook."""
        name, version = self._environment.name, self._release.version
        settings = f"config/{name}/settings.yaml"
        deploy = f"make deploy ENV={name}"
        yield Check(
            "account",
            lambda: caller(self._environment),
            f"choose credentials of the right account (AWS_PROFILE), or correct {settings}",
        )
        yield Check(
            "permissions",
            lambda: require_permissions(self._environment, caller(self._environment)),
            "have the caller's policies allow it, or choose other credentials (AWS_PROFILE)",
        )
        yield Check(
            "lock",
            self._lock,
            f"wait for it; if you know that it is dead: BREAK_LOCK=1 {deploy}",
        )
        yield Check(
            "artifacts",
            self._artifacts,
            "a version is written once: build a new one, and never change one that was uploaded",
        )
        yield Check(
            "sources",
            lambda: require(
                gates.dirty_faults(self._environment, self._release),
                f"commit {self._release.commit[:12]}{', changed' if self._release.dirty else ''}",
            ),
            "commit the changes and build again",
        )
        yield Check("tests", self._tests, "run them on a clean checkout of the release's commit")
        yield Check(
            "promotion",
            self._promotion,
            "have it pass its checks in the environment before (make postcheck), then promote it",
        )
        yield Check(
            "approvals", self._approvals, f"make approve ENV={name} ROLE=<role> VERSION={version}"
        )
        yield Check("templates", self._templates, "correct the template or its parameters")
        yield Check("stacks", self._at_rest, "wait, or bring the stack to rest in CloudFormation")
        yield Check("roles", self._roles, f"see who changed the role (make drift ENV={name})")
        yield Check(
            "warehouse",
            self._warehouse,
            "see the workgroup's status, its network and the administrator's secret",
        )
        yield Check("services", self._services, f"{deploy} mends what is missing")
        yield Check(
            "secrets",
            self._secrets,
            "restore the secret or cancel the key's deletion before anything else",
        )
        yield Check(
            "configuration",
            lambda: require(findings(self._config), f"no credentials in {self._config.name}"),
            "take it out, keep it in Secrets Manager, and replace it: it has been in git",
        )
        yield Check("quotas", self._quotas, "remove old releases, or ask AWS for more")

    # ---- the release ---------------------------------------------------------------------------

    def _artifacts(self) -> str:
        manifest = verify(self._root)
        environment, file = self._environment, self._root / "manifest.json"
        key = f"releases/{self._release.version}/manifest.json"
        try:
            there = stored_checksum(environment.client("s3"), environment.artifact_bucket, key)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise
            there = None
        if there not in (None, checksum(file)):
            raise OperationError(
                f"s3://{environment.artifact_bucket}/{key} is another manifest than "
                f"{self._release.manifest_sha256}"
            )
        state = "uploaded" if there else "not uploaded yet"
        return (
            f"{len(manifest['artifacts'])} match manifest {self._release.manifest_sha256[:12]}, "
            f"{state}"
        )

    def _tests(self) -> str:
        found = []
        for layer in evidence.LAYERS:
            record = evidence.tests_passed(self._environment, layer, self._release, BUILDS)
            if record:
                found.append(f"{layer} {record['tests']} passed {record['when']}")
        demanded = ", ".join(self._environment.gates["tests"]) or "none"
        return require(
            gates.test_faults(self._environment, self._release, BUILDS),
            f"{'; '.join(found) or 'no evidence'} (demanded: {demanded})",
        )

    def _promotion(self) -> str:
        before = self._environment.before()
        demanded = self._environment.gates["promoted"]
        faults = gates.promotion_faults(self._environment, self._release)
        if not demanded:
            return require(faults, "not demanded")
        return require(faults, f"passed its checks in {before.name if before else 'none'}")

    def _approvals(self) -> str:
        demanded = self._environment.gates["approvals"]
        return require(
            gates.approval_faults(self._environment, self._release),
            f"by {', '.join(demanded)}" if demanded else "none demanded",
        )

    def _templates(self) -> str:
        folder = self._root / "cloudformation"
        templates = [folder / f"{stack}.yaml" for stack in STACKS]
        faults = []
        linted = subprocess.run(
            ["cfn-lint", "--format", "parseable", *map(str, templates)],
            capture_output=True,
            text=True,
            check=False,
        )
        if linted.returncode:
            faults.append(linted.stdout.strip() or linted.stderr.strip())
        client = self._environment.client("cloudformation")
        config = json.loads(self._config.read_text(encoding="utf-8"))
        for stack, template in zip(STACKS, templates):
            body = template.read_text(encoding="utf-8")
            if (size := len(body.encode())) > MAX_TEMPLATE_BYTES:
                faults.append(f"{template.name} has {size} bytes, more than {MAX_TEMPLATE_BYTES}")
            try:
                client.validate_template(TemplateBody=body)
                stack_request(config, template, stack, self._release.version)
            except (ClientError, OperationError) as error:
                faults.append(f"{template.name}: {error}")
        return require(faults, f"{len(templates)} pass cfn-lint and CloudFormation's validation")

    # ---- the environment -----------------------------------------------------------------------

    def _stack_states(self) -> Iterator[tuple[str, str]]:
        client = self._environment.client("cloudformation")
        for name in STACKS:
            try:
                (stack,) = client.describe_stacks(StackName=self._environment.stack(name))["Stacks"]
                yield name, stack["StackStatus"]
            except ClientError as error:
                if "does not exist" not in str(error):
                    raise

    def _lock(self) -> str:
        try:
            held = lock.holder(self._environment)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise
            return NOTHING_YET
        return require([f"{self._environment.name} is locked: {held}"] if held else [], "free")

    def _at_rest(self) -> str:
        faults = [
            f"{self._environment.stack(name)} is {state}"
            for name, state in self._stacks.items()
            if state in DEAD or not state.endswith(AT_REST)
        ]
        there = ", ".join(f"{name} {state}" for name, state in self._stacks.items())
        return require(faults, there or NOTHING_YET)

    def _roles(self) -> str:
        if "application" not in self._stacks:
            return NOTHING_YET
        faults, needs = [], 0
        for role in roles(self._environment, self._key()["Arn"], self._workgroup()):
            needs += sum(len(need.actions) for need in role.needs)
            try:
                faults += list(denials(self._environment, role))
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchEntity":
                    raise
                faults.append(f"there is no role {role.name}")
        return require(faults, f"{needs} actions are allowed, each to the role that needs it")

    def _key(self) -> dict:
        alias = f"alias/{self._environment.prefix}-data"
        return self._environment.client("kms").describe_key(KeyId=alias)["KeyMetadata"]

    def _workgroup(self) -> str:
        client = self._environment.client("redshift-serverless")
        return client.get_workgroup(workgroupName=self._environment.prefix)["workgroup"][
            "workgroupArn"
        ]

    def _warehouse(self) -> str:
        if "data" not in self._stacks:
            return NOTHING_YET
        (answer,) = Warehouse(self._environment).one("SELECT 1")
        return require([] if answer == 1 else [f"SELECT 1 gives {answer}"], "answers SELECT 1")

    def _services(self) -> str:
        """Ask each service for what a run needs of it."""
        if "application" not in self._stacks:
            return NOTHING_YET
        environment = self._environment
        asked = {
            "S3": lambda: environment.client("s3").head_bucket(Bucket=environment.data_bucket),
            "Lambda": lambda: environment.client("lambda").get_function(
                FunctionName=environment.function("trigger-etl")
            ),
            "Glue": lambda: environment.client("glue").get_job(JobName=f"{environment.prefix}-etl"),
            "Step Functions": lambda: environment.client("stepfunctions").describe_state_machine(
                stateMachineArn=environment.state_machine_arn
            ),
            "SNS": lambda: environment.client("sns").get_topic_attributes(
                TopicArn=environment.topic_arn("notifications")
            ),
        }
        faults = []
        for service, ask in asked.items():
            try:
                ask()
            except ClientError as error:
                faults.append(f"{service}: {error}")
        live = live_release(environment)
        return require(
            faults, f"{', '.join(asked)} answer; live: {live.release if live else 'nothing yet'}"
        )

    def _secrets(self) -> str:
        if "data" not in self._stacks:
            return NOTHING_YET
        environment, faults = self._environment, []
        arn = administrator_secret(environment)
        try:
            secret = environment.client("secretsmanager").describe_secret(SecretId=arn)
            if deleted := secret.get("DeletedDate"):
                faults.append(f"{arn} is scheduled for deletion since {deleted:%Y-%m-%d %H:%M}")
        except ClientError as error:
            if not is_missing(error):
                raise
            faults.append(f"there is no secret {arn}")
        if (state := self._key()["KeyState"]) != "Enabled":
            faults.append(f"the key alias/{environment.prefix}-data is {state}")
        return require(faults, "the administrator's secret is there, its key is enabled")

    def _quotas(self) -> str:
        settings = self._environment.client("lambda").get_account_settings()
        used = settings["AccountUsage"]["TotalCodeSize"]
        limit = settings["AccountLimit"]["TotalCodeSize"]
        text = f"{used / 2**20:.0f} of {limit / 2**20:.0f} MB of Lambda code storage"
        return require([f"{text} are used"] if used > CODE_HEADROOM * limit else [], text)


@command
def main() -> int:
    """Make the checks; exit 1 when any has failed."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.preflight", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--version", required=True)
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    with tempfile.TemporaryDirectory() as folder:
        root, where = fetch_or_refuse(environment, arguments.version, Path(folder) / "release")
        print(f"preflight: {arguments.version} of {where} for {environment.name}", file=sys.stderr)
        outcomes = make_all(Preflight(environment, root).checks())
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    if failed:
        raise OperationError(
            f"{len(failed)} of {len(outcomes)} checks failed: {', '.join(failed)}; do not deploy "
            f"{arguments.version} to {environment.name} before they pass"
        )
    print(f"preflight: all {len(outcomes)} checks passed", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
