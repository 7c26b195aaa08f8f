"""Removes what no rollback needs any more, at the end of each deploy.

Kept are the releases that were live last, as many as release.keep_releases says. Never removed,
however old: what is live or was live before, what a running execution works with, what an alias
points at, what a state machine version that stays calls, and the code that the application stack
would go back to. The bucket keeps versions, so a deleted object can be
had back for as long as its lifecycle rule says.
"""

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from ops.build.manifest import MANIFEST
from ops.aws import CALLS_AT_ONCE, delete_keys, list_keys
from ops.environment import Environment, command
from ops.release.deploys import SUCCEEDED, Record, before, history
from ops.release.live import routes
from ops.release.pins import Pins, pins
from ops.release.rollback import state_machine_versions
from ops.release.stacks import FUNCTION, stack_resources

RELEASES = "releases/"
LATEST = "$LATEST"


@dataclass(frozen=True)
class MachineVersion:
    """A version of the state machine: a release, and what it calls."""

    arn: str
    release: str
    pinned: Pins


@dataclass(frozen=True)
class Releases:
    """Which releases stay."""

    kept: frozenset[str]
    were_live: frozenset[str]
    uploaded: dict[str, datetime]

    def stays(self, release: str) -> bool:
        """Return whether a release stays.

        One that was never live stays as long as it is newer than the oldest that is kept: it may be
        about to be deployed.
        """
        if release in self.kept:
            return True
        oldest = min(
            (self.uploaded[name] for name in self.kept & self.uploaded.keys()), default=None
        )
        return bool(
            oldest
            and release not in self.were_live
            and release in self.uploaded
            and self.uploaded[release] > oldest
        )


def releases_to_keep(records: list[Record], live: Iterable[str], keep: int) -> list[str]:
    """Return the releases to keep: what is live, what was before, and the last `keep` that were."""
    live = list(live)
    were_live = list(dict.fromkeys(r["to"] for r in records if r["result"] == SUCCEEDED))
    previous = [record for name in live if (record := before(name, records))]
    return list(dict.fromkeys([*live, *(r["to"] for r in previous), *were_live[:keep]]))


