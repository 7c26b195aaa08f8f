"""IAM's SimulatePrincipalPolicy: what a user or role is allowed, decided as on a real call.

ministack's own looks at the first resource only, without the condition keys that the caller gives,
and answers "implicitDeny" for a role that does not exist.
"""

# pylint: disable=protected-access
from xml.sax.saxutils import escape

from ministack.core import iam_evaluator
from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.responses import get_account_id
from ministack.services import iam

from localaws import hooks
from localaws.settings import REGION

_DECISIONS = {"Allow": "allowed", "Deny": "explicitDeny", "ImplicitDeny": "implicitDeny"}

# A kind of principal: its type as conditions see it, where it is kept, how to find its policies.
_PRINCIPALS = {
    "user": ("User", iam._users, iam_evaluator._gather_user_policies),
    "role": ("AssumedRole", iam._roles, iam_evaluator._gather_role_policies),
}


def register() -> None:
    """Answer SimulatePrincipalPolicy in ministack's place."""
    hooks.replace(iam._IAM_HANDLERS, "SimulatePrincipalPolicy", _simulate_principal_policy)


def _simulate_principal_policy(parameters: dict[str, list[str]]) -> tuple:
    source = iam._p(parameters, "PolicySourceArn")
    try:
        arn = parse_arn(source)
    except ArnParseError:
        return iam._error(400, "InvalidInput", f"{source!r} is not an ARN.")
    kind, _, path = arn.resource.partition("/")
    name, account = path.rpartition("/")[2], get_account_id()
    if kind not in _PRINCIPALS:
        return iam._error(400, "InvalidInput", f"{source} is neither a user nor a role.")
    principal_type, store, gather = _PRINCIPALS[kind]
    if arn.account_id != account or store.get(name) is None:
        return iam._error(404, "NoSuchEntity", f"The {kind} with name {name} cannot be found.")
    policies = gather(name, account)
    limits = iam_evaluator._permissions_boundary(store, name, account)
    given = _context(parameters)

    def decide(action: str, resource: str) -> str:
        context = iam_evaluator.EvalContext(
            principal_arn=source,
            principal_type=principal_type,
            principal_account=account,
            action=action,
            resource_arn=resource,
            region=REGION,
            service_context=given,
            principal_keys=given,
        )
        return _DECISIONS[iam_evaluator.evaluate(context, policies, *limits).decision]

    results = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
        f"<EvalDecision>{decide(action, resource)}</EvalDecision>"
        "<MatchedStatements/><MissingContextValues/></member>"
        for action in _members(parameters, "ActionNames")
        for resource in _members(parameters, "ResourceArns") or ["*"]
    )
    return iam._xml(
        200,
        "SimulatePrincipalPolicyResponse",
        f"<SimulatePrincipalPolicyResult><EvaluationResults>{results}</EvaluationResults>"
        "<IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult>",
    )


def _members(parameters: dict[str, list[str]], name: str) -> list[str]:
    """Return a list parameter's members: <name>.member.1 and so on."""
    found: list[str] = []
    while value := iam._p(parameters, f"{name}.member.{len(found) + 1}"):
        found.append(value)
    return found


def _context(parameters: dict[str, list[str]]) -> dict[str, str | list[str]]:
    """Return the condition keys that the caller gives, in lower case."""
    context: dict[str, str | list[str]] = {}
    while key := iam._p(parameters, f"ContextEntries.member.{len(context) + 1}.ContextKeyName"):
        name = f"ContextEntries.member.{len(context) + 1}.ContextKeyValues"
        values = _members(parameters, name)
        context[key.lower()] = values if len(values) > 1 else "".join(values)
    return context
