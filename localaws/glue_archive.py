"""``python -m localaws.glue_archive``: make the AppCDS archive that Glue runs start quickly with.

A training job runs once, against an emulator of its own in a temporary folder; the JVM writes the
classes that it loaded into the archive while it exits. Takes about half a minute and 180 MB; does
nothing where the archive is there, or another process makes it.
"""

# ministack reads its settings while it is imported: only the inner process may import it.
# pylint: disable=protected-access,import-outside-toplevel
import argparse
import asyncio
import fcntl
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from localaws.glue_spark import RUNTIME, Spark, SparkError, find_spark
from localaws.settings import HOST, REGION, Settings, SettingsError

_ACCOUNT = "000000000000"
_BUCKET = "training"
_SCRIPT = "training_job.py"
_SECONDS = 300
_ERROR_LINES = 20
_KEEP_SECONDS = 24 * 3600
_TRUST = {
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "glue.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ]
}
_POLICY = {
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "s3:*",
            "Resource": [f"arn:aws:s3:::{_BUCKET}", f"arn:aws:s3:::{_BUCKET}/*"],
        }
    ]
}


def make(settings: Settings) -> str | None:
    """Make the archive unless it is there; return what was done. Raises SparkError."""
    spark = find_spark(settings.glue_python)
    if spark.spark_archive.exists():
        return None
    spark.archive.parent.mkdir(exist_ok=True)
    with open(spark.archive.parent / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "another process makes the archive"
        begun = time.monotonic()
        for other in spark.archive.parent.iterdir():
            # Of another Java or other jars, unless a copy of this repository uses it beside us.
            old = time.time() - other.stat().st_mtime > _KEEP_SECONDS
            if other.is_dir() and (old or other == spark.archive):
                shutil.rmtree(other)
        spark.archive.mkdir()
        _dump_java(spark)
        _train(settings, spark)
        seconds = time.monotonic() - begun
        return f"{spark.spark_archive} is made ({seconds:.0f} s)"


def _dump_java(spark: Spark) -> None:
    """Archive the JVM's own classes, on which the archive of Spark's is built."""
    command = [spark.java, "-Xshare:dump", f"-XX:SharedArchiveFile={spark.base_archive}"]
    command += ["-XX:+UseSerialGC"]
    dumped = subprocess.run(command, capture_output=True, text=True, check=False)
    if dumped.returncode:
        raise SparkError(f"{spark.java} cannot make an AppCDS archive: {dumped.stdout}")


def _train(settings: Settings, spark: Spark) -> None:
    """Run the training job in a process that serves an emulator of its own."""
    with tempfile.TemporaryDirectory(prefix="localaws-") as folder, socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
        probe.close()
        own = Settings(
            home=Path(folder),
            port=port,
            accounts={"training": _ACCOUNT},
            glue_python=settings.glue_python,
            lambda_python=settings.lambda_python,
        )
        trained = subprocess.run(
            [sys.executable, "-m", "localaws.glue_archive", "--train"],
            env={**own.server_environment(), "PERSIST_STATE": "0", "S3_PERSIST": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    if trained.returncode or not spark.draft_archive.exists():
        story = f"{trained.stdout}{trained.stderr}".splitlines()[-_ERROR_LINES:]
        raise SparkError("the training job failed:\n" + "\n".join(story))
    spark.draft_archive.replace(spark.spark_archive)


async def train() -> None:
    """Serve the emulator and run the training job in it: the inner process of ``make``."""
    import ministack.app
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    settings = Settings.from_environment()
    config = Config()
    config.bind = [f"{HOST}:{settings.port}"]
    config.graceful_timeout = 0.1
    trained = asyncio.Event()
    server = asyncio.create_task(serve(ministack.app.app, config, shutdown_trigger=trained.wait))
    try:
        await asyncio.to_thread(_run_training_job, settings)
    finally:
        trained.set()
        await server


def _run_training_job(settings: Settings) -> None:
    from ministack.core.responses import request_scope
    from ministack.services import iam, s3

    from localaws.glue_process import RunProcess, RunRequest

    _wait_for(settings.port)
    with request_scope(_ACCOUNT, REGION):
        role = {"RoleName": ["training"]}
        iam._create_role({**role, "AssumeRolePolicyDocument": [json.dumps(_TRUST)]})
        policy = {"PolicyName": ["s3"], "PolicyDocument": [json.dumps(_POLICY)]}
        iam._put_role_policy({**role, **policy})
        s3._create_bucket(_BUCKET, b"", {})
        s3._put_object(_BUCKET, _SCRIPT, (RUNTIME / _SCRIPT).read_bytes(), {})
    spark = find_spark(settings.glue_python)
    process = RunProcess(
        settings,
        RunRequest(
            run_id="training",
            role_arn=f"arn:aws:iam::{_ACCOUNT}:role/training",
            script=f"s3://{_BUCKET}/{_SCRIPT}",
            arguments={"--JOB_NAME": "training", "--folder": f"s3://{_BUCKET}/data"},
            workers=2,
        ),
    )
    flags = [
        f"-XX:SharedArchiveFile={spark.base_archive}",
        f"-XX:ArchiveClassesAtExit={spark.draft_archive}",
        "-Xlog:cds=off",
        "-Xlog:cds+dynamic=off",
    ]
    try:
        process.start(lambda stream, line: print(f"{stream}: {line}"), flags)
        process.wait(_SECONDS)
        error = process.result()
    finally:
        process.end()
        process.delete()
    if error:
        raise SparkError(error)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((HOST, port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main() -> int:
    """Make the archive; 1 if that is not possible here, in which case Glue runs start slowly."""
    parser = argparse.ArgumentParser(prog="python -m localaws.glue_archive", description=__doc__)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().train:
        asyncio.run(train())
        return 0
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(f"local AWS: {error}", file=sys.stderr)
        return 1
    try:
        if done := make(settings):
            print(f"AppCDS: {done}", file=sys.stderr)
    except (SparkError, subprocess.TimeoutExpired) as error:
        print(f"AppCDS: {error}; Glue runs work, and start slowly", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
