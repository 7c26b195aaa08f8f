"""Stacks as a backup holds them: template, parameters and tags, which a change set takes back."""

import json
from typing import Any

from botocore.exceptions import ClientError

from ops.environment import Environment


def read_stack(environment: Environment, stack: str) -> tuple[str, dict[str, Any]] | None:
    """Return a stack's template and its request (ops.release.stacks); None where it is gone."""
    client, name = environment.client("cloudformation"), environment.stack(stack)
    try:
        (found,) = client.describe_stacks(StackName=name)["Stacks"]
        template = client.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    parameters = {
        item["ParameterKey"]: item["ParameterValue"] for item in found.get("Parameters", [])
    }
    tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
    request = {
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": parameters[key]} for key in sorted(parameters)
        ],
        "Tags": [{"Key": key, "Value": tags[key]} for key in sorted(tags)],
    }
    # boto3 parses a template in JSON, and only that.
    return template if isinstance(template, str) else json.dumps(template), request
