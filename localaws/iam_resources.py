"""The resource that a request is about, where ministack has IAM decide on "*".

A policy that names the resource, as a good one does, would deny these requests here and allow them
on AWS.
"""

# pylint: disable=protected-access
from ministack.core import iam_actions

from localaws import hooks

_QUALIFIED = ("stateMachineAliasArn", "stateMachineVersionArn")


def register() -> None:
    """Decide SimulatePrincipalPolicy on the principal, and what is about an alias or a version of
    a state machine on that."""
    find_arn = hooks.original(iam_actions, "extract_resource_arn")

    def extract_resource_arn(service, method, path, headers, body, query_params, *place):
        if service == "iam":
            named = [iam_actions._query_param(query_params, "PolicySourceArn")]
        elif service == "states":
            named = [iam_actions._safe_json_field(body, field) for field in _QUALIFIED]
        else:
            named = []
        return next(filter(None, named), None) or find_arn(
            service, method, path, headers, body, query_params, *place
        )

    hooks.replace(iam_actions, "extract_resource_arn", extract_resource_arn)
