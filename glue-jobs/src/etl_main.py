"""The Glue job: one dataset's CSV files become Parquet, and every row is accounted for.

It reads a run's own copy of its source files, casts and checks each row, keeps the latest of each
upsert key, and writes under the run's own prefix:

    rows/outcome=loaded/*.parquet
                         the dataset's columns, in the table's order; _source, the number of the
                         row's file in the run's list; _rejected, always NULL
    rejected/*.parquet   the dataset's columns as the file has them, source_file, source_block and
                         source_row (where in the file, see read_rows), row_text, reasons
    manifest.json        the files that the warehouse copies
    report.json          the row account and the verdict on each quality rule; written last, so a
                         run with a report is a whole run
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from awsglue.context import GlueContext
from awsglue.job import Job
from awsglue.utils import getResolvedOptions
from pyspark import SparkContext
from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from quality.counting import aggregates, count_repeated, is_unique_by_key, unexpected_name
from quality.history import measured, read_recent_runs
from quality.verdicts import Evidence, judge
from transformations.casting import cast_columns
from transformations.cleaning import clean_column_names
from transformations.deduplication import add_rank, is_superseded
from transformations.rejection import rejected_rows, rejected_text
from transformations.validation import (
    REJECTED,
    has_unclosed_quote,
    is_good,
    set_rejected_aside,
)
from utils.account import Account
from utils.dataset import Dataset, load_dataset
from utils.errors import ConfigurationError, SourceFormatError
from utils.log import log_to_stderr, logger
from utils.session import configure
from utils.source import absent_columns, check_sources, last_lines, read_rows, reading
from utils.storage import Storage

# Where a row of either outcome is written; `outcome` is no column of the files.
LOADED, SET_ASIDE = "rows/outcome=loaded/", "rows/outcome=rejected/"

ARGUMENTS = [
    "JOB_NAME",
    "config_uri",
    "release",
    "run_id",
    "dataset",
    "run_date",
    "source_file_name",  # one name, or several with commas between
    "source_prefix",
    "output_prefix",
    "history_prefix",  # what accepted runs of the dataset looked like, a file a run
    "is_replay",  # "true" where the files were loaded before, else "false"
]


def main(argv: Sequence[str]) -> None:
    """Runs the job as Glue starts it; an exception ends it as failed."""
    arguments = getResolvedOptions(argv, ARGUMENTS)
    log_to_stderr(**{key: arguments[key] for key in ("run_id", "dataset", "release")})
    glue_context = GlueContext(SparkContext.getOrCreate())
    job = Job(glue_context)
    job.init(arguments["JOB_NAME"], arguments)
    report = run(glue_context.spark_session, arguments)
    print(json.dumps(report))
    job.commit()


def run(spark: SparkSession, arguments: Mapping[str, str]) -> dict:
    """Carries out one run and returns its report.

    Raises ConfigurationError, SourceFormatError, SourceReadError or RowAccountMismatch; then there
    is no report and no manifest, so nothing that the warehouse could copy.
    """
    started = time.monotonic()
    storage = Storage(spark)
    dataset = read_dataset(storage, arguments)
    output = output_prefix(arguments)
    names = arguments["source_file_name"].split(",")
    logger.info("reading %s", ", ".join(names))

    storage.delete(output)  # what an earlier attempt at this run left
    sizes = check_sources(storage, arguments["source_prefix"], names, dataset)
    configure(spark, sizes)
    absent = absent_columns(storage, list(sizes), dataset)
    ends = last_lines(storage, list(sizes), dataset, absent)
    rows = read_rows(spark, list(sizes), dataset, absent, ends)
    with reading(spark, list(sizes), dataset):
        account, counts = write(transform(rows, dataset), dataset, names, output)
    storage.delete(output + SET_ASIDE)  # they are in rejected/ by now
    manifest = copy_manifest(storage, output + LOADED)
    logger.info(
        "%d rows in: %d loaded, %d rejected, %d superseded",
        *(account.rows_in, account.loaded, account.rejected, account.superseded),
    )
    account.verify(count_rows(spark, manifest))
    storage.write_json(output + "manifest.json", manifest)

    report = {
        **{key: arguments[key] for key in ("run_id", "dataset", "run_date", "release")},
        "source_files": names,
        **asdict(account),
        **judged_rules(storage, arguments, dataset, account, counts),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
    }
    storage.write_json(output + "report.json", report)
    logger.info("done in %s s", report["seconds"])
    return report


def read_dataset(storage: Storage, arguments: Mapping[str, str]) -> Dataset:
    """Reads the run's dataset from the release's merged configuration."""
    uri = arguments["config_uri"]
    if storage.size(uri) is None:
        raise ConfigurationError(f"there is no configuration at {uri}")
    return load_dataset(json.loads(storage.read(uri)), arguments["dataset"])


def output_prefix(arguments: Mapping[str, str]) -> str:
    """Returns the run's own prefix, which the run empties before it writes."""
    prefix, run_id = arguments["output_prefix"], arguments["run_id"]
    if not prefix.endswith(f"/{run_id}/"):
        raise ConfigurationError(f"output_prefix must end with /{run_id}/, found {prefix}")
    return prefix


def transform(rows: DataFrame, dataset: Dataset) -> DataFrame:
    """Clean names, exact types, and every reason why a row cannot be loaded."""
    names = {column.source: column.name for column in dataset.columns}
    cleaned = clean_column_names(rows, names)
    typed = cast_columns(cleaned, dataset.columns)
    return set_rejected_aside(typed, dataset.columns)


