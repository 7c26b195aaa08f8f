"""Starting, stopping and inspecting the server process of one home."""

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import psutil

from localaws.settings import FAILURE_MARK, HOST, Settings

STOP_SECONDS = 30
_POLL_SECONDS = 0.05
_LOG_LINES = 15


class DaemonError(RuntimeError):
    """Local AWS cannot be started or stopped; the message says why and what to do."""


def up(settings: Settings) -> str:
    """Start the server unless it runs, wait until every part answers; return what happened."""
    if not settings.accounts:
        raise DaemonError(
            "LOCALAWS_PROFILES is empty: run 'make up', or set it to the accounts to serve, "
            "for example LOCALAWS_PROFILES='dev=111111111111'"
        )
    _own_home(settings)
    with _one_at_a_time(settings):
        if _lock_is_held(settings):
            _require_same_port(settings)
            ready = _wait_until_ready(settings, None)
            return f"Local AWS already runs on {ready['url']} (pid {ready['pid']})"
        _end_leftovers(settings)
        _require_free_port(settings)
        begun = time.monotonic()
        ready = _wait_until_ready(settings, _spawn(settings))
        seconds = time.monotonic() - begun
        return f"Local AWS is ready on {ready['url']} (pid {ready['pid']}, {seconds:.1f} s)"


def down(settings: Settings) -> str:
    """Stop the server, which saves its state, and every process it started."""
    if not settings.home.exists():
        return "Local AWS is not running"
    _own_home(settings)
    with _one_at_a_time(settings):
        if not _lock_is_held(settings):
            ended = _end_leftovers(settings)
            settings.process.unlink(missing_ok=True)
            rest = f"; ended {ended} processes that a crash had left" if ended else ""
            return f"Local AWS is not running{rest}"
        process = _recorded_process(settings)
        if process is None:
            raise DaemonError(
                f"a process holds {settings.lock}, but {settings.process} does not name it: "
                f"end the process that 'fuser {settings.lock}' shows"
            )
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
            result = "Local AWS stopped; its state is kept"
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
            result = (
                f"Local AWS did not stop within {STOP_SECONDS} s and was killed: changes since "
                f"its last save are lost; see {settings.log}"
            )
        _end_leftovers(settings)
        settings.process.unlink(missing_ok=True)
        return result


def reset(settings: Settings) -> str:
    """Stop the server and delete all that local AWS holds, except its log and its lock."""
    down(settings)
    if settings.home.exists():
        with _one_at_a_time(settings):
            for entry in settings.home.iterdir():
                if entry not in (settings.log, settings.start_lock):
                    _delete(entry)
    return "Local AWS is empty"


def status(settings: Settings) -> dict | None:
    """Return the running server's own account of itself, None where none runs in this home.

    Raises DaemonError where one runs and does not answer.
    """
    if not settings.home.exists() or not _lock_is_held(settings):
        return None
    process = _recorded_process(settings)
    answer = _ask(settings)
    if process is None or answer is None:
        raise DaemonError(
            f"local AWS holds {settings.lock} but does not answer on {settings.url}: it is "
            f"starting, stopping or stuck; see {settings.log}, or run 'make down'"
        )
    family = [process, *process.children(recursive=True)]
    answer["megabytes"] = round(sum(_resident_bytes(member) for member in family) / 2**20)
    return answer


def _own_home(settings: Settings) -> None:
    home = settings.home
    try:
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise DaemonError(
            f"cannot make LOCALAWS_HOME={home}: {error.strerror}; set it to a folder of your own"
        ) from error
    owner = home.stat().st_uid
    if owner != os.getuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise DaemonError(
            f"{home} belongs to the user {name}: run as {name}, or set LOCALAWS_HOME to a folder "
            "of your own (and LOCALAWS_PORT to a free port)"
        )


