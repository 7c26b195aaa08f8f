"""The warehouse's server: it survives stops and kills, closed folders and long paths."""

# pylint: disable=redefined-outer-name  # pytest's way of asking for fixtures

import contextlib
import json
import os
import signal
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tests.conftest import PYTHON, LocalAws, free_port, new_home
from tests.localaws.redshift_warehouse import Warehouse, make_warehouse
from tests.localaws.workshop import wait_until


@pytest.fixture
def aws():
    """A local AWS of the test's own."""
    with new_home() as home:
        made = LocalAws(home, free_port())
        started = made.run("up")
        assert started.returncode == 0, started.stderr
        yield made
        stopped = made.run("down")
        assert stopped.returncode == 0, stopped.stderr


def folder(warehouse: Warehouse) -> Path:
    return warehouse.aws.home / "redshift/111111111111/us-east-1" / warehouse.workgroup


def server(warehouse: Warehouse) -> int:
    """Return the pid of the warehouse's server."""
    return server_in(folder(warehouse) / "data")


def server_in(data: Path) -> int:
    """Return the pid of the server of a data folder."""
    return int((data / "postmaster.pid").read_text(encoding="utf-8").split()[0])


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def kill(pid: int) -> None:
    """Kill a process without warning and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            != "Z"
        )
    except (FileNotFoundError, ProcessLookupError):
        return False


def restart(aws: LocalAws, command: str = "down") -> None:
    for step in (command, "up"):
        done = aws.run(step)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def filled(aws) -> Warehouse:
    warehouse = make_warehouse(aws, "dev")
    warehouse.run("CREATE TABLE t (a INT)", "INSERT INTO t VALUES (42)")
    return warehouse


def rows(warehouse: Warehouse) -> list[tuple]:
    return warehouse.run("SELECT a FROM t")


def test_rows_statements_and_tokens_survive_a_restart(aws, filled):
    token = {"ClientToken": "once"}
    statement = filled.submit("INSERT INTO t VALUES (43)", **token)
    filled.wait(statement)
    result = filled.submit("SELECT a FROM t ORDER BY a")
    filled.wait(result)
    restart(aws)
    assert filled.rows(result) == [(42,), (43,)]
    assert filled.submit("INSERT INTO t VALUES (43)", **token) == statement
    assert sorted(rows(filled)) == [(42,), (43,)]


def test_a_killed_server_is_started_again(filled):
    killed = server(filled)
    kill(killed)
    assert rows(filled) == [(42,)]
    assert server(filled) != killed


def test_a_statement_that_was_cut_off_failed_and_left_nothing(aws, filled):
    statement = filled.submit("INSERT INTO t VALUES (43)", "SELECT pg_sleep(30)")
    while filled.client.describe_statement(Id=statement)["Status"] != "STARTED":
        time.sleep(0.02)
    restart(aws)
    described = filled.wait(statement)
    assert described["Error"] == "ERROR: the service was stopped while the statement ran"
    assert rows(filled) == [(42,)]


@pytest.mark.parametrize("both", [False, True], ids=["local AWS", "its warehouse too"])
def test_everything_survives_the_kill_of_local_aws(aws, filled, both):
    postgres = server(filled)
    kill(parent(postgres))
    assert lives(postgres)
    if both:
        kill(postgres)
    started = aws.run("up")
    assert started.returncode == 0, started.stderr
    assert not lives(postgres)
    assert rows(filled) == [(42,)]


def test_a_part_that_is_not_well_is_named_by_up(aws, filled):
    data = folder(filled) / "data"
    away = data.rename(data.with_name("elsewhere"))
    kill(server_in(away))
    try:
        env = {**aws.env, "LOCALAWS_START_SECONDS": "1"}
        failed = subprocess.run(
            [PYTHON, "-m", "localaws", "up"], env=env, text=True, capture_output=True, check=False
        )
    finally:
        away.rename(data)
    assert failed.returncode == 1
    assert "local AWS is not ready after 1 s ({'redshift_data': " in failed.stderr
    assert f"the warehouse's data folder {data} is gone" in failed.stderr
    assert rows(filled) == [(42,)]


def initdb(drafts: Path) -> int | None:
    """Return the pid of the initdb that fills a data folder under `drafts`, None if none does."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode().split("\0")
            if words[0].endswith("/initdb") and any(str(drafts) in word for word in words):
                return int(process.name)
    return None


