"""Layers by what they hold: a layer version that was deleted comes back under another number."""

import base64
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import is_missing, or_none

DESCRIBED = ("Description", "CompatibleRuntimes", "CompatibleArchitectures")


def hex_sha256(base64_sha256: str) -> str:
    """Return in hex the SHA-256 that Lambda writes in base64."""
    return base64.b64decode(base64_sha256).hex()


class Layers:
    """The account's layer versions, each asked for once."""

    def __init__(self, client):
        self._client = client
        self._known: dict[str, dict[str, Any] | None] = {}

    def get(self, arn: str) -> dict[str, Any] | None:
        """Return Lambda's description of a layer version, None where it is gone."""
        if arn not in self._known:
            self._known[arn] = or_none(self._client.get_layer_version_by_arn, Arn=arn)
        return self._known[arn]

    def content(self, arn: str) -> str:
        """Return the SHA-256 of a layer version in hex; where it is gone, its ARN, like nothing."""
        found = self.get(arn)
        return hex_sha256(found["Content"]["CodeSha256"]) if found else arn

    def read(self, arn: str) -> dict[str, Any]:
        """Return what publishing a layer version again takes, besides its bytes."""
        found = self.get(arn)
        return {
            "arn": arn,
            "name": arn.rpartition(":")[0],
            "settings": {name: found[name] for name in DESCRIBED if found.get(name)},
        }

    def with_content(self, layer: dict[str, Any], sha256: str) -> str:
        """Return the ARN of a version with that content, the one read if it is there; else ""."""
        if self.content(layer["arn"]) == sha256:
            return layer["arn"]
        pages = self._client.get_paginator("list_layer_versions").paginate(LayerName=layer["name"])
        try:
            for version in [version for page in pages for version in page["LayerVersions"]]:
                if self.content(version["LayerVersionArn"]) == sha256:
                    return version["LayerVersionArn"]
        except ClientError as error:  # no version of it is left
            if not is_missing(error):
                raise
        return ""

    def publish(self, layer: dict[str, Any], bucket: str, key: str) -> str:
        """Publish a layer version again, from an object; return its ARN."""
        published = self._client.publish_layer_version(
            LayerName=layer["name"].rpartition(":")[2],
            Content={"S3Bucket": bucket, "S3Key": key},
            **layer["settings"],
        )
        return published["LayerVersionArn"]
