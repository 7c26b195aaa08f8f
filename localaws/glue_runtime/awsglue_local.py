"""AWS's awsglue module without Glue's JVM classes, which exist on Glue only.

GlueContext gives the Spark session and the logger, Job keeps its arguments. What needs the classes
(DynamicFrame, the catalog's sources and sinks) raises NotImplementedError with the way round it.
"""

# Its methods become those of AWS's classes, so that "protected" members are their own.
# pylint: disable=protected-access
import logging

from awsglue import context, job
from pyspark.sql import SparkSession, SQLContext


class _NoScalaContext:
    """Stands where Glue's Scala context would be; any use of it is an error that says so."""

    def __getattr__(self, name: str):
        raise NotImplementedError(
            f"GlueContext.{name} needs Glue's own JVM classes, which local AWS does not have: "
            "use Spark DataFrames (glue_context.spark_session.read and DataFrame.write)"
        )


class _GlueLogger:
    """The logger of GlueContext.get_logger(), with the methods of Glue's."""

    def __init__(self):
        self._log = logging.getLogger("GlueLogger")
        self.trace = self.debug = self._log.debug
        self.info = self._log.info
        self.warn = self._log.warning
        self.error = self._log.error


def _context(self, sparkContext=None, **_options) -> None:  # pylint: disable=invalid-name
    """GlueContext.__init__ for a SparkContext, a SparkSession or nothing."""
    if isinstance(sparkContext, SparkSession):
        session = sparkContext
    else:
        session = SparkSession.builder.getOrCreate()
    SQLContext.__init__(self, session.sparkContext, session)
    self._glue_scala_context = _NoScalaContext()
    self._glue_logger = _GlueLogger()
    self.spark_session = self.sparkSession
    for reader in ("create_dynamic_frame", "write_dynamic_frame"):
        setattr(self, reader, self._glue_scala_context)


def _job(self, glue_context_or_spark_session) -> None:
    """Job.__init__ for a GlueContext or a SparkSession."""
    if not isinstance(glue_context_or_spark_session, (context.GlueContext, SparkSession)):
        given = type(glue_context_or_spark_session).__name__
        raise TypeError(f"Job takes a GlueContext or a SparkSession, not {given}")
    self._name = None


def _init(self, job_name, args=None) -> None:  # pylint: disable=unused-argument
    self._name = job_name


def _is_initialized(self) -> bool:
    return self._name is not None


def _commit(self) -> None:
    # On Glue this saves the job bookmark's state; without bookmarks there is nothing to save.
    if self._name is None:
        raise RuntimeError("Job.commit() before Job.init()")


def install() -> None:
    """Give AWS's classes bodies that need no JVM classes."""
    context.GlueContext.__init__ = _context
    job.Job.__init__ = _job
    job.Job.init = _init
    job.Job.isInitialized = _is_initialized
    job.Job.commit = _commit
