"""What IAM decides about a request: its action and its resource, where ministack takes others.

A policy that names the action and the resource, as a good one does, would deny these requests here
and allow them on AWS.
"""

# pylint: disable=protected-access
from ministack.core import iam_actions

from localaws import hooks

_QUALIFIED = ("stateMachineAliasArn", "stateMachineVersionArn")
_OF_AN_ALIAS = {"GET": "GetAlias", "PUT": "UpdateAlias", "DELETE": "DeleteAlias"}


def register() -> None:
    """Decide SimulatePrincipalPolicy on the principal, what is about an alias or a version of a
    state machine on that, and what is about one alias of a function by its own action."""
    find_arn = hooks.original(iam_actions, "extract_resource_arn")
    lambda_action = hooks.original(iam_actions, "_lambda_action")

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

    def action_of_lambda(method, path):
        # .../functions/<name>/aliases/<alias>; ministack has ListAliases for all of them.
        *_, kind, _name = ["", "", *path.strip("/").split("/")]
        if kind == "aliases" and method in _OF_AN_ALIAS:
            return _OF_AN_ALIAS[method]
        return lambda_action(method, path)

    hooks.replace(iam_actions, "extract_resource_arn", extract_resource_arn)
    hooks.replace(iam_actions, "_lambda_action", action_of_lambda)
