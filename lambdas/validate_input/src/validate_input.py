"""Checks a run's source files before computing is paid for, and gives the run copies of its own.

Decides what the file's name, size and head can tell: its dataset, its run date, its encoding and
its header. What needs every row is the job's to decide. The copies in data/staging/ are of the
exact versions checked, so that nobody can change a file between the check and the load.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC
from operator import itemgetter
from typing import Any, TypeVar

from botocore.exceptions import ClientError
from pipeline_common.aws import client, error_code
from pipeline_common.config import load_config
from pipeline_common.errors import InvalidSourceFile
from pipeline_common.log import bind, logged, logger
from pipeline_common.run_names import safe_names, unique_names
from source_file import HEAD_BYTES, check_head, match_dataset, read_head

# S3 copies larger objects only in parts, and Spark could not split a larger .csv.gz anyway.
MAX_BYTES = 5 * 1024**3
# A larger .csv.gz is not read to its end here: the job finds out whether it is whole.
GZIP_CHECK_BYTES = 64 * 1024**2
PARALLEL_FILES = 8
GONE = {"NoSuchKey", "NoSuchVersion", "404"}

T = TypeVar("T")
Source = dict[str, Any]


@logged
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Returns the run: the execution's input with its dataset, date, places and staged sources.

    A run of several files is of one dataset; its run_date is the latest of theirs, while each file
    is archived under its own. Its files are in the order of the load: by run date, then arrival.
    A target without an archive_prefix is that of a replay, whose files stay where they are. Raises
    InvalidSourceFile for a file that cannot be loaded, ConfigurationError for a missing
    configuration.
    """
    sources, target = event["sources"], event["target"]
    if not sources:
        raise InvalidSourceFile("The run has no source files: name at least one.")
    datasets = load_config(event["config_uri"])["datasets"]
    for source in sources:
        _check_size(source)
    matches = [match_dataset(source["key"], source["name"], datasets) for source in sources]
    dataset = _one_dataset(sources, [name for name, _ in matches])
    bind(dataset=dataset)
    sources = sorted(
        (
            {**source, "run_date": run_date, "arrived_at": _arrived_at(source)}
            for source, (_, run_date) in zip(sources, matches)
        ),
        key=itemgetter("run_date", "arrived_at", "name"),
    )

    run_id, bucket = event["run_id"], sources[0]["bucket"]
    staging = f"data/staging/{run_id}/"
    runs = f"s3://{bucket}/data/runs/{run_id}/"
    staged_names = safe_names(source["name"] for source in sources)
    archive_names = unique_names(f"{source['run_date']}/{source['name']}" for source in sources)
    archive = f"{target['archive_prefix']}{dataset}/" if "archive_prefix" in target else None

    _each(lambda source: _check_content(source, datasets[dataset]), sources)
    _each(lambda pair: _copy(pair[0], staging + pair[1]), zip(sources, staged_names))
    logger.info("staged", extra={"files": staged_names})

    return {
        "run_id": run_id,
        "dataset": dataset,
        "run_date": sources[-1]["run_date"],
        "release": event["release"],
        "config_uri": event["config_uri"],
        "schema": target["schema"],
        "table": target.get("table", datasets[dataset]["target"]["table"]),
        "replay": archive is None,
        "source_prefix": f"s3://{bucket}/{staging}",
        "source_file_name": ",".join(staged_names),
        "output_prefix": runs,
        "report_uri": f"{runs}report.json",
        "page_uri": f"{runs}report.html",
        "history_prefix": f"s3://{bucket}/data/history/{event['target']['schema']}/{dataset}/",
        "manifest_uri": f"{runs}manifest.json",
        "sources": [
            {
                **source,
                "safe_name": staged_name,
                "staging_copy_source": f"{bucket}/{staging}{staged_name}",
                "archive_key": archive + archive_name if archive else source["key"],
            }
            for source, staged_name, archive_name in zip(sources, staged_names, archive_names)
        ],
    }


def _arrived_at(source: Source) -> str:
    """Returns when a file arrived: what the source says, or else S3."""
    if "arrived_at" in source:
        return source["arrived_at"]
    try:
        head = client("s3").head_object(
            Bucket=source["bucket"], Key=source["key"], VersionId=source["version_id"]
        )
    except ClientError as error:
        raise _gone(source, error) from error
    return f"{head['LastModified'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _each(action: Callable[[T], None], items: Iterable[T]) -> None:
    """Runs an action on each item, a few at a time; raises the first item's error."""
    with ThreadPoolExecutor(PARALLEL_FILES) as pool:
        for _ in pool.map(action, items):
            pass


def _check_size(source: Source) -> None:
    if source["size"] == 0:
        raise InvalidSourceFile(
            f"{source['name']} is an empty file (0 bytes): send it again with its header and rows."
        )
    if source["size"] > MAX_BYTES:
        raise InvalidSourceFile(
            f"{source['name']} has {source['size']:,} bytes, more than the {MAX_BYTES:,} that a "
            "file may have: split it."
        )


def _one_dataset(sources: list[Source], names: list[str]) -> str:
    for source, name in zip(sources, names):
        if name != names[0]:
            raise InvalidSourceFile(
                f"{source['name']} is of the dataset '{name}' but {sources[0]['name']} is of "
                f"'{names[0]}': start a run for each dataset."
            )
    return names[0]


def _check_content(source: Source, dataset: Mapping[str, Any]) -> None:
    zipped = source["name"].lower().endswith(".gz")
    wanted = {} if zipped else {"Range": f"bytes=0-{HEAD_BYTES - 1}"}
    try:
        response = client("s3").get_object(
            Bucket=source["bucket"], Key=source["key"], VersionId=source["version_id"], **wanted
        )
    except ClientError as error:
        raise _gone(source, error) from error
    with closing(response["Body"]) as body:
        head = read_head(source["name"], body, to_the_end=source["size"] <= GZIP_CHECK_BYTES)
    check_head(source["name"], head, dataset)


def _copy(source: Source, key: str) -> None:
    try:
        client("s3").copy_object(
            Bucket=source["bucket"],
            Key=key,
            CopySource={
                "Bucket": source["bucket"],
                "Key": source["key"],
                "VersionId": source["version_id"],
            },
            TaggingDirective="REPLACE",  # the sender's tags stay behind: copying them needs rights
        )
    except ClientError as error:
        raise _gone(source, error) from error


def _gone(source: Source, error: ClientError) -> Exception:
    """Returns InvalidSourceFile if S3 says that the version is gone, else S3's error itself."""
    if error_code(error) not in GONE:
        return error
    return InvalidSourceFile(
        f"{source['name']} is gone: version {source['version_id']} of s3://{source['bucket']}/"
        f"{source['key']} was deleted before the run could read it; send it again."
    )
