"""A function as a backup holds it, as it is now, and the way from the one to the other.

A deleted function takes its versions, aliases, permissions and settings of asynchronous calls with
it, and its version numbers do not come back. So a version is known by its content here: the SHA-256
of its code, its settings, its layers' content.
"""

import json
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import is_missing, or_none, own_tags
from ops.backup.layers import Layers, hex_sha256
from ops.environment import LIVE, OperationError

LATEST = "$LATEST"
WAIT = {"Delay": 1, "MaxAttempts": 120}

# What a function has that nobody set: an update has to name it, for what it leaves out stays.
UNSET: dict[str, Any] = {
    "DeadLetterConfig": {"TargetArn": ""},
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "FileSystemConfigs": [],
    "KMSKeyArn": "",
    "Layers": [],
    "SnapStart": {"ApplyOn": "None"},
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
}
ALWAYS_SET = ("Handler", "LoggingConfig", "MemorySize", "Role", "Runtime", "Timeout")

# AddPermission's arguments, by the condition that it makes of each.
CONDITIONS = {
    "aws:sourcearn": "SourceArn",
    "aws:sourceaccount": "SourceAccount",
    "aws:principalorgid": "PrincipalOrgID",
    "lambda:eventsourcetoken": "EventSourceToken",
    "lambda:functionurlauthtype": "FunctionUrlAuthType",
}
INVOKE = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")

Function = dict[str, Any]


def snapshot(configuration: dict[str, Any], layers: Layers) -> dict[str, Any]:
    """Return what of a function or a version decides how it runs; layers by their content."""
    settings = {name: configuration[name] for name in ALWAYS_SET if name in configuration}
    for name, unset in UNSET.items():
        found = configuration.get(name) or unset
        if isinstance(unset, dict):  # Lambda adds to some what is no setting, such as a VPC's id
            found = {key: found.get(key, value) for key, value in unset.items()}
        settings[name] = found
    settings["Layers"] = [layers.content(layer["Arn"]) for layer in configuration.get("Layers", [])]
    return {
        "code": hex_sha256(configuration["CodeSha256"]),
        "architectures": configuration.get("Architectures", ["x86_64"]),
        "settings": settings,
    }


def permission(statement: dict[str, Any]) -> dict[str, str]:
    """Return the arguments of AddPermission that make a policy's statement.

    Raises OperationError for a condition that AddPermission does not make.
    """
    principal = statement["Principal"]
    arguments = {
        "StatementId": statement["Sid"],
        "Action": statement["Action"],
        "Principal": principal if principal == "*" else next(iter(principal.values())),
    }
    for condition in statement.get("Condition", {}).values():
        for name, value in condition.items():
            if name.lower() not in CONDITIONS:
                raise OperationError(
                    f"the permission {statement['Sid']} of {statement['Resource']} depends on "
                    f"{name}, which no backup can hold: remove that permission"
                )
            arguments[CONDITIONS[name.lower()]] = value
    return arguments


