"""EventBridge to Lambda as on AWS: only with permission, asynchronously, with retries."""

# pylint: disable=protected-access
import contextvars
import json
import logging

from ministack.core import iam_evaluator
from ministack.core.arn import parse_arn
from ministack.core.responses import get_account_id
from ministack.services import cloudwatch, eventbridge, lambda_svc, sqs

from localaws import hooks
from localaws.settings import REGION

logger = logging.getLogger("localaws.eventbridge")

_PRINCIPAL = "events.amazonaws.com"
_delivery: contextvars.ContextVar[tuple[dict, dict]] = contextvars.ContextVar("delivery")


def register() -> None:
    """Hook into ministack's EventBridge."""
    hooks.replace(eventbridge, "_invoke_target", _remember_rule(eventbridge._invoke_target))
    hooks.replace(eventbridge, "_dispatch_to_lambda", _deliver)


def _remember_rule(invoke):
    """Let the delivery know its rule, on which permission and dead letters depend."""

    def invoke_target(target: dict, event: dict, rule: dict, view=None):
        token = _delivery.set((target, rule))
        try:
            return invoke(target, event, rule, view)
        finally:
            _delivery.reset(token)

    return invoke_target


def _deliver(arn: str, payload: str) -> None:
    target, rule = _delivery.get()
    record, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if record is None:
        _fail(target, rule, payload, f"the function {arn} does not exist")
    elif not _may_invoke(arn, rule["Arn"]):
        _fail(target, rule, payload, f"no permission of {arn} lets {_PRINCIPAL} invoke it")
    else:
        function = lambda_svc._execution_record_for_config(record, config)
        lambda_svc.invoke_async_with_retry(function, json.loads(payload))


def _may_invoke(function_arn: str, rule_arn: str) -> bool:
    """Whether the function's own policy lets EventBridge invoke it for this rule."""
    policy, account = lambda_svc.function_policy_for_arn(function_arn)
    context = iam_evaluator.EvalContext(
        principal_arn=_PRINCIPAL,
        principal_type="Service",
        principal_account=account,
        action="lambda:InvokeFunction",
        resource_arn=function_arn,
        region=REGION,
        service_context={"aws:sourcearn": rule_arn, "aws:sourceaccount": account},
    )
    return iam_evaluator.evaluate_resource_policy(policy, context, _PRINCIPAL).decision == "Allow"


def _fail(target: dict, rule: dict, payload: str, reason: str) -> None:
    """Count the failure and send the event to the target's dead-letter queue, if it may go there.

    AWS does not repeat such a delivery: it would fail again.
    """
    logger.error("the rule %s cannot deliver an event: %s", rule["Arn"], reason)
    dimensions = {"RuleName": rule["Name"]}
    cloudwatch.record_metric("AWS/Events", "FailedInvocations", 1, "Count", dimensions)
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    if queue is None:
        return
    if sqs.queue_policy_allows(queue, _PRINCIPAL, rule["Arn"], get_account_id()):
        eventbridge._dispatch_to_sqs(parse_arn(queue), payload)
    else:
        logger.error("the policy of %s does not let %s send to it", queue, _PRINCIPAL)
