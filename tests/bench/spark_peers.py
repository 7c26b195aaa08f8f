"""Spark: the job itself, the job without rules, and two that others would write.

All run in one session, as local Glue starts it, so that all find the same warm JVM.
"""

import functools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import etl_main
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from utils.dataset import Dataset
from utils.session import configure
from utils.storage import Storage

from localaws.glue_runtime.bootstrap import connect, start_java
from tests.bench import polars_in_spark
from tests.bench.products import broken_by_column


@functools.cache
def session() -> SparkSession:
    """Start the JVM as local Glue does, and return the session on it."""
    start = json.loads(os.environ["BENCH_SPARK"])
    connect(start_java(start["java"], start["gateway"]), start["gateway"])
    return SparkSession.builder.getOrCreate()


def job(work: Mapping[str, Any], config: str = "config") -> dict[str, Any]:
    """The job as Glue runs it, on local files."""
    report = etl_main.run(session(), _arguments(work, config))
    found = {key: report[key] for key in ("rows_in", "loaded", "rejected", "superseded")}
    found["rejected_by_reason"] = report["rejected_by_reason"]
    found["broken"] = broken_by_column(report["rules"])
    return found


def job_without_rules(work: Mapping[str, Any]) -> dict[str, Any]:
    """The job of a dataset that has no quality rules."""
    return job(work, "config_without_rules")


def job_with_polars(work: Mapping[str, Any]) -> dict[str, Any]:
    """The job with Polars in the place of its reader and its transformations."""
    files = work["files"]
    return polars_in_spark.job(session(), _dataset(work), files, _uri(work["output"]))


def floor(work: Mapping[str, Any]) -> dict[str, Any]:
    """As little as Spark can do: scan the text, cast it, write it. Nothing is checked."""
    spark = session()
    dataset = _dataset(work)
    configure(spark, {file: Path(file).stat().st_size for file in work["files"]})
    text = spark.read.csv(
        [_uri(file) for file in work["files"]],
        schema=", ".join(f"`{source}` string" for source in dataset.sources),
        header=True,
        multiLine=dataset.multi_line,
        escape='"',
    ).toDF(*dataset.column_names)
    typed = text.select(*[F.col(column.name).cast(column.spark_type) for column in dataset.columns])
    typed.write.parquet(_uri(work["output"]) + "/loaded")
    return {}


def textbook(work: Mapping[str, Any]) -> dict[str, Any]:
    """The job that tutorials teach: a type for each column by looking, a count for each check.

    It needs the whole input in the cache, or reads it once for each check.
    """
    spark = session()
    dataset = _dataset(work)
    frame = spark.read.csv(
        [_uri(file) for file in work["files"]],
        header=True,
        inferSchema=True,
        multiLine=dataset.multi_line,
        escape='"',
    ).toDF(*dataset.column_names)
    frame.cache()
    try:
        return _checked_and_written(frame, dataset, _uri(work["output"]))
    finally:
        frame.unpersist()


def _checked_and_written(frame: DataFrame, dataset: Dataset, output: str) -> dict[str, Any]:
    rows_in = frame.count()
    required = [column.name for column in dataset.columns if column.required]
    is_good = F.lit(True)
    for name in required:
        is_good &= F.col(name).isNotNull()
    for column in dataset.columns:
        if column.minimum is not None:
            is_good &= F.col(column.name) >= int(column.minimum)
    good, rejected = frame.where(is_good), frame.where(~is_good)
    loaded = good.dropDuplicates(list(dataset.upsert_keys))
    broken = {
        "product_category": good.where(F.col("product_category").isNull()).count(),
        "brand": good.where(~F.col("brand").isin("National", "Private")).count(),
        "department": good.where(~F.col("department").rlike("^[A-Z][A-Z&/ -]*$")).count(),
        "product_name": good.where(~F.length("product_name").between(2, 100)).count(),
        "price": good.where(F.col("price") > 200).count(),
        "time": good.where(F.col("time") < "2010-01-01").count(),
    }
    counted = {"rows_in": rows_in, "loaded": loaded.count(), "rejected": rejected.count()}
    print(f"textbook: {frame.distinct().count()} distinct rows of {rows_in}; {broken}")
    loaded.write.parquet(f"{output}/loaded")
    rejected.write.parquet(f"{output}/rejected")
    return counted


PEERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "job": job,
    "no-rules": job_without_rules,
    "polars-in-spark": job_with_polars,
    "floor": floor,
    "textbook": textbook,
}


def _dataset(work: Mapping[str, Any]) -> Dataset:
    return etl_main.read_dataset(Storage(session()), _arguments(work, "config"))


def _arguments(work: Mapping[str, Any], config: str) -> dict[str, str]:
    """Return what the job is started with; its run is called `run`."""
    files = [Path(file) for file in work["files"]]
    return {
        "config_uri": _uri(work[config]),
        "release": "bench",
        "run_id": Path(work["output"]).name,
        "dataset": "products",
        "run_date": "20170101",
        "source_file_name": ",".join(file.name for file in files),
        "source_prefix": _uri(str(files[0].parent)) + "/",
        "output_prefix": _uri(work["output"]) + "/",
        "history_prefix": _uri(work["output"]) + "-history/",
        "is_replay": "false",
    }


def _uri(path: str) -> str:
    return f"file://{path}"
