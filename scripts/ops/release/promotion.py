"""Fetches from one environment the release that is to be promoted to the next.

Refuses, before anything of the next environment is touched: a way that is not the promotion path,
a release that has not passed its checks (make postcheck) where it comes from, and one whose bytes
are not those that passed.
"""

import argparse
import sys
from pathlib import Path

from ops.build.manifest import ManifestError
from ops.environment import Environment, OperationError, command
from ops.release import evidence
from ops.release.evidence import Release
from ops.release.live import live_release
from ops.release.releases import download


def source(origin: str, target: Environment) -> Environment:
    """Return the environment that a release comes from; raise OperationError off the path."""
    before = target.before()
    if before is None or before.name != origin:
        path = " -> ".join(target.config["release"]["promotion_path"])
        way = f"{target.name} takes releases from {before.name}" if before else "it starts there"
        raise OperationError(
            f"nothing is promoted from {origin} to {target.name}: {way}; the path is {path} "
            "(release.promotion_path)"
        )
    return before


def checked_manifest(origin: Environment, version: str) -> str:
    """Return the SHA-256 of the manifest that has passed its checks in an environment.

    Raises OperationError that says what is missing and how to get it.
    """
    record = evidence.latest(origin, evidence.POSTCHECK, version)
    if record is None:
        live = live_release(origin)
        deploy = (
            ""
            if live and live.release == version
            else f"make deploy ENV={origin.name} VERSION={version}, then "
        )
        raise OperationError(
            f"{version} has not passed its checks in {origin.name}: {deploy}make postcheck "
            f"ENV={origin.name}"
        )
    if not record["passed"]:
        failed = [check["name"] for check in record["checks"] if not check["passed"]]
        raise OperationError(
            f"{version} has failed its checks in {origin.name} at {record['when']}: "
            f"{', '.join(failed)}; mend that, then make postcheck ENV={origin.name}"
        )
    return record["manifest_sha256"]


def promote(origin: Environment, version: str, target: Path) -> Release:
    """Fetch the release into the folder `target`; raise OperationError unless it may go on."""
    checked = checked_manifest(origin, version)
    try:
        download(version, origin.artifact_bucket, target, origin.client("s3"))
    except ManifestError as error:
        raise OperationError(
            f"{version} in {origin.name} is not what its manifest says:\n{error}\nSomebody has "
            "changed it since it was uploaded: find out who, and build a new version"
        ) from error
    release = Release.of(target)
    if release.manifest_sha256 != checked:
        raise OperationError(
            f"the manifest of {version} in {origin.name} is {release.manifest_sha256}, and the one "
            f"that passed its checks there is {checked}: make postcheck ENV={origin.name}"
        )
    return release


@command
def main() -> int:
    """Fetch the release that is to be promoted; print its version."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.promotion", description=__doc__)
    parser.add_argument("--from", dest="origin", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--version", default="", help="default: what is live where it comes from")
    parser.add_argument("builds", type=Path, help="a folder to fetch it into, <builds>/<version>/")
    arguments = parser.parse_args()
    origin = source(arguments.origin, Environment.load(arguments.to))
    who = origin.caller()
    live = None if arguments.version else live_release(origin)
    version = arguments.version or (live.release if live else "")
    if not version:
        raise OperationError(f"nothing is live in {origin.name}: make deploy ENV={origin.name}")
    release = promote(origin, version, arguments.builds / version)
    print(
        f"  {version}, manifest {release.manifest_sha256}, passed its checks in {origin.name} "
        f"(read as {who})",
        file=sys.stderr,
    )
    print(version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
