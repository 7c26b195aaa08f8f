"""Backups in the artifact bucket, `backups/<id>/`: written once, read only whole and undamaged.

The index, backup.json, names each part with its SHA-256. It goes last, so a backup without one was
interrupted and is no backup.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import CALLS_AT_ONCE, delete_keys, is_missing, list_keys
from ops.environment import Environment, OperationError

PREFIX = "backups/"
INDEX = "backup.json"
RELEASE = "release/"  # below it: the live release's objects, under the paths of its manifest

Parts = dict[str, bytes]  # by path


@dataclass(frozen=True)
class Index:  # pylint: disable=too-many-instance-attributes
    """What a backup is of, and what it is made of."""

    id: str
    environment: str
    account_id: str
    made: str  # UTC, as 2017-01-15T06:30:00Z
    who: str  # the caller's ARN
    command: str  # what it was made for
    release: str  # that was live
    state_machine_version_arn: str
    trigger_version_arn: str
    manifest_sha256: str
    parts: dict[str, str]  # SHA-256 in hex, by path
    size: int  # bytes of all parts
    lacks: list[str] = field(default_factory=list)  # what was missing already

    @property
    def prefix(self) -> str:
        """Where its parts lie in the bucket."""
        return f"{PREFIX}{self.id}/"


@dataclass(frozen=True)
class Backup:
    """A whole backup."""

    index: Index
    parts: Parts

    def json(self, path: str) -> Any:
        """Return a JSON part."""
        return json.loads(self.parts[path])

    def functions(self) -> list[dict[str, Any]]:
        """Return the parts that are functions (functions.read)."""
        paths = sorted(path for path in self.parts if path.startswith("functions/"))
        return [self.json(path) for path in paths]

    def key_of(self, sha256: str) -> str:
        """Return the key of the part that has these bytes; raise OperationError for none."""
        for path, digest in self.index.parts.items():
            if digest == sha256:
                return self.index.prefix + path
        raise OperationError(f"backup {self.index.id} has no part with the SHA-256 {sha256}")


def digest(content: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def put(environment: Environment, backup: Backup) -> None:
    """Write a backup, its index last."""
    s3, bucket = environment.client("s3"), environment.artifact_bucket

    def put_part(path: str) -> None:
        s3.put_object(
            Bucket=bucket,
            Key=backup.index.prefix + path,
            Body=backup.parts[path],
            ChecksumAlgorithm="SHA256",
        )

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        list(pool.map(put_part, backup.parts))
    s3.put_object(
        Bucket=bucket,
        Key=backup.index.prefix + INDEX,
        Body=json.dumps(asdict(backup.index), indent=2).encode() + b"\n",
        ContentType="application/json",
        IfNoneMatch="*",
    )


def read_index(environment: Environment, backup_id: str) -> Index:
    """Return a backup's index; raise OperationError where there is none, or none of ours."""
    key = f"{PREFIX}{backup_id}/{INDEX}"
    address = f"s3://{environment.artifact_bucket}/{key}"
    try:
        answer = environment.client("s3").get_object(Bucket=environment.artifact_bucket, Key=key)
        index = Index(**json.load(answer["Body"]))
    except ClientError as error:
        if not is_missing(error):
            raise
        raise OperationError(
            f"there is no backup {backup_id} in {environment.name}; "
            f"make backups ENV={environment.name} lists those that there are"
        ) from error
    except (ValueError, TypeError) as error:
        raise OperationError(
            f"{address} is no index of a backup: {error}; choose another backup"
        ) from error
    if (index.id, index.environment, index.account_id) != (
        backup_id,
        environment.name,
        environment.account_id,
    ):
        raise OperationError(
            f"{address} is of backup {index.id} of {index.environment} in account "
            f"{index.account_id}; choose a backup of {environment.name}"
        )
    return index


def read(environment: Environment, backup_id: str) -> Backup:
    """Return a backup with every part compared with the index.

    Raises OperationError that names each part that is missing or has other bytes.
    """
    index = read_index(environment, backup_id)
    s3, bucket = environment.client("s3"), environment.artifact_bucket

    def read_part(path: str) -> bytes | None:
        try:
            return s3.get_object(Bucket=bucket, Key=index.prefix + path)["Body"].read()
        except ClientError as error:
            if not is_missing(error):
                raise
            return None

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        found = dict(zip(index.parts, pool.map(read_part, index.parts)))
    if at_fault := faults(index, found):
        address = f"s3://{bucket}/{index.prefix}"
        raise OperationError(
            f"backup {backup_id} is damaged:\n"
            + "\n".join(f"{address}{fault}" for fault in at_fault)
            + f"\nnothing was restored; make backups ENV={environment.name} lists the others"
        )
    return Backup(index, {path: content for path, content in found.items() if content is not None})


def faults(index: Index, found: dict[str, bytes | None]) -> list[str]:
    """Return what is wrong with the parts found (None: missing), a line each."""
    lines = []
    for path, expected in sorted(index.parts.items()):
        content = found.get(path)
        if content is None:
            lines.append(f"{path}: missing")
        elif (actual := digest(content)) != expected:
            lines.append(f"{path}: SHA-256 is {actual}, the index says {expected}")
    return lines


def save(backup: Backup, folder: Path) -> None:
    """Write a backup into a folder, for the steps of a restore."""
    for path, content in backup.parts.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (folder / INDEX).write_text(json.dumps(asdict(backup.index)), encoding="utf-8")


def load(folder: Path) -> Backup:
    """Read back what `save` wrote."""
    index = Index(**json.loads((folder / INDEX).read_text(encoding="utf-8")))
    return Backup(index, {path: (folder / path).read_bytes() for path in index.parts})


def ids(environment: Environment) -> list[str]:
    """Return the ids of the backups that have an index, the newest first."""
    keys = list_keys(environment.client("s3"), environment.artifact_bucket, PREFIX)
    found = (key.removeprefix(PREFIX).split("/") for key in keys)
    return sorted((parts[0] for parts in found if parts[1:] == [INDEX]), reverse=True)


def indexes(environment: Environment) -> tuple[list[Index], list[str]]:
    """Return the indexes of the backups, the newest first, and what is wrong with the others."""

    def index_or_fault(backup_id: str) -> Index | str:
        try:
            return read_index(environment, backup_id)
        except OperationError as error:
            return str(error)

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        found = list(pool.map(index_or_fault, ids(environment)))
    return (
        [index for index in found if isinstance(index, Index)],
        [fault for fault in found if isinstance(fault, str)],
    )


def remove(environment: Environment, backup_id: str) -> int:
    """Remove a backup, its index first: without one it is no backup, however far this comes."""
    s3, bucket = environment.client("s3"), environment.artifact_bucket
    keys = list(list_keys(s3, bucket, f"{PREFIX}{backup_id}/"))
    delete_keys(s3, bucket, sorted(keys, key=lambda key: not key.endswith(f"/{INDEX}")))
    return len(keys)
