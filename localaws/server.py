"""The server process: ministack with the extension modules, served on the loopback interface.

Started by ``localaws.daemon`` with the environment of ``Settings.server_environment``, which
ministack reads while it is imported.
"""

import asyncio
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from types import ModuleType

import ministack.app
import psutil
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError

from localaws import (
    accounts,
    cloudformation,
    eventbridge,
    glue,
    hooks,
    iam,
    iam_requests,
    iam_simulation,
    lambda_,
    lambda_aliases,
    lambda_versions,
    metrics,
    persistence,
    redshift_data,
    redshift_serverless,
    s3,
    s3_faults,
    stepfunctions,
)
from localaws.settings import FAILURE_MARK, HOST, Settings

# What localaws adds to ministack, in the order in which the parts start.
EXTENSIONS = (
    persistence,
    iam,
    iam_requests,
    iam_simulation,
    s3,
    s3_faults,
    lambda_,
    lambda_aliases,
    lambda_versions,
    eventbridge,
    metrics,
    glue,
    redshift_data,
    redshift_serverless,
    stepfunctions,
    cloudformation,
)
STATUS_PATH = "/_localaws/status"
_KEEP_ALIVE_SECONDS = 75
_GRACEFUL_SECONDS = 1

logger = logging.getLogger("localaws")


class Server:
    """One running local AWS: its settings, its extension modules and its life cycle."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._started: list[ModuleType] = []
        self._running = False
        self.failure: str | None = None  # why it could not start or stop, once it has failed

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Serve one ASGI scope: our status page, else ministack."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == STATUS_PATH:
            await _send_json(send, await asyncio.to_thread(self.status))
        else:
            await ministack.app.app(_as_if_by_tls(scope), receive, send)

    async def _live(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Run ministack's life cycle with ours; hypercorn would serve on after an exception."""
        try:
            await ministack.app.app(scope, receive, self._after_start(send))
        except Exception as error:  # pylint: disable=broad-exception-caught
            logger.exception("local AWS cannot run")
            self.failure = str(error)
            phase = "shutdown" if self._running else "startup"
            if not self._running:
                await asyncio.to_thread(self._stop)
            await send({"type": f"lifespan.{phase}.failed", "message": self.failure})

    def status(self) -> dict:
        """Return what is running: process, place, and each part's health ("ok" or its fault)."""
        parts = {"ministack": "ok"}
        for module in EXTENSIONS:
            parts[module.__name__.removeprefix("localaws.")] = _health(module)
        return {
            "pid": os.getpid(),
            "home": str(self.settings.home),
            "url": self.settings.url,
            "ministack": hooks.MINISTACK_VERSION,
            "accounts": self.settings.accounts,
            "ready": all(health == "ok" for health in parts.values()),
            "parts": parts,
        }

    def _after_start(self, send: Callable) -> Callable[[dict], Awaitable[None]]:
        """Start our parts once ministack has restored its state, before anything is served."""

        async def send_after_start(message: dict) -> None:
            if message["type"] == "lifespan.startup.complete":
                accounts.bootstrap(self.settings)
                await asyncio.to_thread(self._start)
                self._running = True
            await send(message)

        return send_after_start

    async def until_stopped(self) -> None:
        """Wait for SIGTERM or SIGINT and stop our parts.

        Only then hypercorn ends the open requests, of which a running Lambda would be one, and
        ministack saves its state.
        """
        asked = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, asked.set)
        await asked.wait()
        await asyncio.to_thread(self._stop)

    def _start(self) -> None:
        for module in EXTENSIONS:
            if hasattr(module, "start"):
                begun = time.monotonic()
                self._started.append(module)
                module.start(self.settings)
                logger.info("%s started in %.1f s", module.__name__, time.monotonic() - begun)

    def _stop(self) -> None:
        for module in reversed(self._started):
            if hasattr(module, "stop"):
                try:  # whatever fails, the other parts must stop and the state be saved
                    module.stop()
                except Exception:  # pylint: disable=broad-exception-caught
                    logger.exception("%s did not stop cleanly", module.__name__)


def _as_if_by_tls(scope: dict) -> dict:
    """Mark a request as having come by TLS, which AWS's endpoints always offer.

    Else a bucket policy that denies plain http (aws:SecureTransport) would deny everything here.
    A caller that sends x-forwarded-proto itself is believed, so the denial can be tested.
    """
    headers = list(scope.get("headers", []))
    if not any(name.lower() == b"x-forwarded-proto" for name, _ in headers):
        headers.append((b"x-forwarded-proto", b"https"))
    return {**scope, "headers": headers}


def _health(module: ModuleType) -> str:
    if not hasattr(module, "check"):
        return "ok"
    try:  # whatever is wrong is what the status has to show
        module.check()
    except Exception as error:  # pylint: disable=broad-exception-caught
        return f"{type(error).__name__}: {error}"
    return "ok"


async def _send_json(send: Callable, content: dict) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _hold_lock(settings: Settings):
    """Take the lock that says that this home has a server; it ends with the process."""
    lock = open(settings.lock, "a+", encoding="utf-8")  # pylint: disable=consider-using-with
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"local AWS already runs in {settings.home}")
    me = psutil.Process()
    settings.process.write_text(
        json.dumps({"pid": me.pid, "started": me.create_time(), "port": settings.port})
    )
    return lock


def _listen(port: int) -> socket.socket:
    """Reserve the port before anything starts that would have to be undone."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # a port that is only bound can be bound a second time (SO_REUSEADDR)
    except OSError as error:
        sys.exit(f"cannot listen on {HOST}:{port}: {error.strerror}")
    return listener


def main() -> None:
    """Serve until SIGTERM or SIGINT, then stop every part and save the state."""
    settings = Settings.from_environment()
    lock = _hold_lock(settings)
    listener = _listen(settings.port)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.graceful_timeout = _GRACEFUL_SECONDS
    hooks.check_version()
    for module in EXTENSIONS:
        module.register()
    server = Server(settings)
    loop = asyncio.new_event_loop()
    status = 0
    try:
        loop.run_until_complete(serve(server, config, shutdown_trigger=server.until_stopped))
    except LifespanFailureError:
        print(f"{FAILURE_MARK}{server.failure}", file=sys.stderr)
        status = 1
    logging.shutdown()
    lock.close()
    # Not sys.exit: threads of abandoned invocations would keep the stopped server alive.
    os._exit(status)


if __name__ == "__main__":
    main()
