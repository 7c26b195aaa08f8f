"""The two aliases that say what is live, against the record of the last deploy or rollback."""

from collections.abc import Iterator

from botocore.exceptions import ClientError

from ops.aws import is_missing
from ops.drift.baseline import Baseline
from ops.drift.findings import Finding, compare, missing
from ops.environment import LIVE, Environment
from ops.release.live import routes, version_number
from ops.release.switch import TRIGGER


def findings(environment: Environment, baseline: Baseline) -> Iterator[Finding]:
    """Yield where an alias was moved, weighted or removed outside a recorded deploy or rollback."""
    where = f"alias {LIVE} of state machine {environment.prefix}-etl"
    expected = {_version(baseline.state_machine_version_arn): 100}
    found = {_version(arn): weight for arn, weight in routes(environment).items()}
    if not found:
        yield missing(where, _shares(expected))
    elif found != expected:
        yield Finding(where, _shares(expected), _shares(found))
    yield from _trigger(environment, baseline)


def _trigger(environment: Environment, baseline: Baseline) -> Iterator[Finding]:
    function = environment.function(TRIGGER)
    where = f"alias {LIVE} of function {function}"
    try:
        alias = environment.client("lambda").get_alias(FunctionName=function, Name=LIVE)
    except ClientError as error:
        if not is_missing(error):
            raise
        yield missing(where)
        return
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    shares = {f"of version {version}": weight for version, weight in weights.items()}
    yield from compare(f"{where} weight", {}, shares)
    if baseline.trigger_version_arn:
        expected = str(version_number(baseline.trigger_version_arn))
        yield from compare(f"{where} version", expected, alias["FunctionVersion"])


def _version(arn: str) -> str:
    return f"version {version_number(arn)}"


def _shares(weights: dict[str, int]) -> str:
    return ", ".join(f"{version} {weight} %" for version, weight in weights.items())