class Pruning:
    """One pruning: reads what there is, then removes what nothing needs."""

    def __init__(self, environment: Environment):
        self._environment = environment
        self._states = environment.client("stepfunctions")
        self._lambda = environment.client("lambda")
        self._s3 = environment.client("s3")
        self._cloudformation = environment.client("cloudformation")
        self._bucket = environment.artifact_bucket
        self.removed: list[str] = []

    def run(self) -> None:
        """Remove state machine versions, function versions, layer versions, objects."""
        records = history(self._environment)
        arns = state_machine_versions(self._environment)
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            machine_versions = list(pool.map(self._machine_version, arns))
        releases = self._releases(records, machine_versions)
        used = set(routes(self._environment)) | self._running()
        doomed = [
            v for v in machine_versions if v.arn not in used and not releases.stays(v.release)
        ]
        remaining = [version for version in machine_versions if version not in doomed]
        pinned = [version.pinned for version in remaining] + [self._current_pins()]

        self._remove_machine_versions(doomed)
        self._remove_function_versions(releases, records, pinned)
        self._remove_objects(releases, pinned)

    # ---- what there is -------------------------------------------------------------------------

    def _machine_version(self, arn: str) -> MachineVersion:
        version = self._states.describe_state_machine(stateMachineArn=arn)
        return MachineVersion(arn, version.get("description", ""), pins(version["definition"]))

    def _current_pins(self) -> Pins:
        machine = self._states.describe_state_machine(
            stateMachineArn=self._environment.state_machine_arn
        )
        return pins(machine["definition"])

    def _releases(self, records: list[Record], versions: list[MachineVersion]) -> Releases:
        keep = self._environment.config["release"]["keep_releases"]
        routed = routes(self._environment)
        live = [version.release for version in versions if version.arn in routed]
        kept = releases_to_keep(records, live, keep) + [self._stacks_release()]
        uploaded: dict[str, datetime] = {}
        pages = self._s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=RELEASES):
            for item in page.get("Contents", []):
                name = item["Key"].split("/")[1]
                uploaded[name] = max(uploaded.get(name, item["LastModified"]), item["LastModified"])
        were_live = frozenset(r["to"] for r in records if r["result"] == SUCCEEDED)
        return Releases(frozenset(kept), were_live, uploaded)

    def _stacks_release(self) -> str:
        """Return the application stack's release: an update that fails goes back to its code."""
        (stack,) = self._cloudformation.describe_stacks(
            StackName=self._environment.stack("application")
        )["Stacks"]
        parameters = {item["ParameterKey"]: item["ParameterValue"] for item in stack["Parameters"]}
        return parameters["ReleaseVersion"]

    def _running(self) -> set[str]:
        """Return the state machine versions that running executions started with."""
        pages = self._states.get_paginator("list_executions").paginate(
            stateMachineArn=self._environment.state_machine_arn, statusFilter="RUNNING"
        )
        return {
            execution["stateMachineVersionArn"]
            for page in pages
            for execution in page["executions"]
            if "stateMachineVersionArn" in execution
        }

    # ---- what goes -----------------------------------------------------------------------------

    def _remove_machine_versions(self, doomed: list[MachineVersion]) -> None:
        for version in doomed:
            self._states.delete_state_machine_version(stateMachineVersionArn=version.arn)
            self.removed.append(
                f"{version.arn.rpartition(':stateMachine:')[2]} ({version.release})"
            )

    def _remove_function_versions(
        self, releases: Releases, records: list[Record], pinned: list[Pins]
    ) -> None:
        used = {arn for each in pinned for arn in each.functions.values()}
        used |= {
            record["live"]["trigger_version_arn"]
            for record in records
            if releases.stays(record["to"]) and record.get("live")
        }
        layers: set[str] = set()
        for name in stack_resources(self._environment, "application", FUNCTION).values():
            layers |= self._remove_versions_of(name, used, releases)
        self._remove_layer_versions(layers)

    def _remove_versions_of(self, name: str, used: set[str], releases: Releases) -> set[str]:
        """Remove versions of a function; return the layer versions of those that stay."""
        aliased: set[str] = set()
        for page in self._lambda.get_paginator("list_aliases").paginate(FunctionName=name):
            for alias in page["Aliases"]:
                weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
                aliased |= {alias["FunctionVersion"], *weights}
        layers: set[str] = set()
        pages = self._lambda.get_paginator("list_versions_by_function").paginate(FunctionName=name)
        for version in [version for page in pages for version in page["Versions"]]:
            if (
                version["Version"] == LATEST
                or version["Version"] in aliased
                or version["FunctionArn"] in used
                or releases.stays(version.get("Description", ""))
            ):
                layers |= {layer["Arn"] for layer in version.get("Layers", [])}
                continue
            self._lambda.delete_function(FunctionName=name, Qualifier=version["Version"])
            self.removed.append(f"{name}:{version['Version']} ({version.get('Description', '')})")
        return layers

    def _remove_layer_versions(self, used: set[str]) -> None:
        for layer in sorted({arn.rpartition(":")[0] for arn in used}):
            pages = self._lambda.get_paginator("list_layer_versions").paginate(LayerName=layer)
            for version in [version for page in pages for version in page["LayerVersions"]]:
                if version["LayerVersionArn"] not in used:
                    self._lambda.delete_layer_version(
                        LayerName=layer, VersionNumber=version["Version"]
                    )
                    name = version["LayerVersionArn"].rpartition("layer:")[2]
                    self.removed.append(f"layer {name} ({version.get('Description', '')})")

    def _remove_objects(self, releases: Releases, pinned: list[Pins]) -> None:
        called = {key.split("/")[1] for each in pinned for _, key in each.objects}
        for release in sorted(releases.uploaded):
            if release in called or releases.stays(release):
                continue
            keys = list(list_keys(self._s3, self._bucket, f"{RELEASES}{release}/"))
            # Its manifest first: without one it is no release, however far this comes.
            manifest_first = sorted(keys, key=lambda key: not key.endswith(f"/{MANIFEST}"))
            delete_keys(self._s3, self._bucket, manifest_first)
            self.removed.append(f"{RELEASES}{release}/, {len(keys)} objects")


@command
def main() -> int:
    """Prune one environment; say what was removed."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.prune", description=__doc__)
    parser.add_argument("--env", required=True)
    environment = Environment.load(parser.parse_args().env)
    pruning = Pruning(environment)
    try:
        pruning.run()
    finally:
        for line in pruning.removed or ["nothing to remove"]:
            print(f"  {line}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
