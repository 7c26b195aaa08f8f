"""The functions' code and settings: $LATEST, and the versions that the live release is made of."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import CALLS_AT_ONCE, is_missing
from ops.build.manifest import read
from ops.drift.baseline import Baseline
from ops.drift.findings import Finding, compare, missing
from ops.environment import LIVE, Environment
from ops.release.live import routes
from ops.release.pins import pins
from ops.release.switch import TRIGGER

# What a template may leave out, and Lambda then has. CloudFormation compares only what is set.
UNSET: dict[str, Any] = {
    "DeadLetterConfig": {},
    "Environment": {},
    "FileSystemConfigs": [],
    "Layers": [],
    "ReservedConcurrentExecutions": None,
}
# Of a version these are compared with the template too: no stack has it as a resource.
SETTINGS = ("Architectures", "Handler", "MemorySize", "Role", "Runtime", "Timeout", *UNSET)


@dataclass(frozen=True)
class Codes:
    """The SHA-256 that a release's archives have in Lambda, by the function's or layer's name."""

    functions: dict[str, str]
    layers: dict[str, str]

    @classmethod
    def of(cls, environment: Environment, root: Path | None) -> "Codes":
        """Read a release's manifest; without a release nothing is known."""
        functions, layers = {}, {}
        for artifact in read(root)["artifacts"] if root else []:
            path = PurePosixPath(artifact["path"])
            digest = base64.b64encode(bytes.fromhex(artifact["sha256"])).decode()
            if path.parts[0] == "lambdas":
                functions[environment.function(path.stem.replace("_", "-"))] = digest
            elif path.parts[0] == "layers":
                layers[f"{environment.prefix}-{path.stem}"] = digest
        return cls(functions, layers)


def findings(
    environment: Environment, baseline: Baseline, expected: dict[str, dict[str, Any]]
) -> Iterator[Finding]:
    """Yield where code or settings are not the release's.

    `expected` has the properties that the stack gives each function, by the function's name.
    """
    current = Codes.of(environment, baseline.stack_root)
    live = Codes.of(environment, baseline.live_root)
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        checks = [
            pool.submit(_latest, environment, name, current, expected.get(name, {}))
            for name in current.functions
        ]
        # After a rollback the template is of another release than the versions.
        same = baseline.stack_release == baseline.release
        checks += [
            pool.submit(_version, environment, arn, live, expected if same else {})
            for arn in versions(environment, baseline)
        ]
        for check in checks:
            yield from check.result()


def versions(environment: Environment, baseline: Baseline) -> list[str]:
    """Return the ARNs of the function versions that what is live calls, the trigger's last."""
    state_machine = next(iter(routes(environment)), baseline.state_machine_version_arn)
    found: list[str] = []
    try:
        described = environment.client("stepfunctions").describe_state_machine(
            stateMachineArn=state_machine
        )
        found += pins(described["definition"]).functions.values()
        alias = environment.client("lambda").get_alias(
            FunctionName=environment.function(TRIGGER), Name=LIVE
        )
        found.append(f"{alias['AliasArn'].rpartition(':')[0]}:{alias['FunctionVersion']}")
    except ClientError as error:
        if not is_missing(error):
            raise  # what is missing is for ops.drift.aliases and state_machine to say
    return found


def _latest(
    environment: Environment, name: str, codes: Codes, expected: dict[str, Any]
) -> list[Finding]:
    """Return what is wrong with $LATEST and CloudFormation does not see."""
    where = f"function {name}"
    settings = settings_of(environment, name)
    if settings is None:
        return []  # CloudFormation says that it is gone
    found = list(compare(f"{where} code sha256", codes.functions[name], settings["CodeSha256"]))
    for key, default in UNSET.items():
        if key not in expected:
            found += compare(f"{where} {key}", default, settings.get(key, default))
    return found


def _version(
    environment: Environment, arn: str, codes: Codes, expected: dict[str, dict[str, Any]]
) -> list[Finding]:
    """Return what is wrong with a version that is live."""
    name, number = arn.split(":")[6:]
    where = f"function {name} version {number}, which is live"
    settings = settings_of(environment, arn)
    if settings is None:
        return [missing(where)]
    found = []
    if name in codes.functions:
        found += compare(f"{where}: code sha256", codes.functions[name], settings["CodeSha256"])
    for layer in settings.get("Layers", []) if codes.layers else []:
        found += _layer(environment, where, layer, codes)
    if name in expected:
        # The layer was compared by its bytes, and concurrency is the function's, not a version's.
        for key in set(SETTINGS) - {"Layers", "ReservedConcurrentExecutions"}:
            wanted = expected[name].get(key, UNSET.get(key))
            found += compare(f"{where}: {key}", wanted, settings.get(key, UNSET.get(key)))
    return found


def _layer(environment: Environment, where: str, arn: str, codes: Codes) -> Iterator[Finding]:
    name, number = arn.split(":")[6:]
    where = f"{where}: layer {name} version {number}"
    try:
        content = environment.client("lambda").get_layer_version_by_arn(Arn=arn)["Content"]
    except ClientError as error:
        if not is_missing(error):
            raise
        yield missing(where)
        return
    yield from compare(f"{where} code sha256", codes.layers.get(name, ""), content["CodeSha256"])


def settings_of(environment: Environment, function: str) -> dict[str, Any] | None:
    """Return a function's or a version's settings as a template spells them."""
    client = environment.client("lambda")
    try:
        settings = client.get_function_configuration(FunctionName=function)
        concurrency = client.get_function_concurrency(FunctionName=settings["FunctionName"])
    except ClientError as error:
        if not is_missing(error):
            raise
        return None
    variables = settings.get("Environment", {}).get("Variables")
    return settings | {
        "DeadLetterConfig": settings.get("DeadLetterConfig") or {},
        "Environment": {"Variables": variables} if variables else {},
        "Layers": [layer["Arn"] for layer in settings.get("Layers", [])],
        "ReservedConcurrentExecutions": concurrency.get("ReservedConcurrentExecutions"),
    }
