"""Spark's settings, for a file of a day as for a file of a year."""

import math
from collections.abc import Mapping

from pyspark.sql import SparkSession

# What one task sorts and writes; also about the size of a Parquet file.
BYTES_PER_PARTITION = 64 * 1024 * 1024
GZIP_RATIO = 8
# More than any part of a file that a task reads.
NO_SHARING = 128 * 1024 * 1024

SETTINGS = {
    # The warehouse's timestamps are UTC, and no hour of UTC is missing or repeated.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.adaptive.enabled": "true",
    # Java never compiles a method of more than 8000 bytes, and Spark makes one of all columns: with
    # thirty of text, a run took more than twice as long. Beyond the limit it makes many.
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # Where no row is left, this rule drops the observed counts, and waiting for them never ends.
    "spark.sql.adaptive.optimizer.excludedRules": (
        "org.apache.spark.sql.execution.adaptive.AQEPropagateEmptyRelation"
    ),
    # Redshift's COPY reads Parquet as Redshift Spectrum does: INT96 is what it has always read, and
    # INT64 timestamps came out as the year 2262 (dask/fastparquet#432).
    "spark.sql.parquet.outputTimestampType": "INT96",
    # Days before 1582 are written as they are; the default fails the whole run for one such row.
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.compression.codec": "snappy",
    # Loaded and rejected rows are written side by side; one file at a time would need a sort.
    "spark.sql.maxConcurrentOutputFileWriters": "4",
}


def configure(spark: SparkSession, sizes: Mapping[str, int]) -> None:
    """Applies the settings, and shuffles in as many parts as `sizes` (uri -> bytes) are worth."""
    for name, value in SETTINGS.items():
        spark.conf.set(name, value)
    spark.conf.set("spark.sql.shuffle.partitions", str(shuffle_partitions(sizes)))
    if len(sizes) > 1:
        # A task never reads of two files, so that its count of rows is a row's place in its file.
        spark.conf.set("spark.sql.files.openCostInBytes", str(NO_SHARING))


def shuffle_partitions(sizes: Mapping[str, int]) -> int:
    """Returns 1 for a small load, then one for every 64 MiB of text."""
    text = sum(size * (GZIP_RATIO if uri.endswith(".gz") else 1) for uri, size in sizes.items())
    return max(1, math.ceil(text / BYTES_PER_PARTITION))
