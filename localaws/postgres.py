"""PostgreSQL in Redshift's place: one server for each warehouse (a Redshift namespace).

A namespace is a cluster of its own on AWS too: its databases, users and grants are nobody else's.
So its folder ``$LOCALAWS_HOME/redshift/<account>/<region>/<namespace>/`` holds a PostgreSQL data
folder, its log and its socket. There is no TCP port. To look inside:
``psql -h <socket folder> -U <user> <database>`` (``make status`` prints the folder; psql lies in
``.venv/localaws/lib/python3.11/site-packages/pgserver/pginstall/bin``).

PostgreSQL refuses to run as root. Where root runs local AWS the server runs as ``nobody``, keeping
of root's powers only that to pass closed folders (CAP_DAC_OVERRIDE): a home or a checkout under
/root needs no other place, no changed permission and no new user.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import psycopg
from psycopg import sql

SUPERUSER = "rdsdb"  # Redshift's own name for its internal superuser
# Only its programs are used: importing pgserver makes folders and opens up permissions.
_BIN = Path(importlib.util.find_spec("pgserver").origin).parent / "pginstall" / "bin"
_SERVER_USER = "nobody"
_START_SECONDS = 30
_STOP_SECONDS = 10
_POLL_SECONDS = 0.02
_LONGEST_SOCKET_PATH = 107
_MOST_CONNECTIONS = 60
_DRAFT = "new-"  # begins the name of the folder that a data folder is made in
_SEARCH_PATH = '"$user", public, redshift_catalog, pg_catalog'
_CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": str(_MOST_CONNECTIONS),
    "shared_buffers": "32MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "1",
    "jit": "off",
}


class PostgresError(RuntimeError):
    """A warehouse's server cannot be made or started; the message says why and what to do."""


def remove_drafts(folder: Path) -> None:
    """Remove the data folders of a warehouse that were being made when local AWS was killed."""
    for draft in folder.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft)


