"""First program of a Glue run's process: starts Spark's JVM, then runs the job's script.

``bootstrap.py run.json`` reads what localaws.glue_process wrote:

    java      the command that starts the JVM
    gateway   the file in which the JVM says where it listens
    script    the job's script
    arguments the script's arguments
    result    the file to leave the error message in: null when the script succeeded

The JVM needs a second to start; this process imports pyspark and awsglue meanwhile. A script that
names neither of the two uses no Spark, and is spared both.
"""

# pyspark is imported while the JVM starts, not before.
# pylint: disable=import-outside-toplevel
import json
import os
import runpy
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback

_GATEWAY_SECONDS = 60
_POLL_SECONDS = 0.005


class JavaError(RuntimeError):
    """The JVM did not start."""


def end_with_server() -> None:
    """End this process group when the server, the other end of standard input, is gone."""
    server = os.fdopen(os.dup(0), "rb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    def wait() -> None:
        server.read()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def start_java(command: list[str], gateway: str) -> subprocess.Popen:
    """Start the JVM, which ends when its standard input does."""
    environment = {**os.environ, "_PYSPARK_DRIVER_CONN_INFO_PATH": gateway}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)


def connect(java: subprocess.Popen, gateway: str) -> None:
    """Tell pyspark of the JVM that is there, so that it starts none of its own."""
    deadline = time.monotonic() + _GATEWAY_SECONDS
    while not os.path.exists(gateway):
        if java.poll() is not None or time.monotonic() > deadline:
            raise JavaError(f"Spark's JVM did not start (exit code {java.returncode})")
        time.sleep(_POLL_SECONDS)
    with open(gateway, "rb") as file:
        port, length = struct.unpack("!ii", file.read(8))
        os.environ["PYSPARK_GATEWAY_PORT"] = str(port)
        os.environ["PYSPARK_GATEWAY_SECRET"] = file.read(length).decode()


def run(script: str, arguments: list[str]) -> str | None:
    """Run the script as the main program; return the error that ended it, None if it succeeded."""
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code in (None, 0):
            return None
        return f"SystemExit: {end.code}"
    except BaseException as error:  # pylint: disable=broad-exception-caught
        _print_traceback(error)
        return error_message(error)
    return None


def error_message(error: BaseException) -> str:
    """Return the error in one line, as GetJobRun shows it."""
    from py4j.protocol import Py4JJavaError

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, Py4JJavaError):
        return " ".join(line.removeprefix(": ") for line in lines[:2])
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _print_traceback(error: BaseException) -> None:
    trace = traceback.TracebackException.from_exception(error)
    ours = (__file__, "<frozen runpy>")
    trace.stack = traceback.StackSummary.from_list(
        [frame for frame in trace.stack if frame.filename not in ours]
    )
    print("".join(trace.format()), end="", file=sys.stderr)


def start_spark(java: list[str], gateway: str) -> subprocess.Popen:
    """Make pyspark and awsglue ready for the script; return the JVM. Raises JavaError."""
    started = start_java(java, gateway)
    import pyspark.sql  # pylint: disable=unused-import

    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import awsglue_local

    awsglue_local.install()
    sys.path.pop(0)
    connect(started, gateway)
    return started


def uses_spark(script: str) -> bool:
    """Return whether a script names what reaches Spark."""
    with open(script, "rb") as file:
        text = file.read()
    return b"pyspark" in text or b"awsglue" in text


def main() -> int:
    """Run one job; 0 when the script succeeded."""
    end_with_server()
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    held = []  # without it the JVM would lose its standard input, and end
    try:
        if uses_spark(job["script"]):
            held.append(start_spark(job["java"], job["gateway"]))
        error = run(job["script"], job["arguments"])
    except JavaError as failure:
        error = str(failure)
        print(error, file=sys.stderr)
    with open(job["result"], "w", encoding="utf-8") as file:
        json.dump(error, file)
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
