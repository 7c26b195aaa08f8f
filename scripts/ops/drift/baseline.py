"""What an environment should be: the release that was made live last, by the records.

A rollback leaves the stacks and the functions' $LATEST as the deploy before it made them. So there
are two releases to compare with: the one that is live and the one that the stacks are of.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops.build.manifest import MANIFEST, ManifestError, read, sha256
from ops.drift.findings import Finding, missing
from ops.environment import STACKS, Environment, OperationError
from ops.release.deploys import INTERRUPTED, RUNNING, Record, history
from ops.release.live import live_release
from ops.release.releases import fetch

# The phases of deploy.sh that move what is live.
SWITCHING = ("shift_traffic", "switch_live")


@dataclass(frozen=True)
class Baseline:
    """What the records and the stacks say that should be there."""

    release: str  # should be live
    state_machine_version_arn: str
    trigger_version_arn: str  # empty: a deploy was interrupted before it was on record
    manifest_sha256: str
    stack_release: str  # whose templates the stacks have; empty: there is no application stack
    stacks: dict[str, dict[str, Any]]  # described, by their short names
    releases: dict[str, Path]  # folders with the fetched releases, by version

    @property
    def live_root(self) -> Path | None:
        """The folder of the release that should be live, None where the bucket lost it."""
        return self.releases.get(self.release)

    @property
    def stack_root(self) -> Path | None:
        """The folder of the release that the stacks are of."""
        return self.releases.get(self.stack_release)


def find(environment: Environment, folder: Path) -> Baseline:
    """Return what should be there, its releases fetched into `folder`.

    Raises OperationError where nothing was ever made live.
    """
    records = history(environment)
    record = switched(environment, records)
    stacks = dict(_stacks(environment))
    parameters = stacks.get("application", {}).get("Parameters", [])
    values = {item["ParameterKey"]: item["ParameterValue"] for item in parameters}
    stack_release = values.get("ReleaseVersion", "")
    releases = {}
    bucket, s3 = environment.artifact_bucket, environment.client("s3")
    for version in {record["to"], stack_release} - {""}:
        try:
            fetch(version, bucket, folder / version, s3)
            releases[version] = folder / version
        except ManifestError:
            pass  # release_findings says so
    return Baseline(
        release=record["to"],
        state_machine_version_arn=record["live"]["state_machine_version_arn"],
        trigger_version_arn=record["live"]["trigger_version_arn"],
        manifest_sha256=record["manifest_sha256"],
        stack_release=stack_release,
        stacks=stacks,
        releases=releases,
    )


def switched(environment: Environment, records: list[Record]) -> Record:
    """Return of the records, the newest first, the one that says what is live.

    A command that was killed while it switched has no such record of its own: what it was to make
    live counts, if it is. Raises OperationError where nothing was ever made live.
    """
    live = live_release(environment)
    newest = records[0] if records else None
    if newest and live and newest["to"] == live.release and _may_have_switched(newest):
        routed = {"state_machine_version_arn": live.version_arn, "trigger_version_arn": ""}
        return newest | {"live": routed}
    for record in records:
        if record["live"]["state_machine_version_arn"]:
            return record
    raise OperationError(
        f"no deploy to {environment.name} has made anything live: there is nothing to compare "
        f"with; run: make deploy ENV={environment.name}"
    )


def _may_have_switched(record: Record) -> bool:
    """Return whether a command ended while it switched, without a word on what is live since."""
    ended = record["result"] in (RUNNING, INTERRUPTED) or record["result"].endswith(SWITCHING)
    return ended and not record["live"]["state_machine_version_arn"]


def _stacks(environment: Environment) -> Iterator[tuple[str, dict[str, Any]]]:
    client = environment.client("cloudformation")
    for name in STACKS:
        try:
            yield name, client.describe_stacks(StackName=environment.stack(name))["Stacks"][0]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise


def release_findings(environment: Environment, baseline: Baseline) -> Iterator[Finding]:
    """Yield what in the artifact bucket is not as the manifests and the record have it."""
    for version in sorted({baseline.release, baseline.stack_release} - {""}):
        address = f"s3://{environment.artifact_bucket}/releases/{version}"
        root = baseline.releases.get(version)
        if root is None:
            yield missing(f"{address}/{MANIFEST}")
            continue
        recorded = baseline.manifest_sha256 if version == baseline.release else ""
        if recorded and sha256(root / MANIFEST) != recorded:
            yield Finding(f"{address}/{MANIFEST} sha256", recorded, sha256(root / MANIFEST))
        for artifact in read(root)["artifacts"]:
            where = f"{address}/{artifact['path']}"
            if not (root / artifact["path"]).exists():
                yield missing(where, f"sha256 {artifact['sha256']}")
            elif (found := sha256(root / artifact["path"])) != artifact["sha256"]:
                yield Finding(f"{where} sha256", artifact["sha256"], found)
