"""An experiment: Polars judges whole files inside Spark's tasks, and Spark does what is left.

A quoted value may hold line breaks, so a file is a task. Spark compares the rows of all files, and
its own writer commits them, as in the job. What it showed: docs/decisions/0011.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import etl_main
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from quality.verdicts import Evidence, judge
from transformations.validation import REJECTED
from utils.dataset import Dataset
from utils.session import configure

from tests.bench.products import broken_by_column

# On Glue it would be a locked wheel that the job names in --additional-python-modules.
(POLARS,) = Path(__file__).parents[2].glob(".venv/bench/lib/python3*/site-packages")
ROWS_A_BATCH = 10_000


def job(spark: SparkSession, dataset: Dataset, files: Sequence[str], output: str) -> dict[str, Any]:
    """Do the job's work on local files; return what its report says of the rows."""
    configure(spark, {file: Path(file).stat().st_size for file in files})
    names = [Path(file).name for file in files]
    rows = read_and_judge(spark, files, dataset)
    account, counts = etl_main.write(rows, dataset, names, f"{output}/")
    evidence = Evidence(dataset, account, counts, None, len(files))
    return asdict(account) | {"broken": broken_by_column(judge(dataset.rules, evidence))}


def read_and_judge(spark: SparkSession, files: Sequence[str], dataset: Dataset) -> DataFrame:
    """Read local files, each in one task.

    Out: the dataset's columns, typed; `_position` and `_rejected`, as the job has them. Raises what
    Polars raises of a row with the wrong number of values, of text that is not UTF-8 and of a quote
    that nothing closes: the job accounts for each of them.
    """
    columns = ", ".join(f"`{column.name}` {column.spark_type}" for column in dataset.columns)
    raw = ", ".join(f"`{column.name}`: string" for column in dataset.columns)
    position = "struct<file: int, block: bigint, row: bigint>"
    schema = (
        f"{columns}, _position {position}, {REJECTED} struct<raw: struct<{raw}>,"
        f" position: {position}, row_text: string, reasons: string>"
    )

    def judge_files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from judged(files[number], number)

    numbers = spark.range(0, len(files), 1, len(files))
    rows = numbers.mapInArrow(judge_files, schema)
    # Polars makes long lists, which Spark does not read.
    reasons = F.split(f"{REJECTED}.reasons", " ")
    return rows.withColumn(REJECTED, F.col(REJECTED).withField("reasons", reasons))


def judged(file: str, number: int) -> Iterator[pa.RecordBatch]:
    """Read one file in a Python worker of Spark's; yield its rows in batches."""
    sys.path.append(str(POLARS))
    # pylint: disable=import-outside-toplevel  # Spark's own Python, which imports this, has none
    import polars as pl
    from tests.bench import polars_peers

    names = polars_peers.NAMES
    position = pl.struct(
        pl.lit(number, pl.Int32).alias("file"),
        pl.lit(0, pl.Int64).alias("block"),
        pl.col("place").cast(pl.Int64).alias("row"),
    )
    rejected = pl.struct(
        pl.struct(*[pl.col(f"raw_{name}").alias(name) for name in names]).alias("raw"),
        position.alias("position"),
        pl.lit(None, pl.String).alias("row_text"),
        pl.concat_list(*polars_peers.faults()).list.drop_nulls().list.join(" ").alias("reasons"),
    )
    rows = polars_peers.judged([file]).select(
        *names,
        position.alias("_position"),
        pl.when(pl.col("_faults").is_not_null()).then(rejected).alias(REJECTED),
    )
    table = rows.collect(engine="streaming").to_arrow(compat_level=pl.CompatLevel.oldest())
    yield from table.to_batches(max_chunksize=ROWS_A_BATCH)
