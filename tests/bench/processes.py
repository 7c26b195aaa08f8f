"""The peers' processes: one for all of Spark, which stays; a fresh one for every other run."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from localaws.glue_spark import configuration, find_spark

from tests.conftest import REPOSITORY

PYTHON = {
    "spark": REPOSITORY / ".venv/glue/bin/python",
    "duckdb": REPOSITORY / ".venv/bench/bin/python",
    "polars": REPOSITORY / ".venv/bench/bin/python",
}
# Enough workers for local Glue to start a JVM that is made for large loads, as prod has them.
WORKERS = 4
MODULES = (".", "glue-jobs/src")


class WorkFailed(RuntimeError):
    """A peer's process ended instead of answering; it has said why on standard error."""


class Worker:
    """A process that carries out peers' work, one request after another."""

    def __init__(self, engine: str, environment: Mapping[str, str] | None = None):
        modules = os.pathsep.join(str(REPOSITORY / part) for part in MODULES)
        # pylint: disable-next=consider-using-with  # it lives as long as the worker: see end
        self._process = subprocess.Popen(
            [PYTHON[engine], "-m", "tests.bench.worker", engine],
            env={**os.environ, "PYTHONPATH": modules, "TZ": "UTC", **(environment or {})},
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._engine = engine

    def ask(self, peer: str, work: Mapping[str, Any]) -> dict[str, Any]:
        """Return a peer's outcome; raise WorkFailed."""
        self._process.stdin.write(json.dumps({"peer": peer, "work": work}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise WorkFailed(
                f"{peer}: the process of {self._engine} ended with exit code {self._process.wait()}"
            )
        return json.loads(answer)

    def cpu_seconds(self) -> float:
        """Return the processor time of the process, its JVM and Python workers that have ended."""
        times = []
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # a Python worker that has just ended
                times.append(process.cpu_times())
        return sum(time.user + time.system for time in times) + sum(
            time.children_user + time.children_system for time in times
        )

    def peak_gigabytes(self) -> float:
        """Return the most memory that the process and its JVM have had."""
        peaks = [_peak_kilobytes(process.pid) for process in self._processes()]
        return sum(peaks) * 1024 / 1e9

    def end(self) -> None:
        """End the process, and with it the JVM that waits for it."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _processes(self) -> list[psutil.Process]:
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]


@contextmanager
def worker(engine: str) -> Iterator[Worker]:
    """Start a process for one engine; end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        started = Worker(engine, spark_environment(Path(folder)) if engine == "spark" else None)
        try:
            yield started
        finally:
            started.end()


def spark_environment(folder: Path) -> dict[str, str]:
    """Return what makes pyspark start Spark as local Glue does: its Java, flags and settings."""
    spark = find_spark(PYTHON["spark"])
    # Its files are local, so nothing listens where S3 would be.
    (folder / "spark-defaults.conf").write_text(configuration("http://127.0.0.1:9", folder, {}))
    return {
        "SPARK_HOME": str(spark.home),
        "SPARK_CONF_DIR": str(folder),
        "SPARK_LOCAL_DIRS": str(folder),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": str(PYTHON["spark"]),
        "BENCH_SPARK": json.dumps(
            {"java": spark.command(folder, WORKERS), "gateway": str(folder / "gateway")}
        ),
    }


def heap_gigabytes() -> float:
    """Return the most that the heap of Spark's JVM may grow to."""
    command = find_spark(PYTHON["spark"]).command(Path(), WORKERS)
    (megabytes,) = (word[4:-1] for word in command if re.fullmatch(r"-Xmx\d+m", word))
    return int(megabytes) / 1024


def java_version() -> str:
    """Return the version of the Java that Spark runs on."""
    java = find_spark(PYTHON["spark"]).java
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    return re.search(r'version "([^"]+)"', shown)[1]


def _peak_kilobytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
