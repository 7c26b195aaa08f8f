"""Finds a release by its version, wherever it is on its way to an environment.

It is looked for in the environment's own bucket, in that of the environment that it would be
promoted from, and in build/; the first that has it counts.
"""

import argparse
import sys
from pathlib import Path

from botocore.exceptions import ClientError

from ops.aws import list_keys
from ops.build.manifest import MANIFEST, ManifestError
from ops.build.manifest import verify as verify_artifacts
from ops.environment import Environment, OperationError, command
from ops.release.evidence import BUILDS, Release
from ops.release.releases import download

RELEASES = "releases/"


def uploaded(environment: Environment) -> list[str]:
    """Return the versions in an environment's bucket that are whole, sorted."""
    try:
        keys = list(list_keys(environment.client("s3"), environment.artifact_bucket, RELEASES))
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        return []
    return sorted(key.split("/")[1] for key in keys if key.endswith(f"/{MANIFEST}"))


def fetch(
    environment: Environment, version: str, target: Path, builds: Path = BUILDS
) -> tuple[Path, str]:
    """Return the folder of a release, fetched into `target` if it has to be, and where it was.

    Raises OperationError that names the known versions, ManifestError for a release whose bytes
    are not those of its manifest.
    """
    known: dict[str, list[str]] = {}
    for place in filter(None, (environment, environment.before())):
        known[place.artifact_bucket] = uploaded(place)
        if version in known[place.artifact_bucket]:
            download(version, place.artifact_bucket, target, place.client("s3"))
            return target, f"s3://{place.artifact_bucket}/{RELEASES}{version}/"
    known["build/"] = sorted(file.parent.name for file in builds.glob(f"[!.]*/{MANIFEST}"))
    if version in known["build/"]:
        verify_artifacts(builds / version)
        return builds / version, f"build/{version}/"
    places = "\n".join(f"  {place}: {', '.join(there) or 'none'}" for place, there in known.items())
    raise OperationError(f"there is no release {version}; known are:\n{places}")


def fetch_or_refuse(environment: Environment, version: str, target: Path) -> tuple[Path, str]:
    """Do as `fetch` does, with OperationError for a release that has been changed, too."""
    try:
        return fetch(environment, version, target)
    except ManifestError as error:
        raise OperationError(f"{version} is not what its manifest says:\n{error}") from error


@command
def main() -> int:
    """Print the folder of a release, fetched if it has to be."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.lookup", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("target", type=Path, help="a folder to fetch it into")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    root, where = fetch_or_refuse(environment, arguments.version, arguments.target)
    sha256 = Release.of(root).manifest_sha256
    print(f"  {arguments.version}, manifest {sha256}, is in {where}", file=sys.stderr)
    print(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
