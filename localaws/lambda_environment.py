"""One Lambda execution environment: AWS's own runtime client in a process of its own.

The process runs ``awslambdaric``, as the python runtimes of AWS do, and talks to the Runtime API
that this module serves it. So exception classes, log formats, the context object and the errors of
a handler that cannot be imported are AWS's own. Its interpreter is the project's Lambda
environment, and its environment holds what AWS's holds and nothing of this machine.
"""

# The attributes are those of ministack's Worker, which pylint does not see.
# pylint: disable=protected-access,attribute-defined-outside-init
import contextlib
import http.server
import io
import json
import os
import queue
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from ministack.core import lambda_runtime

from localaws.credentials import SESSION_SECONDS, role_session
from localaws.settings import HOST, REGION

INIT_SECONDS = 10  # AWS's limit for importing the handler's module
RUNTIME = "python3.11"
_API = "/2018-06-01/runtime"
_RESULT_PATH = re.compile(_API + r"/invocation/([^/]+)/(response|error)")
_FRAME = b"\xa5\x5a"  # starts a log frame of awslambdaric; never the start of a UTF-8 character
_FRAME_HEADER_BYTES = 16  # type (4), length (4), microseconds since 1970 (8)


@dataclass
class Outcome:
    """What one invocation came to; ``error`` is AWS's error payload, None where it succeeded."""

    result: object = None
    error: dict | None = None
    milliseconds: float = 0.0
    init_milliseconds: float | None = None
    megabytes: int = 0
    log: list[tuple[int, str]] = field(default_factory=list)  # (milliseconds since 1970, message)


class EnvironmentDied(RuntimeError):
    """The process ended without an answer."""


