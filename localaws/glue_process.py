"""One Glue run's process: what it is given, how it is watched and how it ends.

Each run has a folder with its script, its packages, Spark's configuration and Spark's temporary
files; all of it is deleted at the end. The process leads a process group of its own (Python, the
JVM, Spark's Python workers), which is killed as one; it ends by itself when the server is gone.
"""

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from localaws.credentials import RoleError, role_session
from localaws.glue_spark import RUNTIME, SparkError, configuration, find_spark
from localaws.role_clients import role_client
from localaws.settings import REGION, Settings

PRINCIPAL = "glue.amazonaws.com"

logger = logging.getLogger("localaws.glue")


class LaunchError(RuntimeError):
    """The run cannot start: its role, its script, its packages or its arguments are at fault."""


@dataclass(frozen=True)
class RunRequest:
    """What a run needs to know: ids, role, script and arguments (``--name`` -> value)."""

    run_id: str
    role_arn: str
    script: str
    arguments: dict[str, str]
    workers: int


class RunProcess:
    """The process of one run."""

    def __init__(self, settings: Settings, request: RunRequest):
        self._settings = settings
        self._request = request
        settings.temporary.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="glue-", dir=settings.temporary))
        self._process: subprocess.Popen | None = None
        self._pumps: list[threading.Thread] = []
        self._ended = threading.Lock()

    def start(self, write: Callable[[str, str], None], archive_flags: list[str] | None = None):
        """Fetch what the run needs as its role and start it.

        ``write`` is called with ``output`` or ``error`` and one line of that stream, from threads
        of this object. Raises LaunchError.
        """
        try:
            spark = find_spark(self._settings.glue_python)
            script = self._fetch(self._request.script, "script")
            packages = self._packages()
            job = {
                "java": spark.command(self._folder, self._request.workers, archive_flags),
                "gateway": str(self._folder / "gateway"),
                "script": str(script),
                "arguments": [text for pair in self._request.arguments.items() for text in pair],
                "result": str(self._folder / "result.json"),
            }
            (self._folder / "run.json").write_text(json.dumps(job))
            (self._folder / "spark-defaults.conf").write_text(
                configuration(self._settings.url, self._folder, self._spark_settings())
            )
            credentials = role_session(
                self._request.role_arn, self._request.run_id, service=PRINCIPAL
            )
        except (RoleError, SparkError) as error:
            raise LaunchError(str(error)) from error
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            [self._settings.glue_python, RUNTIME / "bootstrap.py", self._folder / "run.json"],
            cwd=self._folder,
            env=self._environment(spark.home, packages, credentials),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        for name, stream in (("output", self._process.stdout), ("error", self._process.stderr)):
            pump = threading.Thread(target=_pump, args=(stream, name, write), daemon=True)
            pump.start()
            self._pumps.append(pump)

    @property
    def started(self) -> bool:
        """Whether there is, or was, a process."""
        return self._process is not None

    def wait(self, seconds: float) -> None:
        """Wait until the script has ended; raise subprocess.TimeoutExpired if it has not."""
        self._process.wait(seconds)

    def result(self) -> str | None:
        """Return the error message of the process that has ended, None if the job succeeded."""
        try:
            return json.loads((self._folder / "result.json").read_text())
        except (OSError, ValueError):
            # It ended before it could say why: killed from outside, or out of memory.
            return f"Command failed with exit code {self._process.returncode}"

    def end(self) -> None:
        """Kill what is left of the process group, and hand on its last lines."""
        if self._process is None:
            return
        with self._ended:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait()
        for pump in self._pumps:
            pump.join()
        self._process.stdin.close()

    def delete(self) -> None:
        """Delete the run's folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _packages(self) -> list[Path]:
        arguments = self._request.arguments
        if arguments.get("--additional-python-modules"):
            raise LaunchError(
                "local AWS does not install --additional-python-modules: "
                "put the modules into a wheel and name it in --extra-py-files"
            )
        uris = arguments.get("--extra-py-files", "").split(",")
        return [self._fetch(uri.strip(), "packages") for uri in uris if uri.strip()]

    def _fetch(self, uri: str, folder: str) -> Path:
        """Copy an S3 object into the run's folder under its own name, as the run's role."""
        parts = urlsplit(uri)
        key = parts.path.lstrip("/")
        if parts.scheme not in ("s3", "s3a") or not parts.netloc or not key:
            raise LaunchError(f"{uri!r} is not an S3 address (s3://bucket/key)")
        target = self._folder / folder / Path(key).name
        target.parent.mkdir(exist_ok=True)
        client = role_client("s3", self._request.role_arn, "glue", PRINCIPAL, attempts=4)
        try:
            body = client.get_object(Bucket=parts.netloc, Key=key)["Body"].read()
        except ClientError as error:
            raise LaunchError(
                f"LAUNCH ERROR | cannot read {uri} as {self._request.role_arn}: "
                f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
            ) from error
        target.write_bytes(body)
        return target

    def _spark_settings(self) -> dict[str, str]:
        """Parse the job's --conf: ``a=b``, or several as ``a=b --conf c=d``, Glue's way."""
        given = self._request.arguments.get("--conf", "")
        settings = {}
        for word in shlex.split(given):
            if word == "--conf":
                continue
            name, equals, value = word.partition("=")
            if not equals:
                raise LaunchError(f"--conf has {word!r}: write spark.name=value")
            settings[name] = value
        return settings

    def _environment(self, spark_home: Path, packages: list[Path], credentials: dict) -> dict:
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **inherited,
            **credentials,
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            "TZ": "UTC",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self._settings.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(map(str, packages)),
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",
            # A site-packages of the user's own is not on Glue.
            "PYTHONNOUSERSITE": "1",
            "PYSPARK_PYTHON": str(self._settings.glue_python),
            "SPARK_HOME": str(spark_home),
            "SPARK_CONF_DIR": str(self._folder),
            "SPARK_LOCAL_DIRS": str(self._folder),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }


def _pump(stream, name: str, write: Callable[[str, str], None]) -> None:
    for line in stream:
        write(name, line.rstrip("\n"))
    stream.close()
