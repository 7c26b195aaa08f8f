"""The lock of an environment: one deploy or rollback at a time.

It is one object in the artifact bucket, locks/deploy.json, written only on the condition that it is
what was read just before, so that of two commands exactly one gets it. Whoever holds it renews its
lease as the work goes on; the lock of one that crashed is taken over once its process is known to
be gone or its lease has run out.
"""

import argparse
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from botocore.exceptions import ClientError

from ops.environment import Environment, OperationError, command

KEY = "locks/deploy.json"
# A write can lose against another one; then what is there now decides.
ATTEMPTS = 5
RENEW_SECONDS = 60  # far below release.lock_lease_seconds
# S3's answers when the object is no longer, or not yet, what the condition says.
LOST_RACE = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


@dataclass(frozen=True)
class Lock:
    """Who holds an environment; its token is what the holder knows and nobody else."""

    who: str  # the caller's ARN
    host: str
    pid: int
    command: str
    since: str
    expires: str
    token: str

    def __str__(self) -> str:
        return f"{self.command} by {self.who} (pid {self.pid} on {self.host}) since {self.since}"

    def fault(self) -> str:
        """Return why nobody holds this lock any more, or nothing if somebody may."""
        if datetime.fromisoformat(self.expires) < datetime.now(timezone.utc):
            return f"its lease ran out at {self.expires}"
        if self.host == this_host() and not _runs(self.pid):
            return f"process {self.pid} is gone"
        return ""


class Locked(OperationError):
    """Somebody else holds the environment."""


def this_host() -> str:
    """Return what process ids are unique in: a machine, or a container on it."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not on Linux: there are no containers to tell apart
        return socket.gethostname()
    return f"{socket.gethostname()} {space}"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and nobody has asked for its exit code, as in many containers."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:  # not on Linux, or reaped just now
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"


def _time(later: timedelta = timedelta()) -> str:
    return (datetime.now(timezone.utc) + later).isoformat(timespec="seconds")


def _lease(environment: Environment) -> timedelta:
    return timedelta(seconds=environment.config["release"]["lock_lease_seconds"])


def _read(environment: Environment) -> tuple[Lock | None, str]:
    """Return the lock and its ETag, (None, "") where there is none."""
    try:
        found = environment.client("s3").get_object(Bucket=environment.artifact_bucket, Key=KEY)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None, ""
    return Lock(**json.load(found["Body"])), found["ETag"]


def _write(environment: Environment, lock: Lock, etag: str) -> bool:
    """Write the lock if the object still has this ETag (none: if there is no object)."""
    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    try:
        environment.client("s3").put_object(
            Bucket=environment.artifact_bucket,
            Key=KEY,
            Body=json.dumps(asdict(lock)).encode() + b"\n",
            ContentType="application/json",
            **condition,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in LOST_RACE:
            raise
        return False
    return True


def holder(environment: Environment) -> Lock | None:
    """Return the lock that somebody holds; None where nobody does or its holder is gone."""
    lock, _ = _read(environment)
    return lock if lock and not lock.fault() else None


def claim(environment: Environment, token: str, who: str, command_line: str, pid: int) -> Lock:
    """Return the lock that process `pid` on this host would hold from now on."""
    expires = _time(_lease(environment))
    return Lock(who, this_host(), pid, command_line, _time(), expires, token)


def take(environment: Environment, mine: Lock, broken: bool = False) -> None:
    """Make this lock the environment's; raise Locked when somebody else holds it.

    A lock that nobody holds any more is taken over, and with `broken` any.
    """
    for _ in range(ATTEMPTS):
        found, etag = _read(environment)
        if found and found.token == mine.token:  # the write went through, only its answer did not
            return
        fault = found and (found.fault() or ("broken as asked for" if broken else ""))
        if found and not fault:
            raise Locked(
                f"{environment.name} is locked: {found}; its lease ends at {found.expires}.\n"
                "Wait for it. If you know that it is dead, break its lock: BREAK_LOCK=1, or "
                "--break-lock"
            )
        if _write(environment, mine, etag):
            if found:
                print(f"  took over the lock of {found}: {fault}", file=sys.stderr)
            return
    raise Locked(f"the lock of {environment.name} changed hands {ATTEMPTS} times: try again")


def renew(environment: Environment, token: str) -> None:
    """Begin the lease anew; raise Locked when the lock is somebody else's by now."""
    found, etag = _read(environment)
    if found and found.token == token:
        if _write(environment, replace(found, expires=_time(_lease(environment))), etag):
            return
        found, _ = _read(environment)
    raise _lost(environment, found)


class Lease:
    """The lock as work that takes long holds it, by its token."""

    def __init__(self, environment: Environment, token: str):
        self._environment, self._token = environment, token
        self._renewed = time.monotonic()

    def hold(self) -> None:
        """Renew the lease where it is due; raise Locked when the lock is somebody else's by now."""
        if time.monotonic() - self._renewed >= RENEW_SECONDS:
            renew(self._environment, self._token)
            self._renewed = time.monotonic()
            return
        found, _ = _read(self._environment)
        if not found or found.token != self._token:
            raise _lost(self._environment, found)


def _lost(environment: Environment, found: Lock | None) -> Locked:
    return Locked(
        f"this command no longer holds {environment.name}: "
        f"{f'it is locked by {found}' if found else 'its lock was removed'}"
    )


def release(environment: Environment, token: str) -> None:
    """Give the environment free; the lock of somebody else is left alone."""
    found, etag = _read(environment)
    if not found or found.token != token:
        return
    try:
        environment.client("s3").delete_object(
            Bucket=environment.artifact_bucket, Key=KEY, IfMatch=etag
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in LOST_RACE:
            raise


@command
def main() -> int:
    """Take, renew or release the lock of one environment."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.lock", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    for action in ("take", "renew", "release"):
        options = actions.add_parser(action)
        options.add_argument("--env", required=True)
        options.add_argument("--token", required=True, help="what the holder is recognised by")
        if action == "take":
            options.add_argument("--who", required=True, help="the caller's ARN")
            options.add_argument("--command", required=True, help="what it is taken for")
            options.add_argument("--pid", type=int, required=True, help="lives as long as the work")
            options.add_argument("--break-lock", action="store_true", help="whoever holds it")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    if arguments.action == "take":
        mine = claim(environment, arguments.token, arguments.who, arguments.command, arguments.pid)
        take(environment, mine, arguments.break_lock)
    elif arguments.action == "renew":
        renew(environment, arguments.token)
    else:
        release(environment, arguments.token)
    return 0


if __name__ == "__main__":
    sys.exit(main())
