"""What speaks for a release in an environment: its tests, its checks, its approvals.

One JSON object each, evidence/<kind>/<version>.json in the environment's artifact bucket. A record
counts for exactly one manifest, whose SHA-256 it names: other bytes under the same version have
nothing to show for themselves. Writing a record again replaces it; the bucket keeps the earlier
one for as long as its lifecycle rule says. Records are not pruned with their releases.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops.build.manifest import MANIFEST, read, sha256
from ops.build.version import REPOSITORY
from ops.checks.evidence_of_tests import LAYERS, LOCAL
from ops.environment import Environment, command

BUILDS = REPOSITORY / "build"
PREFIX = "evidence/"
POSTCHECK = "postcheck"  # the checks after a deploy, here
PROMOTION = "promotion"  # the checks after a deploy, in the environment before

Record = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """A release as evidence names it."""

    version: str
    manifest_sha256: str
    sources: str  # the version that its sources have, whatever it was named
    commit: str
    dirty: bool

    @classmethod
    def of(cls, root: Path) -> "Release":
        """Return the release in the folder `root`; raise ManifestError where there is none."""
        manifest = read(root)
        return cls(
            manifest["version"],
            sha256(root / MANIFEST),
            manifest["sources"],
            manifest["commit"],
            manifest["dirty"],
        )


def tests(layer: str) -> str:
    """Return the kind of record that says that a layer of the tests has passed."""
    return f"tests/{layer}"


def approval(role: str) -> str:
    """Return the kind of record that says that a role has signed off."""
    return f"approvals/{role}"


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def latest(environment: Environment, kind: str, version: str) -> Record | None:
    """Return the record of a kind, whatever manifest it is of; None where there is none."""
    try:
        found = environment.client("s3").get_object(
            Bucket=environment.artifact_bucket, Key=_key(kind, version)
        )
    except ClientError as error:
        # Before the first deploy there is no bucket.
        if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchBucket"):
            raise
        return None
    return json.load(found["Body"])


def find(environment: Environment, kind: str, release: Release) -> Record | None:
    """Return the record of a kind if it is of this very manifest."""
    record = latest(environment, kind, release.version)
    return record if record and record["manifest_sha256"] == release.manifest_sha256 else None


def write(
    environment: Environment, kind: str, version: str, manifest_sha256: str, record: Record
) -> str:
    """Write a record about one manifest of a version; return its address."""
    key = _key(kind, version)
    about = {"version": version, "manifest_sha256": manifest_sha256}
    environment.client("s3").put_object(
        Bucket=environment.artifact_bucket,
        Key=key,
        Body=json.dumps(record | about, indent=2).encode() + b"\n",
        ContentType="application/json",
    )
    return f"s3://{environment.artifact_bucket}/{key}"


def _key(kind: str, version: str) -> str:
    return f"{PREFIX}{kind}/{version}.json"


def local_tests(builds: Path, layer: str, release: Release) -> Record | None:
    """Return what `make test` has left in this checkout for the release's sources.

    The same commit gives the same bytes (make build), so a run of the tests on it speaks for every
    release that was built from it.
    """
    file = builds / LOCAL / tests(layer) / f"{release.sources}.json"
    if release.dirty or not file.is_file():
        return None
    return json.loads(file.read_text(encoding="utf-8"))


def tests_passed(
    environment: Environment, layer: str, release: Release, builds: Path
) -> Record | None:
    """Return the record of a layer: of the environment, of this checkout, of the one before."""
    record = find(environment, tests(layer), release) or local_tests(builds, layer, release)
    if record is None and (before := environment.before()):
        record = find(before, tests(layer), release)
    return record


def promoted(environment: Environment, release: Release) -> Record | None:
    """Return the record that the release has passed its checks in the environment before."""
    record = find(environment, PROMOTION, release)
    if record is None and (before := environment.before()):
        record = find(before, POSTCHECK, release)
    return record if record and record["passed"] else None


def carry(environment: Environment, release: Release, builds: Path, promotion: bool) -> list[str]:
    """Keep with the release, in its environment's bucket, what speaks for it so far.

    Tests of this checkout, and with `promotion` whatever the environment before has. Returns what
    is new.
    """
    before = environment.before() if promotion else None
    new: dict[str, Record] = {}
    for layer in LAYERS:
        kind = tests(layer)
        if find(environment, kind, release):
            continue
        record = local_tests(builds, layer, release)
        if record is None and before:
            record = find(before, kind, release)
        if record:
            new[kind] = record
    if before and not find(environment, PROMOTION, release):
        if record := promoted(environment, release):
            new[PROMOTION] = record
    version, manifest_sha256 = release.version, release.manifest_sha256
    return [
        write(environment, kind, version, manifest_sha256, record) for kind, record in new.items()
    ]


@command
def main() -> int:
    """Keep the evidence with an uploaded release."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.evidence", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--promoted-from", default="", help="the environment it comes from")
    parser.add_argument("root", type=Path, help="the release's folder")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    promotion = bool(arguments.promoted_from) or environment.gates["promoted"]
    for address in carry(environment, Release.of(arguments.root), BUILDS, promotion):
        print(f"  {address}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
