"""The merged configuration of a release, read from S3 once per container."""

import json
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from pipeline_common.aws import error_code, read_s3
from pipeline_common.errors import ConfigurationError


@cache
def load_config(config_uri: str) -> dict[str, Any]:
    """Returns the merged configuration at config_uri.

    A release's configuration never changes under its URI, so that it is read only once.
    Raises ConfigurationError when it is missing or is not JSON.
    """
    try:
        return json.loads(read_s3(config_uri))
    except ClientError as error:
        if error_code(error) != "NoSuchKey":
            raise
        raise ConfigurationError(
            f"The configuration {config_uri} does not exist: deploy the release again."
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"The configuration {config_uri} is not JSON ({error}): deploy the release again."
        ) from error


def dataset_config(config: dict[str, Any], dataset: str) -> dict[str, Any]:
    """Returns one dataset's section; raises ConfigurationError naming the known datasets."""
    try:
        return config["datasets"][dataset]
    except KeyError as error:
        known = ", ".join(sorted(config.get("datasets", {}))) or "none"
        raise ConfigurationError(
            f"The configuration has no dataset '{dataset}' (known: {known}): add it under config/."
        ) from error