@pytest.mark.parametrize("killed", ["local AWS", "initdb"])
def test_a_warehouse_whose_making_was_cut_off_is_made_anew(aws, killed):
    """Neither a half-made data folder nor what made it is left."""
    home = aws.home / "redshift"
    pid = json.loads(aws.run("status").stdout)["pid"]
    client = aws.session("dev").client(
        "redshift-serverless", config=Config(retries={"total_max_attempts": 1})
    )
    wanted = {"namespaceName": "half", "dbName": "warehouse", "adminUsername": "wadmin"}
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(client.create_namespace, **wanted, manageAdminPassword=True)
        maker = wait_until(lambda: initdb(home))
        os.kill(pid if killed == "local AWS" else maker, signal.SIGKILL)
        with pytest.raises((BotoCoreError, ClientError)):
            made.result()
    if killed == "local AWS":
        assert list(home.glob("*/*/half/new-*")), "it was killed too late"
        assert aws.run("up").returncode == 0
    assert not initdb(home)
    assert not list(home.glob("*/*/half/new-*"))
    again = client.create_namespace(**wanted, manageAdminPassword=True)["namespace"]
    client.create_workgroup(namespaceName="half", workgroupName="half")
    warehouse = Warehouse(aws, "half", arguments={"SecretArn": again["adminPasswordSecretArn"]})
    assert warehouse.run("SELECT 1") == [(1,)]


def test_a_stale_lock_with_a_living_pid_is_no_obstacle(aws, filled):
    """After a crash the pid in the lock may be that of another process of the server's user."""
    assert aws.run("down").returncode == 0
    data = folder(filled) / "data"
    lock = data / "postmaster.pid"
    user = data.stat().st_uid if os.getuid() == 0 else None
    with subprocess.Popen(["sleep", "60"], user=user) as other:
        lock.write_text(f"{other.pid}\n{data}\n0\n5432\n/tmp\n\n0 0\nready\n", encoding="utf-8")
        assert aws.run("up").returncode == 0
        assert rows(filled) == [(42,)]
        assert other.poll() is None
        other.kill()


def test_it_listens_on_a_closed_socket_only(filled):
    socket = folder(filled) / ".s.PGSQL.5432"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    with psycopg.connect(host=str(socket.parent), dbname="warehouse", user="wadmin") as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(42,)]
        assert connection.execute("SHOW listen_addresses").fetchall() == [("",)]


def test_it_is_small(aws, filled):
    rows(filled)
    assert json.loads(aws.run("status").stdout)["megabytes"] < 400
    pid = server(filled)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    used = sum(proportional_kilobytes(member) for member in [pid, *children])
    assert used < 60 * 1024


def proportional_kilobytes(pid: int | str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@pytest.mark.parametrize("depth", [1, 12], ids=["closed", "closed and long"])
def test_a_home_that_no_other_user_may_enter(tmp_path, depth):
    """A home under a 0700 folder such as /root, with a path too long for a socket's."""
    home = tmp_path.joinpath(*["a-rather-long-name"] * depth)
    home.mkdir(parents=True)
    tmp_path.chmod(0o700)
    aws = LocalAws(home, free_port())
    try:
        started = aws.run("up")
        assert started.returncode == 0, started.stderr
        warehouse = make_warehouse(aws, "dev")
        assert warehouse.run("SELECT 1") == [(1,)]
        restart(aws)
        assert warehouse.run("SELECT 1") == [(1,)]
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    finally:
        assert aws.run("reset").returncode == 0
    assert not list(Path("/tmp").glob("localaws-????????????????"))