class Server:
    """The PostgreSQL server of one warehouse, started when it is first needed.

    Methods may be called from any thread. A server that was killed is started again.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "postgresql.log"
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None

    @property
    def socket_folder(self) -> Path:
        """Where the server's socket lies: the warehouse's folder, unless that path is too long."""
        if len(str(self.folder / ".s.PGSQL.5432")) <= _LONGEST_SOCKET_PATH:
            return self.folder
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
        return Path("/tmp") / f"localaws-{digest}"

    def create(self, administrator: str) -> None:
        """Make the data folder, with ``administrator`` as the warehouse's administrator."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.data.exists():
            # Made beside and moved: a half-made data folder is never taken for a whole one.
            with tempfile.TemporaryDirectory(prefix=_DRAFT, dir=self.folder) as draft:
                data = Path(draft) / "data"
                data.mkdir(mode=0o700)
                _own(Path(draft))
                _own(data)
                _run("initdb", "-D", data, "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8",
                     "--locale-provider=libc", "--lc-collate=C", "--lc-ctype=C.UTF-8",
                     "--wal-segsize=4", "--no-instructions")  # fmt: skip
                data.rename(self.data)
        with self.connect("template1") as template:
            if template.execute("SELECT to_regnamespace('redshift_catalog')").fetchone() == (None,):
                # One transaction: a half-made catalog is never taken for a whole one.
                catalog = files("localaws").joinpath("redshift_catalog.sql").read_text()
                template.execute(f"BEGIN; {catalog}; COMMIT")
        self.ensure_user(administrator, superuser=True)

    def create_database(self, name: str, owner: str) -> None:
        """Make a database with Redshift's functions and system tables, unless it is there."""
        if name in self.databases():
            return
        with self.connect("postgres") as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(owner)
                )
            )
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET search_path = {}").format(
                    sql.Identifier(name), sql.SQL(_SEARCH_PATH)
                )
            )

    def databases(self) -> list[str]:
        """Return the names of the warehouse's databases."""
        with self.connect("postgres") as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
                " ORDER BY datname"
            ).fetchall()
        return [name for (name,) in rows]

    def ensure_user(self, name: str, *, superuser: bool = False, roles: Iterable[str] = ()) -> None:
        """Make a database user, or give it what it lacks; new users have no grants.

        ``roles`` are database roles that it is to have; those that do not exist are passed over,
        as Redshift does.
        """
        user = sql.Identifier(name)
        with self.connect("postgres") as connection:
            found = connection.execute(
                "SELECT rolsuper FROM pg_roles WHERE rolname = %s", [name]
            ).fetchone()
            if found is None:
                with contextlib.suppress(psycopg.errors.UniqueViolation):  # another was first
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(user))
            if found != (superuser,):
                word = sql.SQL("SUPERUSER" if superuser else "NOSUPERUSER")
                connection.execute(sql.SQL("ALTER ROLE {} {}").format(user, word))
            for (role,) in connection.execute(
                "SELECT rolname FROM pg_roles AS role WHERE rolname = ANY(%s) "
                "AND NOT pg_has_role(%s, role.oid, 'member')",
                [list(roles), name],
            ).fetchall():
                connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), user))

    def connect(self, database: str, user: str = SUPERUSER) -> psycopg.Connection:
        """Open a connection in autocommit mode, starting the server where it does not run.

        Raises psycopg.OperationalError where the database or the user does not exist and
        PostgresError where the server cannot be started.
        """
        self.start()
        return psycopg.connect(
            host=str(self.socket_folder),
            dbname=database,
            user=user,
            autocommit=True,
            application_name="redshift-data",
        )

    def start(self) -> None:
        """Start the server unless it runs, and wait until it takes connections."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            if not self.data.is_dir():
                raise PostgresError(
                    f"the warehouse's data folder {self.data} is gone: run 'make reset', then "
                    "deploy again"
                )
            self._clear_stale_lock()
            socket_folder = self._make_socket_folder()
            deadline = time.monotonic() + _START_SECONDS
            self._process = self._spawn(socket_folder)
            while not self._is_ready(socket_folder):
                if self._process.poll() is not None:
                    # Sessions of a killed server notice its end within moments.
                    in_use = "still in use" in self._log_end()
                    if not in_use or time.monotonic() > deadline:
                        raise PostgresError(f"the warehouse did not start:\n{self._log_end()}")
                    time.sleep(0.2)
                    self._process = self._spawn(socket_folder)
                if time.monotonic() > deadline:
                    self._process.kill()
                    raise PostgresError(
                        f"the warehouse was not ready after {_START_SECONDS} s:\n{self._log_end()}"
                    )
                time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop the server: open statements are rolled back, all that is committed is kept."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                return
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(_STOP_SECONDS)
            if self.socket_folder != self.folder:
                shutil.rmtree(self.socket_folder)

    def _spawn(self, socket_folder: Path) -> subprocess.Popen:
        options = {**_CONFIGURATION, "unix_socket_directories": str(socket_folder)}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [*_as_server_user(), _BIN / "postgres", "-D", self.data, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _is_ready(self, socket_folder: Path) -> bool:
        try:
            psycopg.connect(host=str(socket_folder), dbname="postgres", user=SUPERUSER).close()
        except psycopg.OperationalError:
            return False
        return True

    def _clear_stale_lock(self) -> None:
        """Remove the lock files of a server that was killed; stop one that lost its local AWS."""
        lock = self.data / "postmaster.pid"
        socket_lock = self.socket_folder / ".s.PGSQL.5432.lock"
        try:
            pid = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            pid = 0
        deadline = time.monotonic() + _STOP_SECONDS
        while pid and self._serves(pid):
            os.kill(pid, signal.SIGINT if time.monotonic() < deadline else signal.SIGQUIT)
            time.sleep(0.1)
        # The pid may by now be another program's, or a zombie's: PostgreSQL takes both for alive.
        lock.unlink(missing_ok=True)
        socket_lock.unlink(missing_ok=True)

    def _serves(self, pid: int) -> bool:
        """Whether the process is a server of this data folder: it works in that folder."""
        try:
            return Path(f"/proc/{pid}/cwd").resolve(strict=True) == self.data.resolve()
        except OSError:
            return False

    def _make_socket_folder(self) -> Path:
        folder = self.socket_folder
        if folder != self.folder:
            folder.mkdir(mode=0o700, exist_ok=True)
            _own(folder)
        else:
            _own(folder)
        return folder

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])


def _as_server_user() -> list[str]:
    """Return the words that run a program as a user whom PostgreSQL accepts."""
    if os.getuid() != 0:
        return []
    user = pwd.getpwnam(_SERVER_USER)
    return [
        "setpriv",
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        "--",
    ]


def _own(path: Path) -> None:
    """Give a path to the user that the server runs as."""
    if os.getuid() == 0:
        user = pwd.getpwnam(_SERVER_USER)
        os.chown(path, user.pw_uid, user.pw_gid)


def _run(program: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [*_as_server_user(), _BIN / program, *arguments],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PostgresError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")
