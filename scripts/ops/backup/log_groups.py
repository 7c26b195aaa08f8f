"""The application's log groups as a backup holds them: code without one cannot log."""

from typing import Any

from ops.aws import own_tags
from ops.environment import Environment
from ops.release.stacks import LOG_GROUP, stack_resources

LogGroup = dict[str, Any]


class LogGroups:
    """Reads log groups and brings them to what was read; what they held does not come back."""

    def __init__(self, environment: Environment):
        self._environment = environment
        self._logs = environment.client("logs")

    def names(self) -> list[str]:
        """Return the names of those that the application stack has."""
        return sorted(stack_resources(self._environment, "application", LOG_GROUP).values())

    def read(self, name: str) -> LogGroup | None:
        """Return a log group's settings and tags; None where it is gone."""
        pages = self._logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
        found = next(
            (
                group
                for page in pages
                for group in page["logGroups"]
                if group["logGroupName"] == name
            ),
            None,
        )
        return found and {
            "name": name,
            "key": found.get("kmsKeyId", ""),
            "days": found.get("retentionInDays"),
            "tags": own_tags(
                self._logs.list_tags_for_resource(resourceArn=self._arn(name))["tags"]
            ),
        }

    def restore(self, group: LogGroup) -> None:
        """Create it where it is gone, and bring its settings to what was backed up."""
        name, arn, found = group["name"], self._arn(group["name"]), self.read(group["name"])
        if found is None:
            key = {"kmsKeyId": group["key"]} if group["key"] else {}
            self._logs.create_log_group(logGroupName=name, tags=group["tags"], **key)
            found = group | {"days": None}
        if found["key"] != group["key"]:
            if group["key"]:
                self._logs.associate_kms_key(logGroupName=name, kmsKeyId=group["key"])
            else:
                self._logs.disassociate_kms_key(logGroupName=name)
        if found["days"] != group["days"]:
            if group["days"]:
                self._logs.put_retention_policy(logGroupName=name, retentionInDays=group["days"])
            else:
                self._logs.delete_retention_policy(logGroupName=name)
        if added := dict(group["tags"].items() - found["tags"].items()):
            self._logs.tag_resource(resourceArn=arn, tags=added)
        if dropped := sorted(found["tags"].keys() - group["tags"].keys()):
            self._logs.untag_resource(resourceArn=arn, tagKeys=dropped)

    def _arn(self, name: str) -> str:
        environment = self._environment
        return f"arn:aws:logs:{environment.region}:{environment.account_id}:log-group:{name}"