class ExecutionEnvironment(lambda_runtime.Worker):  # pylint: disable=too-many-instance-attributes
    """A member of ministack's pool of workers that runs invocations one after the other."""

    def __init__(self, func_name: str, config: dict, code_zip: bytes):
        super().__init__(func_name, config, code_zip)
        version = config.get("Version", "$LATEST")
        self.log_stream = f"{time.strftime('%Y/%m/%d')}/[{version}]{os.urandom(16).hex()}"
        self._api: _RuntimeApi | None = None
        self._log: _LogReader | None = None
        self._born = 0.0
        self._retired = False

    def run(self, event: object, request_id: str, function_arn: str, trace: str | None) -> Outcome:
        """Run one invocation, starting the process first where none is warm."""
        with self._lock:
            outcome = Outcome()
            if time.monotonic() - self._born > SESSION_SECONDS / 2:
                self.stop()  # its role's credentials would expire under it
            try:
                if self._proc is None or self._proc.poll() is not None:
                    begun = time.monotonic()
                    self._spawn()
                    outcome.error = self._await_init()
                    outcome.init_milliseconds = _milliseconds_since(begun)
                if outcome.error is None:
                    self._run_handler(outcome, event, request_id, function_arn, trace)
            except EnvironmentDied:
                reason = self._exit_reason()
                outcome.error = {
                    "errorType": "Runtime.ExitError",
                    "errorMessage": f"RequestId: {request_id} Error: Runtime exited {reason}",
                }
            except TimeoutError:
                seconds = f"{self.config['Timeout']:.2f}"
                outcome.error = {
                    "errorType": "Sandbox.Timedout",
                    "errorMessage": f"RequestId: {request_id} Error: Task timed out after "
                    f"{seconds} seconds",
                }
            outcome.megabytes = self._resident_megabytes()
            outcome.log = self._log.take()
            failed = outcome.error is not None and outcome.error["errorType"]
            if self._retired or (failed and failed.startswith(("Runtime.", "Sandbox."))):
                self.stop()
            return outcome

    def renew(self, config: dict, code_zip: bytes) -> None:
        """Take over a changed function: the running process has the old code and settings."""
        self.stop()
        self.config, self.code_zip = config, code_zip

    def retire(self) -> None:
        """Stop, after the running invocation if there is one: on AWS it finishes, too."""
        self._retired = True
        if self._lock.acquire(blocking=False):  # pylint: disable=consider-using-with
            try:
                self.stop()
            finally:
                self._lock.release()

    def kill(self) -> None:
        """End the process with all that the handler started; a running invocation fails."""
        process = self._proc
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the process and its Runtime API."""
        self.kill()
        if self._proc is not None:
            self._proc.wait()
            self._proc = None
        if self._api is not None:
            self._api.close()
            self._api = None
        if self._tmpdir:
            shutil.rmtree(self._tmpdir, ignore_errors=True)
            self._tmpdir = None

    def _spawn(self) -> None:
        self.stop()
        credentials = role_session(
            self.config["Role"],
            self.func_name,
            service="lambda.amazonaws.com",
            source_arn=self.config["FunctionArn"],
        )
        self._tmpdir = tempfile.mkdtemp(prefix=f"lambda-{self.func_name}-")
        root = Path(self._tmpdir)
        task, opt, scratch = (_folder(root / name) for name in ("task", "opt", "tmp"))
        _extract(self.code_zip, task)
        for layer in self.config.get("Layers", []):
            _extract(_layer_zip(layer), opt)
        self._api = _RuntimeApi()
        # Output and log frames share one pipe, so that their order is kept.
        read_end, write_end = os.pipe()
        self._log = _LogReader(read_end, {str(task): "/var/task", str(opt): "/opt"})
        try:
            self._proc = subprocess.Popen(  # pylint: disable=consider-using-with
                [
                    os.environ["LOCALAWS_LAMBDA_PYTHON"],
                    "-m",
                    "awslambdaric",
                    self.config["Handler"],
                ],
                cwd=task,
                env=self._environment(task, opt, scratch, write_end) | credentials,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                pass_fds=[write_end],
                process_group=0,
            )
        finally:
            os.close(write_end)
        self._born = time.monotonic()

    def _environment(self, task: Path, opt: Path, scratch: Path, log_fd: int) -> dict[str, str]:
        """Return what AWS documents for a function's environment, and the endpoint."""
        config = self.config
        name = config["FunctionName"]
        logging = config.get("LoggingConfig") or {}
        packages = [task, opt / f"python/lib/{RUNTIME}/site-packages", opt / "python"]
        variables = (config.get("Environment") or {}).get("Variables", {})
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "HOME": str(scratch),  # an empty one: the SDK must not find this machine's ~/.aws
            "TMPDIR": str(scratch),
            **variables,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://{HOST}:{os.environ['GATEWAY_PORT']}",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{RUNTIME}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config["MemorySize"]),
            "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": log_group(config),
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
            "AWS_LAMBDA_LOG_FORMAT": logging.get("LogFormat", "Text"),
            "AWS_LAMBDA_LOG_LEVEL": logging.get("ApplicationLogLevel", ""),
            "AWS_LAMBDA_RUNTIME_API": f"{HOST}:{self._api.server_port}",
            "LAMBDA_TASK_ROOT": str(task),
            "PYTHONPATH": os.pathsep.join(map(str, packages)),
            "_HANDLER": config["Handler"],
            "_LAMBDA_TELEMETRY_LOG_FD": str(log_fd),
        }
        if "PYTHONPATH" in variables:
            environment["PYTHONPATH"] += os.pathsep + variables["PYTHONPATH"]
        return environment

    def _await_init(self) -> dict | None:
        """Wait until the handler's module is imported; return AWS's error payload if it is not."""
        limit = max(INIT_SECONDS, self.config["Timeout"])
        kind, payload = self._await_answer(time.monotonic() + limit)
        return self._as_on_aws(payload) if kind == "init/error" else None

    def _run_handler(
        self, outcome: Outcome, event: object, request_id: str, function_arn: str, trace: str | None
    ) -> None:
        begun = time.monotonic()
        timeout = self.config["Timeout"]
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": function_arn,
        }
        if trace:
            headers["Lambda-Runtime-Trace-Id"] = trace
        self._api.invocations.put((headers, json.dumps(event).encode()))
        try:
            kind, payload = self._await_answer(begun + timeout)
        finally:
            outcome.milliseconds = _milliseconds_since(begun)
        if kind == "error":
            outcome.error = self._as_on_aws(payload)
        else:
            outcome.result = json.loads(payload)

    def _await_answer(self, deadline: float) -> tuple[str, bytes]:
        """Return the runtime's next request to the Runtime API as (kind, body).

        Reads the log meanwhile: a full pipe would block the handler. Raises TimeoutError and
        EnvironmentDied.
        """
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            ended = self._proc.poll() is not None  # before the bell: it may have rung last of all
            sources = [self._api.bell] if self._log.at_end else [self._api.bell, self._log]
            readable, _, _ = select.select(sources, [], [], 0 if ended else min(remaining, 0.1))
            self._log.read()  # all that was written before an answer is in the pipe by now
            if self._api.bell in readable:
                os.read(self._api.bell, 1)
                return self._api.answers.get()
            if ended:
                raise EnvironmentDied

    def _as_on_aws(self, payload: bytes) -> dict:
        return json.loads(self._log.rename(payload.decode()))

    def _exit_reason(self) -> str:
        status = self._proc.wait()
        if status < 0:
            return f"with error: signal: {signal.Signals(-status).name.removeprefix('SIG').lower()}"
        return f"with error: exit status {status}" if status else "without providing a reason"

    def _resident_megabytes(self) -> int:
        with contextlib.suppress(psutil.NoSuchProcess, AttributeError):
            return round(psutil.Process(self._proc.pid).memory_info().rss / 2**20)
        return 0


