"""The state machine as a backup holds it, as it is now, and the way from the one to the other.

A version of a state machine cannot be changed, and a deleted state machine takes its versions and
aliases with it. Where a function version that the release calls had to be published anew, the
release becomes a new version that calls that one.
"""

import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import or_none, own_tags
from ops.environment import LIVE, Environment, OperationError
from ops.release.rollback import state_machine_versions

SETTINGS = ("roleArn", "loggingConfiguration", "tracingConfiguration")
# A deleted state machine keeps its name until its last execution has ended.
DELETION_SECONDS = 300
POLL_SECONDS = 2

Machine = dict[str, Any]


def substituted(definition: str, replaced: Mapping[str, str]) -> str:
    """Return the definition calling other function versions: new ARNs by the old ones."""
    for old, new in replaced.items():
        definition = definition.replace(f'"{old}"', f'"{new}"')
    return definition


def _described(answer: dict[str, Any]) -> dict[str, Any]:
    found = {"tracingConfiguration": {"enabled": False}} | answer
    return {"definition": found["definition"]} | {name: found[name] for name in SETTINGS}


class StateMachine:
    """Reads the state machine and brings it to what was read."""

    def __init__(self, environment: Environment):
        self._environment = environment
        self._states = environment.client("stepfunctions")
        self._arn = environment.state_machine_arn

    def read(self, version_arn: str = "") -> Machine | None:
        """Return the state machine, with one of its versions where told; None where it is gone."""
        found = or_none(self._states.describe_state_machine, stateMachineArn=self._arn)
        if found is None or found["status"] == "DELETING":
            return None
        tags = self._states.list_tags_for_resource(resourceArn=self._arn)["tags"]
        machine: Machine = {
            "type": found["type"],
            "current": _described(found),
            "tags": own_tags({tag["key"]: tag["value"] for tag in tags}),
        }
        if version_arn:
            version = self._states.describe_state_machine(stateMachineArn=version_arn)
            machine["version"] = {
                "arn": version_arn,
                "release": version.get("description", ""),
                **_described(version),
            }
        return machine

    def alias(self) -> dict[str, Any] | None:
        """Return where the alias routes and how it is described; None where it is gone."""
        found = or_none(
            self._states.describe_state_machine_alias, stateMachineAliasArn=f"{self._arn}:{LIVE}"
        )
        return found and {
            "description": found.get("description", ""),
            "routes": {
                route["stateMachineVersionArn"]: route["weight"]
                for route in found["routingConfiguration"]
                if route["weight"]
            },
        }

    def standing_version(self, machine: Machine, replaced: Mapping[str, str]) -> str:
        """Return the ARN of a version that is the backed up release, calling what it calls now.

        Empty for none. It need not have the number that it had.
        """
        wanted = machine["version"]
        definition = substituted(wanted["definition"], replaced)
        arns = state_machine_versions(self._environment)
        for arn in sorted(arns, key=lambda arn: arn != wanted["arn"]):
            version = or_none(self._states.describe_state_machine, stateMachineArn=arn)
            if (
                version
                and version["definition"] == definition
                and version.get("description") == wanted["release"]
                and version["roleArn"] == wanted["roleArn"]
            ):
                return arn
        return ""

    def create(self, machine: Machine) -> None:
        """Create the state machine that is gone, under its name."""
        deadline = time.monotonic() + DELETION_SECONDS
        while True:
            try:
                self._states.create_state_machine(
                    name=self._arn.rpartition(":")[2],
                    type=machine["type"],
                    tags=[{"key": key, "value": value} for key, value in machine["tags"].items()],
                    **machine["current"],
                )
                return
            except ClientError as error:
                if error.response["Error"]["Code"] != "StateMachineDeleting":
                    raise
                if time.monotonic() > deadline:
                    raise OperationError(
                        f"{self._arn} is still being deleted, since executions of it run: stop "
                        "them, or restore again when they have ended"
                    ) from error
            time.sleep(POLL_SECONDS)

    def publish(self, machine: Machine, replaced: Mapping[str, str]) -> str:
        """Publish the release as a version; return its ARN."""
        version = {name: machine["version"][name] for name in ("definition", *SETTINGS[:2])}
        version["definition"] = substituted(version["definition"], replaced)
        return self._states.update_state_machine(
            stateMachineArn=self._arn,
            publish=True,
            versionDescription=machine["version"]["release"],
            **version,
        )["stateMachineVersionArn"]

    def restore(self, machine: Machine, replaced: Mapping[str, str]) -> None:
        """Bring definition, settings and tags to what was backed up."""
        found = self.read()
        wanted = self.wanted(machine, replaced)
        if found["current"] != wanted:
            self._states.update_state_machine(stateMachineArn=self._arn, **wanted)
        if added := dict(machine["tags"].items() - found["tags"].items()):
            tags = [{"key": key, "value": value} for key, value in added.items()]
            self._states.tag_resource(resourceArn=self._arn, tags=tags)
        if dropped := sorted(found["tags"].keys() - machine["tags"].keys()):
            self._states.untag_resource(resourceArn=self._arn, tagKeys=dropped)

    def wanted(self, machine: Machine, replaced: Mapping[str, str]) -> dict[str, Any]:
        """Return what the state machine's own definition and settings are to be."""
        definition = substituted(machine["current"]["definition"], replaced)
        return machine["current"] | {"definition": definition}
