"""One Spark session for all tests, sized for frames that fit on a screen."""

from pathlib import Path

import pytest
from local_job import LocalJob
from pyspark.sql import SparkSession
from utils.session import configure

from localaws.glue_runtime.bootstrap import connect, start_java
from localaws.glue_spark import find_spark

GLUE_PYTHON = Path(__file__).resolve().parents[2] / ".venv/glue/bin/python"


# First: pytest-xdist reads the mark in the same hook, and a conftest's turn is otherwise after it.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keeps these tests in one worker (`--dist loadgroup`): a second Spark would take longer."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("spark"))


@pytest.fixture(scope="session", name="spark")
def fixture_spark(tmp_path_factory):
    """Spark on one core, with the job's own settings, on the JVM that local Glue starts: with the
    archive of its classes it is there in half the time."""
    folder = tmp_path_factory.mktemp("spark")
    gateway = str(folder / "gateway")
    java = start_java(find_spark(GLUE_PYTHON).command(folder, workers=1), gateway)
    connect(java, gateway)
    spark = (
        SparkSession.builder.master("local[1]")
        .appName("glue-jobs/tests")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .getOrCreate()
    )
    configure(spark, {})
    yield spark
    spark.stop()
    java.stdin.close()
    java.wait()


@pytest.fixture(name="job")
def fixture_job(spark, tmp_path):
    return LocalJob(spark, tmp_path)
