"""Where local AWS lives and what it serves, read from the environment (LOCALAWS_*)."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
REGION = "us-east-1"
FAILURE_MARK = "local AWS failed: "  # starts the line of the log that says why
S3_FAULTS = "s3-faults"  # in the home: see localaws.s3_faults
REPOSITORY = Path(__file__).resolve().parents[1]

# The server's environment starts empty, so that no key, proxy or package of the host leaks into
# it or into the processes it starts; these pass.
_INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "JAVA_HOME")


class SettingsError(ValueError):
    """A LOCALAWS_* variable that cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Settings:
    """Local AWS's place, port, accounts (profile name -> account id) and interpreters, and how long
    `up` waits for it."""

    home: Path
    port: int
    accounts: dict[str, str]
    glue_python: Path
    lambda_python: Path
    start_seconds: int = 60

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read LOCALAWS_HOME, _PORT, _PROFILES, _GLUE_PYTHON, _LAMBDA_PYTHON and _START_SECONDS.

        Raises SettingsError on a value that cannot be used.
        """
        env = os.environ if environment is None else environment

        def path(name: str, default: str) -> Path:
            # Not resolved: a virtual environment's python is a link that must stay one.
            return Path(os.path.abspath(env.get(name) or REPOSITORY / default))

        return cls(
            home=path("LOCALAWS_HOME", ".local"),
            port=_port(env.get("LOCALAWS_PORT") or "4566"),
            accounts=_accounts(env.get("LOCALAWS_PROFILES", "")),
            glue_python=path("LOCALAWS_GLUE_PYTHON", ".venv/glue/bin/python"),
            lambda_python=path("LOCALAWS_LAMBDA_PYTHON", ".venv/lambda/bin/python"),
            start_seconds=_seconds(env.get("LOCALAWS_START_SECONDS") or str(cls.start_seconds)),
        )

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / "server.log"

    @property
    def lock(self) -> Path:
        """Locked by the server for as long as it lives."""
        return self.home / "server.lock"

    @property
    def process(self) -> Path:
        """The server's pid, start time and port, as JSON."""
        return self.home / "server.json"

    @property
    def start_lock(self) -> Path:
        """Locked by up, down and reset while they work."""
        return self.home / "command.lock"

    @property
    def temporary(self) -> Path:
        """Where the server and its children put temporary files; emptied at every start."""
        return self.home / "tmp"

    def server_environment(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the whole environment of the server process: ministack's settings and ours."""
        env = os.environ if environment is None else environment
        profiles = " ".join(f"{name}={account}" for name, account in self.accounts.items())
        return {
            **{name: env[name] for name in _INHERITED if name in env},
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "TZ": "UTC",
            "TMPDIR": str(self.temporary),
            "LOCALAWS_HOME": str(self.home),
            "LOCALAWS_PORT": str(self.port),
            "LOCALAWS_PROFILES": profiles,
            "LOCALAWS_GLUE_PYTHON": str(self.glue_python),
            "LOCALAWS_LAMBDA_PYTHON": str(self.lambda_python),
            # ministack's own: loopback only, IAM enforced, state kept, no listeners beside HTTP.
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            "MINISTACK_REGION": REGION,
            "AUTH": "true",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.home / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.home / "s3"),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
        }


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise SettingsError(f"LOCALAWS_PORT={text!r} is not a port: give a number from 1 to 65535")
    return int(text)


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(
            f"LOCALAWS_START_SECONDS={text!r} is no time: give whole seconds, at least 1"
        )
    return int(text)


def _accounts(text: str) -> dict[str, str]:
    accounts: dict[str, str] = {}
    for entry in text.split():
        match = re.fullmatch(r"([\w.-]+)=(\d{12})", entry)
        if not match:
            raise SettingsError(
                f"LOCALAWS_PROFILES has {entry!r}: write profile=12-digit-account, "
                "for example dev=111111111111"
            )
        name, account = match.groups()
        if name in accounts or account in accounts.values():
            raise SettingsError(f"LOCALAWS_PROFILES names {name!r} or account {account} twice")
        accounts[name] = account
    return accounts
