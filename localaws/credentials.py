"""Temporary credentials of a role, for whatever runs under one: Lambdas, Glue runs, executions."""

# pylint: disable=protected-access
import json
import time

from ministack.core import iam_evaluator
from ministack.core.arn import ArnParseError, parse_arn
from ministack.services import iam, sts

from localaws.settings import REGION

# As long as AWS lets a role's session live; what runs longer asks again.
SESSION_SECONDS = 12 * 3600


class RoleError(ValueError):
    """The role does not exist, or does not trust the service that wants to assume it."""


def role_session(
    role_arn: str, session_name: str, *, service: str, source_arn: str | None = None
) -> dict[str, str]:
    """Assume the role as ``service`` does on AWS (``lambda.amazonaws.com``, for example).

    ``source_arn`` is the resource on whose behalf the service acts, for a trust policy with a
    condition on aws:SourceArn. Returns AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
    AWS_SESSION_TOKEN, valid for SESSION_SECONDS in the role's account. Raises RoleError.
    """
    role = trusted_role(role_arn, service, source_arn)
    account = parse_arn(role_arn).account_id
    name = session_name[:64]
    session = {
        "AWS_ACCESS_KEY_ID": iam._gen_session_access_key(),
        "AWS_SECRET_ACCESS_KEY": iam._gen_secret(),
        "AWS_SESSION_TOKEN": iam._gen_session_token(),
    }
    sts.register_session(
        session["AWS_ACCESS_KEY_ID"],
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/{name}",
            "UserId": f"{role['RoleId']}:{name}",
            "SecretAccessKey": session["AWS_SECRET_ACCESS_KEY"],
            "SessionToken": session["AWS_SESSION_TOKEN"],
            "Expiration": time.time() + SESSION_SECONDS,
        },
    )
    return session


def trusted_role(role_arn: str, service: str, source_arn: str | None = None) -> dict:
    """Return the IAM role's record if it lets ``service`` assume it, else raise RoleError."""
    try:
        arn = parse_arn(role_arn)
    except ArnParseError as error:
        raise RoleError(f"{role_arn!r} is not the ARN of a role") from error
    role = iam._roles.get_scoped(arn.account_id, None, arn.resource.rsplit("/", 1)[-1])
    if role is None:
        raise RoleError(f"the role {role_arn} does not exist")
    context = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=arn.account_id,
        action="sts:AssumeRole",
        resource_arn=role_arn,
        region=REGION,
        service_context={"aws:sourceaccount": arn.account_id, "aws:sourcearn": source_arn},
    )
    # ministack lets only principals with an ARN match; a service is matched here, and ministack
    # decides about the statements' effects, actions and conditions.
    statements = json.loads(role["AssumeRolePolicyDocument"]).get("Statement", [])
    ours = [
        {**statement, "Principal": "*"}
        for statement in ([statements] if isinstance(statements, dict) else statements)
        if iam_evaluator._service_principal_matches(statement.get("Principal"), service)
    ]
    if not iam_evaluator.evaluate_trust_policy({"Statement": ours}, service, context):
        raise RoleError(f"the role {role_arn} does not trust {service}: see its trust policy")
    return role


def role_allows(role_arn: str, action: str, resource_arn: str) -> bool:
    """Whether the role's policies allow the action, for what AWS does itself in a role's name."""
    arn = parse_arn(role_arn)
    name = arn.resource.rsplit("/", 1)[-1]
    context = iam_evaluator.EvalContext(
        principal_arn=role_arn,
        principal_type="AssumedRole",
        principal_account=arn.account_id,
        action=action,
        resource_arn=resource_arn,
        region=REGION,
    )
    policies = iam_evaluator._gather_role_policies(name, arn.account_id)
    limits = iam_evaluator._permissions_boundary(iam._roles, name, arn.account_id)
    return iam_evaluator.evaluate(context, policies, *limits).decision == "Allow"
