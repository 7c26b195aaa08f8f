"""Lambda aliases as on AWS: each invocation goes to one of two versions, at random by weight.

ministack keeps the weights and always runs the first version.
"""

# pylint: disable=protected-access
import contextvars
import random
from collections.abc import Iterator

from ministack.core.responses import error_response_json
from ministack.services import lambda_svc

from localaws import hooks

# Of an invocation over HTTP: the picked version's ARN, and the alias' ARN that was called.
_picked: contextvars.ContextVar[tuple[str, str] | None] = contextvars.ContextVar(
    "picked", default=None
)


def register() -> None:
    """Hook into ministack's Lambda, around what lambda_ has hooked."""
    hooks.replace(lambda_svc, "_create_alias", _create_alias(lambda_svc._create_alias))
    hooks.replace(lambda_svc, "_update_alias", _update_alias(lambda_svc._update_alias))
    hooks.replace(lambda_svc, "_invoke", _invoke(lambda_svc._invoke))
    for name in ("_execute_function_with_config_scope", "invoke_async_with_retry"):
        hooks.replace(lambda_svc, name, _as_called(getattr(lambda_svc, name)))
    # Whatever invokes a function without HTTP looks it up with this: EventBridge, SNS, a state.
    hooks.replace(
        lambda_svc, "_get_func_record_for_ref", _reference(lambda_svc._get_func_record_for_ref)
    )


# ---- what an alias may be ----------------------------------------------------------------------


def _create_alias(create):
    def create_checked(name: str, data: dict):
        return _refusal(name, {"FunctionVersion": "$LATEST", **data}) or create(name, data)

    return create_checked


def _update_alias(update):
    def update_checked(name: str, alias_name: str, data: dict):
        function = lambda_svc._functions.get(name) or {}
        alias = function.get("aliases", {}).get(alias_name)
        return alias and _refusal(name, {**alias, **data}) or update(name, alias_name, data)

    return update_checked


def _weights(alias: dict) -> dict[str, float]:
    return (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}


def _refusal(name: str, alias: dict):
    """Return AWS's refusal of an alias' versions and weights; None if they can be routed."""
    function = lambda_svc._functions.get(name)
    if function is None:
        return None  # ministack says so
    versions = (alias["FunctionVersion"], *_weights(alias))
    for version in versions:
        if version not in ("$LATEST", *function["versions"]):
            return lambda_svc._function_qualifier_not_found(name, version)
    fault = next(_faults(function, versions, _weights(alias)), None)
    return fault and error_response_json("InvalidParameterValueException", fault, 400)


def _faults(function: dict, versions: tuple, weights: dict[str, float]) -> Iterator[str]:
    """Yield what is wrong with an alias to more than one version, the first of `versions` whole."""
    if len(versions) > 1 and "$LATEST" in versions:
        yield "$LATEST is not supported for an alias pointing to more than 1 version"
    if len(weights) > 1:
        yield "Number of items in AdditionalVersionWeights cannot be greater than 1"
    for version, weight in weights.items():
        if not 0 <= weight <= 1:
            yield f"The weight of version {version} must be between 0.0 and 1.0"
        if version == versions[0]:
            yield f"Invalid function version {version}: it is the alias's own version"
        first, second = (function["versions"][number]["config"] for number in versions)
        for setting in ("Role", "DeadLetterConfig"):
            if first.get(setting) != second.get(setting):
                yield f"Both versions of an alias must have the same {setting}"


# ---- where an invocation goes ------------------------------------------------------------------


def _pick(function: dict | None, qualifier: str | None) -> str | None:
    """Return the version that this invocation goes to; None where there are no weights."""
    alias = (function or {}).get("aliases", {}).get(qualifier)
    weights = _weights(alias or {})
    if not weights:
        return None
    ((version, weight),) = weights.items()
    return version if random.random() < weight else alias["FunctionVersion"]


def _reference(resolve):
    def resolve_routed(function_ref: str):
        record, config, name = resolve(function_ref)
        if config is None:
            return record, config, name
        called = config["FunctionArn"]
        _, _, _, region, account, _, _, *qualifier = called.split(":")
        function = lambda_svc._functions.get_scoped(account, region, name)
        version = _pick(function, qualifier[0] if qualifier else None)
        if version is not None:
            record = function["versions"][version]
            config = {**record["config"], "FunctionArn": called}
        return record, config, name

    return resolve_routed


def _invoke(invoke):
    async def invoke_routed(
        name: str,
        event: dict,
        headers: dict,
        path_qualifier: str | None = None,
        query_params: dict | None = None,
    ):
        qualifier = lambda_svc._qualifier_from_path_or_query(path_qualifier, query_params)
        version = _pick(lambda_svc._functions.get(name), qualifier)
        if version is None:
            return await invoke(name, event, headers, path_qualifier, query_params)
        arn = lambda_svc._func_arn(name)
        token = _picked.set((f"{arn}:{version}", f"{arn}:{qualifier}"))
        try:
            return await invoke(name, event, headers, version, query_params)
        finally:
            _picked.reset(token)

    return invoke_routed


def _as_called(run):
    """Give the function its alias' ARN: for its context, metrics, retries and destination."""

    def run_as_called(func: dict, event: object):
        config = func.get("config") or func
        version_arn, alias_arn = _picked.get() or (None, None)
        if config["FunctionArn"] == version_arn:
            func = {**func, "config": {**config, "FunctionArn": alias_arn}}
        return run(func, event)

    return run_as_called
