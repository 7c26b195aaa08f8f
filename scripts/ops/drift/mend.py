"""Brings the functions back to what their release says, before versions of them are published.

CloudFormation updates a function where its template has changed, and no other. So what somebody has
changed by hand since would be published, and go live, with the release. What no version has, such
as tags and limits, stays as it is.
"""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ops.aws import CALLS_AT_ONCE
from ops.backup.functions import UNSET as RESET
from ops.backup.functions import WAIT
from ops.build.manifest import read
from ops.drift.findings import Finding, compare
from ops.drift.functions import UNSET, Codes, settings_of
from ops.environment import Environment, OperationError, command
from ops.release.stacks import FUNCTION, stack_resources

UPDATED = "function_updated_v2"


class Release:
    """The functions of a release whose application stack is deployed."""

    def __init__(self, environment: Environment, root: Path):
        self._environment = environment
        self._version = read(root)["version"]
        self._codes = Codes.of(environment, root)
        self._lambda = environment.client("lambda")
        update = self._lambda.meta.service_model.operation_model("UpdateFunctionConfiguration")
        self._settings = set(update.input_shape.members)

    def require_stack(self) -> None:
        """Raise OperationError where the stack is of another release: its settings are not ours."""
        stack = self._environment.stack("application")
        described = self._environment.client("cloudformation").describe_stacks(StackName=stack)
        parameters = described["Stacks"][0]["Parameters"]
        (version,) = (
            parameter["ParameterValue"]
            for parameter in parameters
            if parameter["ParameterKey"] == "ReleaseVersion"
        )
        if version != self._version:
            raise OperationError(
                f"{stack} is of release {version}: bring it to {self._version} first, "
                f"make infra ENV={self._environment.name} VERSION={self._version}"
            )

    def mend(self, logical_id: str) -> list[Finding]:
        """Mend a function of the stack; return what was not the release's."""
        resource = self._environment.client("cloudformation").detect_stack_resource_drift(
            StackName=self._environment.stack("application"), LogicalResourceId=logical_id
        )["StackResourceDrift"]
        name = resource["PhysicalResourceId"]
        found = settings_of(self._environment, name)
        if found is None:
            raise OperationError(
                f"there is no function {name}: somebody has deleted it. Restore a backup (make "
                f"backups ENV={self._environment.name}), then deploy again"
            )
        expected = json.loads(resource["ExpectedProperties"])
        return self._mend_code(name, expected, found) + self._mend_settings(name, expected, found)

    def _mend_code(
        self, name: str, expected: dict[str, Any], found: dict[str, Any]
    ) -> list[Finding]:
        where = f"function {name}"
        findings = [
            *compare(f"{where} code sha256", self._codes.functions[name], found["CodeSha256"]),
            *compare(
                f"{where} Architectures", expected["Architectures"], found.get("Architectures")
            ),
        ]
        if findings:
            archive = name.removeprefix(f"{self._environment.prefix}-").replace("-", "_")
            self._lambda.update_function_code(
                FunctionName=name,
                S3Bucket=self._environment.artifact_bucket,
                S3Key=f"releases/{self._version}/lambdas/{archive}.zip",
                Architectures=expected["Architectures"],
            )
            self._lambda.get_waiter(UPDATED).wait(FunctionName=name, WaiterConfig=WAIT)
        return findings

    def _mend_settings(
        self, name: str, expected: dict[str, Any], found: dict[str, Any]
    ) -> list[Finding]:
        """Set what the template sets to what it says, and unset what it leaves out."""
        findings, changed = [], {}
        for setting in sorted((expected.keys() | UNSET.keys()) & self._settings):
            wanted = expected.get(setting, UNSET.get(setting))
            there = found.get(setting, UNSET.get(setting))
            if setting in expected and isinstance(wanted, dict) and isinstance(there, dict):
                # Lambda adds what the template leaves to it, such as the format of the log.
                there = {key: value for key, value in there.items() if key in wanted}
            if differing := list(compare(f"function {name} {setting}", wanted, there)):
                findings += differing
                # CloudFormation may spell a number as text.
                changed[setting] = int(wanted) if isinstance(there, int) else wanted
                if setting not in expected:
                    changed[setting] = RESET[setting]
        if changed:
            self._lambda.update_function_configuration(FunctionName=name, **changed)
            self._lambda.get_waiter(UPDATED).wait(FunctionName=name, WaiterConfig=WAIT)
        return findings


@command
def main() -> int:
    """Mend the functions of one environment; say what was changed back, on stderr."""
    parser = argparse.ArgumentParser(prog="python -m ops.drift.mend", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("release", type=Path, help="its folder")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    release = Release(environment, arguments.release)
    release.require_stack()
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        functions = stack_resources(environment, "application", FUNCTION)
        for findings in pool.map(release.mend, functions):
            for finding in findings:
                lines = ["changed by hand, and changed back:", *finding.lines()]
                print("\n".join(f"  {line}" for line in lines), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
