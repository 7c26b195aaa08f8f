"""An environment in which releases have been live: versions, aliases, objects, records, by boto3.

As small as the tools allow: the state machine waits or passes, the functions return nothing.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.buckets import remove_bucket
from tests.localaws.workshop import archive
from tests.localaws.stepfunctions_machines import Machines

PREFIX = "retail-pipeline-qa"
ACCOUNT = "222222222222"
BUCKET = f"{PREFIX}-artifacts-{ACCOUNT}"
CODE_BUCKET = f"{PREFIX}-code"
MACHINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{PREFIX}-etl"
FUNCTIONS = ("trigger-etl", "validate-input")


@dataclass(frozen=True)
class Release:
    """A release: its name and the versions that it is made of."""

    name: str
    version_arn: str
    functions: dict[str, str]  # the version's ARN of each of FUNCTIONS


class Releases:  # pylint: disable=too-many-instance-attributes  # a client a service
    """Makes releases live, one after another."""

    def __init__(self, session):
        self._machines = Machines(session)
        self.states = session.client("stepfunctions")
        self.functions = session.client("lambda")
        self.s3 = session.client("s3")
        self._cloudformation = session.client("cloudformation")
        self._role = self._machines.machine_role()
        self._function_role = self._machines.role()
        self._minute = 0
        for bucket in (BUCKET, CODE_BUCKET):
            self.s3.create_bucket(Bucket=bucket)

    def deploy(self, name: str, wait: bool = False) -> Release:
        """Upload, publish and switch to a release; its executions wait if told to."""
        step = {"Type": "Wait", "Seconds": 600, "End": True} if wait else {"Type": "Succeed"}
        release = self.publish(name, step)
        self._point(release.version_arn, release.functions["trigger-etl"])
        self.record(name, release.version_arn, release.functions["trigger-etl"])
        return release

    def publish(self, name: str, step: dict[str, Any], code: str = "") -> Release:
        """Upload and publish a release whose executions are this one state, and whose functions
        have this code; it is not live."""
        self._stack(name, code or f"def handler(event, context): return '{name}'")
        functions = {}
        for function in FUNCTIONS:
            full = f"{PREFIX}-{function}"
            functions[function] = self.functions.publish_version(
                FunctionName=full, Description=name
            )["FunctionArn"]
        for path in ("manifest.json", f"config/{name}.json"):
            self.s3.put_object(Bucket=BUCKET, Key=f"releases/{name}/{path}", Body=b"{}")
        version = self._publish(name, functions["validate-input"], step)
        return Release(name, version, functions)

    def record(self, name: str, version: str, trigger: str, **changes: Any) -> None:
        """Write the record of a deploy, a minute later than the one before."""
        self._minute += 1
        started = f"2026-01-01T00:{self._minute:02}:00.000Z"
        record = {
            "environment": "qa",
            "action": "deploy",
            "strategy": "",
            "who": "arn:ann",
            "started": started,
            "from": "",
            "to": name,
            "result": "succeeded",
            "reason": "",
            "seconds": 1.0,
            "lock": "",
            "phases": [],
            "live": {"state_machine_version_arn": version, "trigger_version_arn": trigger},
            "manifest_sha256": f"sha256 of {name}",
        } | changes
        self.s3.put_object(
            Bucket=BUCKET, Key=f"deploys/{started}-{name}.json", Body=json.dumps(record).encode()
        )

    def start(self) -> str:
        """Start an execution of what is live; return its ARN."""
        answer = self.states.start_execution(stateMachineArn=f"{MACHINE}:live")
        return answer["executionArn"]

    def versions(self) -> set[str]:
        """Return the ARNs of the state machine's versions."""
        listed = self.states.list_state_machine_versions(stateMachineArn=MACHINE)
        return {item["stateMachineVersionArn"] for item in listed["stateMachineVersions"]}

    def function_versions(self, function: str) -> set[str]:
        """Return the ARNs of a function's published versions."""
        listed = self.functions.list_versions_by_function(FunctionName=f"{PREFIX}-{function}")
        return {item["FunctionArn"] for item in listed["Versions"] if item["Version"] != "$LATEST"}

    def uploaded(self) -> set[str]:
        """Return the names of the releases in the bucket."""
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix="releases/").get("Contents", [])
        return {item["Key"].split("/")[1] for item in listed}

    def remove(self) -> None:
        """Leave nothing behind."""
        self.states.delete_state_machine(stateMachineArn=MACHINE)
        self._cloudformation.delete_stack(StackName=f"{PREFIX}-application")
        for bucket in (BUCKET, CODE_BUCKET):
            remove_bucket(self.s3, bucket)

    def _stack(self, release: str, code: str) -> None:
        body = archive({"app.py": code})
        self.s3.put_object(Bucket=CODE_BUCKET, Key=f"{release}.zip", Body=body)
        resources = {
            function.title().replace("-", ""): {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "FunctionName": f"{PREFIX}-{function}",
                    "Runtime": "python3.11",
                    "Handler": "app.handler",
                    "Role": self._function_role,
                    "Code": {"S3Bucket": CODE_BUCKET, "S3Key": f"{release}.zip"},
                },
            }
            for function in FUNCTIONS
        }
        template = {"Parameters": {"ReleaseVersion": {"Type": "String"}}, "Resources": resources}
        request = {
            "StackName": f"{PREFIX}-application",
            "TemplateBody": json.dumps(template),
            "Parameters": [{"ParameterKey": "ReleaseVersion", "ParameterValue": release}],
        }
        if self._minute:
            self._cloudformation.update_stack(**request)
            waiter = self._cloudformation.get_waiter("stack_update_complete")
        else:
            self._cloudformation.create_stack(**request)
            waiter = self._cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=request["StackName"], WaiterConfig={"Delay": 1})

    def create_machine_again(self, name: str, function: str) -> None:
        """Create the deleted state machine with one release."""
        version = self._create(name, _definition(name, function, {"Type": "Succeed"}))
        self.states.create_state_machine_alias(
            name="live", routingConfiguration=[{"stateMachineVersionArn": version, "weight": 100}]
        )

    def _publish(self, name: str, function: str, step: dict[str, Any]) -> str:
        definition = _definition(name, function, step)
        if self._minute:
            return self.states.update_state_machine(
                stateMachineArn=MACHINE,
                definition=definition,
                publish=True,
                versionDescription=name,
            )["stateMachineVersionArn"]
        return self._create(name, definition)

    def _create(self, name: str, definition: str) -> str:
        return self.states.create_state_machine(
            name=f"{PREFIX}-etl",
            definition=definition,
            roleArn=self._role,
            publish=True,
            versionDescription=name,
        )["stateMachineVersionArn"]

    def _point(self, version: str, trigger: str) -> None:
        routing = [{"stateMachineVersionArn": version, "weight": 100}]
        alias = {"FunctionName": f"{PREFIX}-trigger-etl", "Name": "live"}
        number = trigger.rpartition(":")[2]
        if self._minute:
            self.states.update_state_machine_alias(
                stateMachineAliasArn=f"{MACHINE}:live", routingConfiguration=routing
            )
            self.functions.update_alias(**alias, FunctionVersion=number)
        else:
            self.states.create_state_machine_alias(name="live", routingConfiguration=routing)
            self.functions.create_alias(**alias, FunctionVersion=number)


def _definition(release: str, function: str, step: dict[str, Any]) -> str:
    calls = f"{function} s3://{BUCKET}/releases/{release}/config/{release}.json"
    return json.dumps({"Comment": calls, "StartAt": "Step", "States": {"Step": step}})