class Functions:
    """Reads functions and brings them to what was read."""

    def __init__(self, client):
        self._client = client
        self.layers = Layers(client)

    # ---- as it is ------------------------------------------------------------------------------

    def read(self, name: str, version: str = "") -> Function | None:
        """Return a function, with one of its versions where told; None where it is gone."""
        found = or_none(self._client.get_function, FunctionName=name)
        if found is None:
            return None
        configuration = found["Configuration"]
        concurrency = found.get("Concurrency", {}).get("ReservedConcurrentExecutions")
        function = {
            "name": name,
            "description": configuration.get("Description", ""),
            "latest": snapshot(configuration, self.layers),
            "tags": own_tags(found.get("Tags", {})),
            "concurrency": concurrency,
            "access": self._access(name),
            "alias": self._alias(name),
            "layers": {
                self.layers.content(layer["Arn"]): self.layers.read(layer["Arn"])
                for layer in configuration.get("Layers", [])
                if self.layers.get(layer["Arn"])
            },
        }
        if version:
            published = or_none(
                self._client.get_function_configuration, FunctionName=name, Qualifier=version
            )
            function["version"] = published and {
                "number": version,
                "description": published.get("Description", ""),
                "snapshot": snapshot(published, self.layers),
            }
            for layer in (published or {}).get("Layers", []):
                if self.layers.get(layer["Arn"]):
                    layers = function["layers"]
                    layers[self.layers.content(layer["Arn"])] = self.layers.read(layer["Arn"])
        return function

    def code_location(self, name: str, qualifier: str) -> str:
        """Return the address from which the code can be fetched for some minutes."""
        found = self._client.get_function(FunctionName=name, Qualifier=qualifier)
        return found["Code"]["Location"]

    def _alias(self, name: str) -> dict[str, Any] | None:
        found = or_none(self._client.get_alias, FunctionName=name, Name=LIVE)
        if found is None:
            return None
        access = self._access(name, LIVE)
        return {
            "version": found["FunctionVersion"],
            "description": found.get("Description", ""),
        } | access

    def _access(self, name: str, qualifier: str = "") -> dict[str, Any]:
        """Return who may call a function or its alias, and how asynchronous calls are treated."""
        where = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
        policy = or_none(self._client.get_policy, **where)
        resource = f":function:{name}:{qualifier}".removesuffix(":")
        statements = [
            statement
            for statement in (json.loads(policy["Policy"])["Statement"] if policy else [])
            if statement["Resource"].endswith(resource)
        ]
        invoke = or_none(self._client.get_function_event_invoke_config, **where)
        permissions = [permission(statement) for statement in statements]
        return {
            "permissions": sorted(permissions, key=lambda one: one["StatementId"]),
            "invoke": invoke and {name: invoke[name] for name in INVOKE if name in invoke},
        }

    def standing_version(self, function: Function) -> str:
        """Return the ARN of a version with the content that was backed up; empty for none."""
        wanted = function["version"]
        pages = self._client.get_paginator("list_versions_by_function")
        try:
            found = [
                version
                for page in pages.paginate(FunctionName=function["name"])
                for version in page["Versions"]
                if version["Version"] != LATEST
            ]
        except ClientError as error:
            if not is_missing(error):
                raise
            return ""
        found.sort(key=lambda one: (one["Version"] == wanted["number"], int(one["Version"])))
        for version in reversed(found):
            if snapshot(version, self.layers) == wanted["snapshot"]:
                return version["FunctionArn"]
        return ""

    # ---- as it was -----------------------------------------------------------------------------

    def create(self, function: Function, place: "Place") -> None:
        """Create a function that is gone, under its name."""
        latest = function["latest"]
        settings = {
            name: value
            for name, value in place.settings(latest).items()
            if value != UNSET.get(name)
        }
        self._client.create_function(
            FunctionName=function["name"],
            Description=function["description"],
            Code=place.code(latest),
            Architectures=latest["architectures"],
            Tags=function["tags"],
            **settings,
        )
        self._wait(function["name"], "function_active_v2")

    def publish(self, function: Function, place: "Place") -> str:
        """Publish the backed up version again; return its ARN. The caller restores $LATEST."""
        name, wanted = function["name"], function["version"]
        self._bring(name, wanted["snapshot"], place)
        return self._client.publish_version(FunctionName=name, Description=wanted["description"])[
            "FunctionArn"
        ]

    def restore_latest(self, function: Function, place: "Place") -> None:
        """Bring code, settings, tags and limits to what was backed up."""
        name = function["name"]
        self._bring(name, function["latest"], place)
        found = self.read(name)
        if found["description"] != function["description"]:
            self._client.update_function_configuration(
                FunctionName=name, Description=function["description"]
            )
            self._wait(name, "function_updated_v2")
        arn = self._client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
        if added := dict(function["tags"].items() - found["tags"].items()):
            self._client.tag_resource(Resource=arn, Tags=added)
        if dropped := sorted(found["tags"].keys() - function["tags"].keys()):
            self._client.untag_resource(Resource=arn, TagKeys=dropped)
        if found["concurrency"] != function["concurrency"]:
            if function["concurrency"] is None:
                self._client.delete_function_concurrency(FunctionName=name)
            else:
                self._client.put_function_concurrency(
                    FunctionName=name, ReservedConcurrentExecutions=function["concurrency"]
                )
        self._restore_access(name, "", function["access"], found["access"])

    def restore_alias(self, function: Function) -> None:
        """Bring back what belongs to the alias: its description, permissions, retries."""
        name, wanted = function["name"], function["alias"]
        found = self._alias(name)
        if found["description"] != wanted["description"]:
            self._client.update_alias(
                FunctionName=name, Name=LIVE, Description=wanted["description"]
            )
        self._restore_access(name, LIVE, wanted, found)

    def _bring(self, name: str, wanted: dict[str, Any], place: "Place") -> None:
        found = snapshot(self._client.get_function_configuration(FunctionName=name), self.layers)
        if any(found[part] != wanted[part] for part in ("code", "architectures")):
            self._client.update_function_code(
                FunctionName=name, Architectures=wanted["architectures"], **place.code(wanted)
            )
            self._wait(name, "function_updated_v2")
        changed = {
            setting: value
            for setting, value in place.settings(wanted).items()
            if found["settings"].get(setting) != wanted["settings"][setting]
        }
        if changed:
            self._client.update_function_configuration(FunctionName=name, **changed)
            self._wait(name, "function_updated_v2")

    def _restore_access(
        self, name: str, qualifier: str, wanted: dict[str, Any], found: dict[str, Any]
    ) -> None:
        where = {"FunctionName": name} | ({"Qualifier": qualifier} if qualifier else {})
        for extra in found["permissions"]:
            if extra not in wanted["permissions"]:
                self._client.remove_permission(StatementId=extra["StatementId"], **where)
        for lost in wanted["permissions"]:
            if lost not in found["permissions"]:
                self._client.add_permission(**lost, **where)
        if wanted["invoke"] == found["invoke"]:
            return
        if wanted["invoke"]:
            self._client.put_function_event_invoke_config(**wanted["invoke"], **where)
        else:
            self._client.delete_function_event_invoke_config(**where)

    def _wait(self, name: str, event: str) -> None:
        self._client.get_waiter(event).wait(FunctionName=name, WaiterConfig=WAIT)


class Place:
    """Where a restore takes bytes from: the parts of a backup in the bucket."""

    def __init__(self, bucket: str, key_of, layer_arn):
        self._bucket = bucket
        self._key_of = key_of  # SHA-256 -> key
        self._layer_arn = layer_arn  # SHA-256 -> ARN

    def code(self, wanted: dict[str, Any]) -> dict[str, str]:
        """Return where the code of a snapshot lies, as Lambda's API takes it."""
        return {"S3Bucket": self._bucket, "S3Key": self._key_of(wanted["code"])}

    def settings(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Return a snapshot's settings as Lambda's API takes them."""
        layers = [self._layer_arn(sha256) for sha256 in wanted["settings"]["Layers"]]
        return wanted["settings"] | {"Layers": layers}