class _RuntimeApi(http.server.ThreadingHTTPServer):
    """AWS's Runtime API for one process: it fetches invocations and posts their results.

    ``answers`` gets (kind, body) of what the process says: "next" once, when its handler is
    imported, then "response" or "error", or "init/error"; ``bell`` becomes readable with each.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__((HOST, 0), _RuntimeApiHandler)
        self.invocations: queue.SimpleQueue = queue.SimpleQueue()
        self.answers: queue.SimpleQueue = queue.SimpleQueue()
        self.bell, self._ring = os.pipe()
        self.initialised = False
        self.pending: str | None = None
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def say(self, kind: str, body: bytes) -> None:
        """Hand the process's word to the thread that waits for it."""
        self.answers.put((kind, body))
        os.write(self._ring, b"!")

    def close(self) -> None:
        """Stop serving; a process that still waits is told to end."""
        self.invocations.put(None)
        self.shutdown()
        self.server_close()
        os.close(self.bell)
        os.close(self._ring)


class _RuntimeApiHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _RuntimeApi

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        """Keep the server's log free of a line a request."""

    def do_GET(self):  # pylint: disable=invalid-name
        """Serve the next invocation, waiting for one."""
        if self.path != f"{_API}/invocation/next":
            self._reply(404)
            return
        if not self.server.initialised:
            self.server.initialised = True
            self.server.say("next", b"")
        invocation = self.server.invocations.get()
        if invocation is None:
            self._reply(410)
            return
        headers, body = invocation
        self.server.pending = headers["Lambda-Runtime-Aws-Request-Id"]
        self._reply(200, body, headers)

    def do_POST(self):  # pylint: disable=invalid-name
        """Take a result, or the reason for which the handler's module cannot be imported."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        result = _RESULT_PATH.fullmatch(self.path)
        if self.path == f"{_API}/init/error":
            self.server.say("init/error", body)
        elif result and result[1] == self.server.pending:
            self.server.pending = None
            self.server.say(result[2], body)
        else:
            self._reply(400, b'{"errorType":"InvalidRequestID"}')
            return
        self._reply(202)

    def _reply(self, status: int, body: bytes = b"", headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _LogReader:
    """Splits what a process writes into log events: a line each, or a frame of awslambdaric."""

    def __init__(self, fd: int, renamed: dict[str, str]):
        os.set_blocking(fd, False)
        self._file = open(fd, "rb", buffering=0)  # pylint: disable=consider-using-with
        self._renamed = renamed
        self._buffer = b""
        self._events: list[tuple[int, str]] = []
        self.at_end = False  # every process that could write has ended

    def fileno(self) -> int:
        """Let select() wait for output."""
        return self._file.fileno()

    def rename(self, text: str) -> str:
        """Return the text with this machine's folders under the names that they have on AWS."""
        for here, there in self._renamed.items():
            text = text.replace(here, there)
        return text

    def read(self) -> None:
        """Take in what is in the pipe, without waiting for more."""
        while chunk := self._file.read(65536):
            self._buffer += chunk
        self.at_end = chunk == b""  # None: nothing yet
        self._split()

    def take(self) -> list[tuple[int, str]]:
        """Return the events so far, an unfinished line included, and forget them."""
        self.read()
        if self._buffer:
            self._add(self._buffer)
            self._buffer = b""
        events, self._events = self._events, []
        # A line has the time at which it was read, a frame that at which it was written: where a
        # frame follows, the line was written no later. CloudWatch sorts by these times.
        for index in range(len(events) - 2, -1, -1):
            milliseconds, text = events[index]
            events[index] = (min(milliseconds, events[index + 1][0]), text)
        return events

    def _split(self) -> None:
        while self._buffer:
            if self._buffer.startswith(_FRAME):
                size = int.from_bytes(self._buffer[4:8], "big")
                end = _FRAME_HEADER_BYTES + size
                if len(self._buffer) < max(end, _FRAME_HEADER_BYTES):
                    return
                microseconds = int.from_bytes(self._buffer[8:16], "big")
                self._add(self._buffer[_FRAME_HEADER_BYTES:end], microseconds // 1000)
            else:
                ends = [self._buffer.find(b"\n") + 1, self._buffer.find(_FRAME)]
                end = min((found for found in ends if found > 0), default=0)
                if not end:
                    return
                self._add(self._buffer[:end])
            self._buffer = self._buffer[end:]

    def _add(self, message: bytes, milliseconds: int | None = None) -> None:
        text = self.rename(message.decode("utf-8", errors="replace").rstrip("\n"))
        if text:  # AWS refuses an empty event, too
            self._events.append((milliseconds or int(time.time() * 1000), text))


def log_group(config: dict) -> str:
    """Return the log group that the function writes to."""
    logging = config.get("LoggingConfig") or {}
    return logging.get("LogGroup") or f"/aws/lambda/{config['FunctionName']}"


def _layer_zip(layer: dict) -> bytes:
    # Imported late: the service imports the runtime that this module extends.
    from ministack.services import lambda_svc  # pylint: disable=import-outside-toplevel

    content = lambda_svc._resolve_layer_zip(layer)
    if content is None:
        raise RuntimeError(f"the layer {layer['Arn']} has no content")
    return content


def _extract(archive: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        opened.extractall(folder)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _milliseconds_since(begun: float) -> float:
    return (time.monotonic() - begun) * 1000