def write(
    judged: DataFrame, dataset: Dataset, names: Sequence[str], output: str
) -> tuple[Account, dict[str, int]]:
    """Writes the loaded and the rejected rows; returns their account and the rules' counts.

    One pass reads, judges, counts and writes every row. The rejected have other columns: they go
    along as a struct and are made a dataset of their own afterwards, few as they are. A rule that
    asks for unique values of other columns than the upsert keys takes a pass of its own.
    """
    seen, kept = Observation("seen"), Observation("kept")
    ranked = counted(judged, dataset, seen, kept)
    by_outcome(ranked, dataset).write.partitionBy("outcome").parquet(output + "rows/")
    counts = {**seen.get, **kept.get}  # right only now: a query that failed answers zeros
    if counts["broken"] is not None:
        raise SourceFormatError(
            f"{names[counts['broken']]}: a quoted value is opened and never closed, or line endings"
            " are mixed: one row holds several lines"
        )
    spark = judged.sparkSession
    by_reason = write_rejected(spark, dataset, names, output) if counts["rejected"] else {}
    for rule in dataset.rules:
        if rule.is_unique and not is_unique_by_key(rule, dataset):
            counts[unexpected_name(rule)] = count_repeated(judged.where(is_good()), rule)
    account = {name: counts[name] for name in ("rows_in", "loaded", "rejected", "superseded")}
    if account["rows_in"] != sum(counts[name] for name in ("loaded", "rejected", "superseded")):
        # Where a worker is lost, Spark reads its rows again and has counted them twice.
        account["rows_in"] = judged.count()
    return Account(**account, rejected_by_reason=by_reason), counts


def counted(judged: DataFrame, dataset: Dataset, seen: Observation, kept: Observation) -> DataFrame:
    """Adds `_rank` of `add_rank`, and has the writing count what goes by.

    `seen`: `rows_in`, and `broken`, the number of a file in which a quote is never closed. `kept`:
    the rows of each outcome, and what the rules need.
    """
    # Counted where they are read: a step that lost rows afterwards would not add up.
    rows = judged.observe(
        seen,
        F.count(F.lit(1)).alias("rows_in"),
        F.max(F.when(has_unclosed_quote(), F.col("_position.file"))).alias("broken"),
    )
    # No rejected row is as another is, so that none supersedes another or a good one.
    ranked = add_rank(rows, (*dataset.upsert_keys, REJECTED), dataset.order_by)
    return ranked.observe(
        kept,
        F.count_if(~is_good()).alias("rejected"),
        F.count_if(is_superseded()).alias("superseded"),
        F.count_if(is_good() & ~is_superseded()).alias("loaded"),
        *aggregates(dataset.rules, dataset, is_good()),
    )


def by_outcome(ranked: DataFrame, dataset: Dataset) -> DataFrame:
    """Leaves the superseded rows out; the others have the columns of a file, and `outcome`."""
    return ranked.where(~is_superseded()).select(
        *dataset.column_names,
        F.col("_position.file").alias("_source"),
        rejected_text().alias(REJECTED),
        F.when(is_good(), "loaded").otherwise("rejected").alias("outcome"),
    )


def write_rejected(
    spark: SparkSession, dataset: Dataset, names: Sequence[str], output: str
) -> dict[str, int]:
    """Writes the rows that cannot be loaded as the file has them, and counts them by reason."""
    texts = spark.read.schema(f"{REJECTED} string").parquet(output + SET_ASIDE)
    rejected = rejected_rows(texts, dataset.columns, names)
    rejected.write.parquet(output + "rejected/")
    written = spark.read.schema(rejected.schema).parquet(output + "rejected/")
    counts = written.groupBy(F.element_at("reasons", 1).alias("reason")).count()
    return {row["reason"]: row["count"] for row in sorted(counts.collect())}


def judged_rules(
    storage: Storage,
    arguments: Mapping[str, str],
    dataset: Dataset,
    account: Account,
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """Returns the verdict on each rule, and what later runs are to be compared with, if they are.

    A month of files, or one that comes again, is no measure of what a new file looks like.
    """
    files = len(arguments["source_file_name"].split(","))
    is_comparable = files == 1 and arguments["is_replay"] == "false"
    recent_runs = None
    if is_comparable:
        recent_runs = read_recent_runs(
            storage, arguments["history_prefix"], dataset.rules, arguments["run_id"]
        )
    return {
        "rules": judge(dataset.rules, Evidence(dataset, account, counts, recent_runs, files)),
        "measured": measured(dataset.rules, counts) if is_comparable else None,
    }


def copy_manifest(storage: Storage, uri: str) -> dict:
    """Returns Redshift's COPY manifest of the Parquet files under a prefix."""
    files = storage.list(uri).items()
    return {
        "entries": [
            {"url": uri + name, "mandatory": True, "meta": {"content_length": size}}
            for name, size in sorted(files)
            if name.endswith(".parquet")
        ]
    }


def count_rows(spark: SparkSession, manifest: Mapping) -> int:
    """Returns the rows of the files in a manifest: Parquet's footers know them."""
    urls = [entry["url"] for entry in manifest["entries"]]
    return spark.read.parquet(*urls).count() if urls else 0


if __name__ == "__main__":
    main(sys.argv)
