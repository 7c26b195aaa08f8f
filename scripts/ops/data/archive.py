"""The archive: every version of every file that was ever loaded, in the order of their rows."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

from ops.aws import CALLS_AT_ONCE
from ops.environment import Environment

ARCHIVE = "data/archive/"


@dataclass(frozen=True, order=True)
class ArchivedFile:
    """One version of an archived file; they sort as their rows count: the last is the newest."""

    run_date: date
    arrived_at: str  # in the inbox, the first time: 2017-01-16T02:00:03Z
    name: str
    key: str
    version_id: str
    size: int
    content_id: str

    def source(self, bucket: str) -> dict[str, Any]:
        """Return the file as an execution's source."""
        return {
            "bucket": bucket,
            "key": self.key,
            "version_id": self.version_id,
            "content_id": self.content_id,
            "arrived_at": self.arrived_at,
            "size": self.size,
            "name": self.name,
            "copy_source": copy_source(bucket, self.key, self.version_id),
        }


def copy_source(bucket: str, key: str, version_id: str) -> str:
    """Return an object version as the state machine names it to S3."""
    return f"{quote(f'{bucket}/{key}')}?versionId={quote(version_id)}"


def archived_files(environment: Environment, dataset: str) -> list[ArchivedFile]:
    """Return every archived version of a dataset's files, in the order of their rows.

    A file that somebody has deleted from the archive is left out, with all its versions.
    """
    s3, bucket = environment.client("s3"), environment.data_bucket

    def with_arrival(version: dict[str, Any]) -> ArchivedFile:
        """Ask for what the run that archived it noted; older files have only S3's own time."""
        head = s3.head_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        archived_at = f"{head['LastModified'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        folder, name = version["Key"].split("/")[-2:]
        return ArchivedFile(
            run_date=date.fromisoformat(folder),
            arrived_at=head["Metadata"].get("arrived-at", archived_at),
            name=name,
            key=version["Key"],
            version_id=version["VersionId"],
            size=version["Size"],
            content_id=version["ETag"].strip('"'),
        )

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        return sorted(pool.map(with_arrival, _versions(s3, bucket, f"{ARCHIVE}{dataset}/")))


def _versions(s3: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    found, deleted = [], set()
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        found += page.get("Versions", [])
        deleted |= {mark["Key"] for mark in page.get("DeleteMarkers", []) if mark["IsLatest"]}
    for version in found:
        in_a_day = re.fullmatch(r"\d{4}-\d{2}-\d{2}", version["Key"].split("/")[-2])
        if version["Key"] not in deleted and in_a_day:
            yield version


def parse_time(text: str) -> datetime:
    """Return 2017-01-16T02:00:03Z, or the warehouse's 2017-01-16 02:00:03, as a time in UTC."""
    return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