@contextlib.contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    """Let concurrent up, down and reset of one home wait for each other."""
    with open(settings.start_lock, "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock_is_held(settings: Settings) -> bool:
    """Whether a server lives: its lock ends with it, a pid file alone proves nothing."""
    if not settings.lock.exists():
        return False
    with open(settings.lock, "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _record(settings: Settings) -> dict | None:
    try:
        return json.loads(settings.process.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _recorded_process(settings: Settings) -> psutil.Process | None:
    """Return the recorded server process; None where its pid is by now another process."""
    record = _record(settings)
    try:
        process = psutil.Process(record["pid"]) if record else None
    except psutil.NoSuchProcess:
        return None
    return process if process and process.create_time() == record["started"] else None


def _end_leftovers(settings: Settings) -> int:
    """End what a killed server left running; return how many processes that were.

    The server leads a session of its own, so its children are those of that session.
    """
    record = _record(settings)
    if record is None or psutil.pid_exists(record["pid"]):
        return 0  # a reused pid leads a session of its own: none of ours is left
    leftovers = [psutil.Process(pid) for pid in psutil.pids() if _session(pid) == record["pid"]]
    for process in leftovers:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(leftovers, timeout=3)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return len(leftovers)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _require_free_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, settings.port))
            return
        except OSError as error:
            reason = error.strerror
    raise DaemonError(
        f"port {settings.port} cannot be used ({reason}; {_port_holder(settings.port)}): "
        "end that process, or set LOCALAWS_PORT to a free port"
    )


def _require_same_port(settings: Settings) -> None:
    record = _record(settings)
    if record and record["port"] != settings.port:
        raise DaemonError(
            f"local AWS of {settings.home} runs on port {record['port']}, not on "
            f"LOCALAWS_PORT={settings.port}: run 'make down' first"
        )


def _port_holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == port and connection.pid:
            process = psutil.Process(connection.pid)
            return f"held by process {process.pid}: {' '.join(process.cmdline())[:120]}"
    return "held by a process that this user cannot see"


def _spawn(settings: Settings) -> subprocess.Popen:
    """Start the server in a session of its own, its output going to the log."""
    shutil.rmtree(settings.temporary, ignore_errors=True)
    settings.temporary.mkdir()
    if settings.log.exists():
        settings.log.replace(settings.log.with_suffix(".log.1"))
    with open(settings.log, "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "localaws.server"],
            env=settings.server_environment(),
            cwd=settings.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_ready(settings: Settings, server: subprocess.Popen | None) -> dict:
    """Return the status of the server once all its parts answer.

    ``server`` is the process that was just started, None for one that was running already.
    """
    deadline = time.monotonic() + settings.start_seconds
    answer = None
    while time.monotonic() < deadline:
        answer = _ask(settings)
        if answer and answer["ready"]:
            return answer
        if server is not None and server.poll() is not None:
            raise DaemonError(f"local AWS ended while starting:\n{_log_end(settings)}")
        time.sleep(_POLL_SECONDS)
    faults = {
        part: fault for part, fault in (answer or {}).get("parts", {}).items() if fault != "ok"
    }
    raise DaemonError(
        f"local AWS is not ready after {settings.start_seconds} s "
        f"({faults or 'it does not answer'}): run 'make down' and try again, with more "
        f"LOCALAWS_START_SECONDS on a slow machine; its log says:\n{_log_end(settings)}"
    )


def _ask(settings: Settings) -> dict | None:
    """Return the status that the server of this home gives; None where it does not answer."""
    # No proxy: the server is on the loopback interface, whatever HTTP_PROXY says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{settings.url}/_localaws/status", timeout=5) as response:
            answer = json.load(response)
    except (OSError, urllib.error.URLError, json.JSONDecodeError):
        return None
    return answer if answer.get("home") == str(settings.home) else None


def _log_end(settings: Settings) -> str:
    lines = settings.log.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        if line.startswith(FAILURE_MARK):
            return f"{line.removeprefix(FAILURE_MARK)}\n(whole story: {settings.log})"
    return "\n".join(lines[-_LOG_LINES:])


def _resident_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.memory_info().rss
    return 0


def _delete(path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
