"""Releases in the artifact bucket, `releases/<version>/`: each is written once and never changed.

The manifest goes last, so a release without one was interrupted and is no release. S3 keeps and
checks the SHA-256 of each object, which is what other bytes under the same version are recognised
by.
"""

import argparse
import base64
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from botocore.exceptions import ClientError

from ops.environment import Environment, OperationError, command
from ops.build.manifest import MANIFEST, ManifestError, sha256, verify


class ReleaseConflict(Exception):
    """The bucket has other bytes under this version; the message names each object."""


def upload(root: Path, bucket: str, s3) -> int:
    """Put the release at `root` into the bucket; return how many objects were new.

    Raises ManifestError when `root` does not match its manifest, ReleaseConflict before anything
    is written.
    """
    manifest = verify(root)
    prefix = f"releases/{manifest['version']}"
    paths = [artifact["path"] for artifact in manifest["artifacts"]] + [MANIFEST]
    digests = {path: checksum(root / path) for path in paths}
    with ThreadPoolExecutor(8) as pool:
        stored = dict(
            zip(paths, pool.map(lambda p: stored_checksum(s3, bucket, f"{prefix}/{p}"), paths))
        )
        if conflicts := [path for path in paths if stored[path] not in (None, digests[path])]:
            raise ReleaseConflict(
                "\n".join(f"s3://{bucket}/{prefix}/{path} has other bytes" for path in conflicts)
            )

        def put(path: str) -> None:
            s3.put_object(
                Bucket=bucket,
                Key=f"{prefix}/{path}",
                Body=(root / path).read_bytes(),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=digests[path],
                IfNoneMatch="*",
            )

        new = [path for path in paths if stored[path] is None]
        list(pool.map(put, [path for path in new if path != MANIFEST]))
        if MANIFEST in new:
            put(MANIFEST)
    return len(new)


def checksum(file: Path) -> str:
    """Return a file's SHA-256 as S3 writes it, in base64."""
    return base64.b64encode(bytes.fromhex(sha256(file))).decode()


def stored_checksum(s3, bucket: str, key: str) -> str | None:
    """Return the base64 SHA-256 of an object, or None where there is no object."""
    try:
        head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return None
        raise
    return head.get("ChecksumSHA256", "unknown: it was not put there by this tool")


def download(version: str, bucket: str, target: Path, s3) -> None:
    """Fetch a release into the folder `target` and verify it.

    Raises ManifestError when the bucket holds no whole release of that version.
    """
    fetch(version, bucket, target, s3)
    verify(target)


def fetch(version: str, bucket: str, target: Path, s3) -> None:
    """Fetch a release as it is; raise ManifestError when the bucket has no manifest of it."""
    prefix = f"releases/{version}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    if prefix + MANIFEST not in keys:
        raise ManifestError(f"s3://{bucket}/{prefix} is no release: there is no {MANIFEST}")
    for key in keys:
        file = target / key.removeprefix(prefix)
        file.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(file))


@command
def main() -> int:
    """Upload or download one release."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.releases", description=__doc__)
    parser.add_argument("direction", choices=("upload", "download"))
    parser.add_argument("--env", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("root", type=Path, help="the release's folder")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    bucket, s3 = environment.artifact_bucket, environment.client("s3")
    address = f"s3://{bucket}/releases/{arguments.version}/"
    try:
        if arguments.direction == "download":
            download(arguments.version, bucket, arguments.root, s3)
        elif new := upload(arguments.root, bucket, s3):
            print(f"  {new} new objects in {address}", file=sys.stderr)
        else:
            print(f"  {address} is there already, the same bytes", file=sys.stderr)
    except ReleaseConflict as error:
        raise OperationError(
            f"{error}\na version is written once; give this build another one"
        ) from error
    except ManifestError as error:
        raise OperationError(str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
