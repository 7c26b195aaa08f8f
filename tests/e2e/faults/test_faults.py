"""What breaks while a file is on its way: the file fails whole or goes through, and what is tried
again ends with the right rows, and nothing of it waits or runs any more."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from ops.aws import list_keys
from localaws.settings import S3_FAULTS
from tests.e2e.one_row import HEADER, a_file
from tests.e2e.project import DATA_BUCKET, PREFIX, STATE_MACHINE
from tests.e2e.reference import Expected, expect
from tests.e2e.warehouse import rows_where
from tests.localaws.redshift_warehouse import Warehouse
from tests.localaws.workshop import wait_until

CONCURRENT_RUNS = 4  # GlueMaxConcurrentRuns in config/common/settings.yaml
SUPERUSER = "rdsdb"  # of localaws/postgres.py, whose modules these tests have not
S3_ANSWERS = [(20210601, "503 SlowDown"), (20210602, "500 InternalError")]


def many_rows(folder: Path, day: int, rows: int) -> Path:
    """Write the products file of a day, large enough to be caught in the act; its rows have the day
    as product_id."""
    file = folder / f"Products_{day}.csv"
    times = (datetime(2019, 1, 1) + timedelta(seconds=second) for second in range(rows))
    lines = (f"{day},Milk,GROCERY,National,MILK,1 L,1.25,2,7,{time}" for time in times)
    file.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    return file


def rows_of(project, file: Path) -> str:
    """Count and hash of the table's rows of a file of this module."""
    return rows_where(project, f"product_id = {file.name[9:17]}")


def assert_whole(project, file: Path, loads: int = 1) -> None:
    """The file's rows are in the table, each once; nothing waits, runs or could be loaded."""
    assert rows_of(project, file) == expect(file).fingerprint()
    history = f"select count(*) from load_history where source_files like '%{file.name}%'"
    assert project.query(history) == [str(loads)]
    assert not keys(project, "data/in/")
    # What a killed run has left stays under its own prefix, where nobody looks for rows.
    for run in {key.split("/")[2] for key in keys(project, "data/runs/")}:
        names = [key.split("/")[3] for key in keys(project, f"data/runs/{run}/")]
        assert "report.json" in names or "manifest.json" not in names
    assert not [run for run in project.executions() if run["status"] == "RUNNING"]


def assert_failed_whole(project, file: Path, fed, *words: str) -> None:
    """The file is in data/failed with its reason, and no row of it in the table."""
    assert fed.returncode != 0, fed.stdout + fed.stderr
    for word in words:
        assert word in fed.stderr
    assert rows_of(project, file) == Expected().fingerprint()
    failed = keys(project, "data/failed/")
    for name in (file.name, f"{file.name}.reason.json"):
        assert [key for key in failed if key.endswith(f"/{name}")]


def keys(project, prefix: str) -> list[str]:
    """Return the keys under a prefix of the data bucket."""
    return list(list_keys(project.client("s3"), DATA_BUCKET, prefix))


class Feed:
    """A file that is being fed in the background."""

    def __init__(self, project, file: Path):
        self._project = project
        self._before = {run["name"] for run in project.executions()}
        self._process = project.start("feed", "ENV=dev", f"FILE={file}")

    def execution(self) -> dict:
        """Wait for the file's execution and return it."""
        (found,) = wait_until(
            lambda: [run for run in self._project.executions() if run["name"] not in self._before],
            seconds=60,
        )
        return found

    def end(self) -> subprocess.CompletedProcess:
        """Wait for its end and return what it said."""
        out, complaint = self._process.communicate(timeout=300)
        return subprocess.CompletedProcess(
            self._process.args, self._process.returncode, out, complaint
        )


# ---- the job -------------------------------------------------------------------------------------


@pytest.mark.parametrize("day, written", [(20210101, "_temporary/"), (20210102, "outcome=loaded/")])
def test_a_job_killed_while_it_writes_leaves_no_row_of_the_file(project, tmp_path, day, written):
    # GIVEN a run whose job has begun to write, or whose first rows are written
    file = many_rows(tmp_path, day, 20_000)
    feed = Feed(project, file)
    output = f"data/runs/{feed.execution()['name']}/rows/{written}"
    s3 = project.client("s3")
    wait_until(lambda: s3.list_objects_v2(Bucket=DATA_BUCKET, Prefix=output)["KeyCount"], 60)
    # WHEN its process is killed
    jobs = processes("org.apache.spark.deploy.SparkSubmit", str(project.aws.home))
    assert len(jobs) == 1
    os.kill(jobs[0], signal.SIGKILL)
    # THEN the file fails whole
    assert_failed_whole(project, file, feed.end(), "States.TaskFailed")
    # AND WHEN it is fed again, THEN it is loaded whole
    fed = project.feed(file)
    assert fed.returncode == 0, fed.stderr
    assert_whole(project, file)


def processes(*words: str) -> list[int]:
    """Return the processes whose command line has all of these words."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = command.read_bytes().decode(errors="replace")
            if all(word in text for word in words):
                found.append(int(command.parent.name))
    return found


def test_more_files_than_glue_runs_at_once_wait_their_turn(project, tmp_path):
    # WHEN more files arrive at once than the job may have runs
    files = [a_file(tmp_path, 20210201 + number) for number in range(CONCURRENT_RUNS + 2)]
    with ThreadPoolExecutor(len(files)) as pool:
        fed = list(pool.map(project.feed, files))
    # THEN some are turned away by Glue, and tried again until their turn has come
    assert [done.returncode for done in fed] == [0] * len(files), [done.stderr for done in fed]
    client = project.client("stepfunctions")
    histories = [
        json.dumps(
            client.get_execution_history(executionArn=run["executionArn"], maxResults=1000)[
                "events"
            ],
            default=str,
        )
        for run in project.executions()[: len(files)]
    ]
    assert any("ConcurrentRunsExceededException" in history for history in histories)
    for file in files:
        assert_whole(project, file)


def test_two_executions_of_the_same_file_at_once_leave_each_row_once(project, tmp_path):
    # GIVEN a file on its way
    file = many_rows(tmp_path, 20210301, 1_000)
    feed = Feed(project, file)
    first = feed.execution()
    # WHEN the same file is given to a second execution
    client = project.client("stepfunctions")
    given = json.loads(client.describe_execution(executionArn=first["executionArn"])["input"])
    second = client.start_execution(
        stateMachineArn=f"{STATE_MACHINE}:live",
        name="the-same-file-again",
        input=json.dumps(given | {"run_id": "the-same-file-again"}),
    )["executionArn"]
    # THEN both load it, one after the other, and the table has each row once
    fed = feed.end()
    assert fed.returncode == 0, fed.stderr
    wait_until(lambda: client.describe_execution(executionArn=second)["status"] != "RUNNING", 60)
    runs = [client.describe_execution(executionArn=run) for run in (first["executionArn"], second)]
    assert [run["status"] for run in runs] == ["SUCCEEDED", "SUCCEEDED"]
    assert max(run["startDate"] for run in runs) < min(run["stopDate"] for run in runs)
    assert_whole(project, file, loads=2)
    # AND whoever came last has archived the same bytes
    archived = project.client("s3").list_object_versions(
        Bucket=DATA_BUCKET, Prefix="data/archive/products/2021-03-01/"
    )["Versions"]
    assert len(archived) == 2 and len({version["ETag"] for version in archived}) == 1


# ---- the load ------------------------------------------------------------------------------------


@pytest.fixture(name="warehouse")
def fixture_warehouse(project) -> Warehouse:
    """The environment's warehouse, as its administrator."""
    namespace = project.client("redshift-serverless").get_namespace(namespaceName=PREFIX)
    secret = namespace["namespace"]["adminPasswordSecretArn"]
    return Warehouse(project.aws, PREFIX, arguments={"SecretArn": secret})


@contextlib.contextmanager
def held_before_its_commit(warehouse: Warehouse) -> Iterator[None]:
    """Hold every load between its MERGE and its COMMIT: at the table of the rules' results, which
    it comes to last."""
    holder = warehouse.submit("LOCK TABLE public.quality_results", "SELECT pg_sleep(120)")
    try:
        yield
    finally:
        if warehouse.client.describe_statement(Id=holder)["Status"] == "STARTED":
            warehouse.client.cancel_statement(Id=holder)


@contextlib.contextmanager
def held_before_its_merge(warehouse: Warehouse) -> Iterator[None]:
    """Hold every load between its COPY and its MERGE: where it makes a table of what came in.

    That table is its own, so that no lock could hold it: PostgreSQL itself is told to wait.
    """
    (lock,) = warehouse.aws.home.rglob(f"*{PREFIX}*/data/postmaster.pid")
    socket_folder = lock.read_text(encoding="utf-8").splitlines()[4]
    with psycopg.connect(
        host=socket_folder, dbname=warehouse.database, user=SUPERUSER, autocommit=True
    ) as postgres:
        postgres.execute(
            "CREATE FUNCTION public.hold() RETURNS event_trigger LANGUAGE plpgsql AS "
            "'BEGIN IF current_query() LIKE ''%incoming%'' THEN PERFORM pg_sleep(120); END IF; END'"
        )
        postgres.execute(
            "CREATE EVENT TRIGGER hold ON ddl_command_start WHEN TAG IN ('CREATE TABLE AS') "
            "EXECUTE FUNCTION public.hold()"
        )
        try:
            yield
        finally:
            postgres.execute("DROP FUNCTION public.hold() CASCADE")


def held_session(warehouse: Warehouse) -> int:
    """Wait until a load is held; return the process of its session."""
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE "
        "wait_event_type = 'Lock' AND query LIKE '%quality_results%' "
        "OR wait_event = 'PgSleep' AND query LIKE '%incoming%'"
    )
    ((pid,),) = wait_until(lambda: warehouse.run(waiting), seconds=60)
    return pid


@pytest.mark.parametrize(
    "day, held", [(20210401, held_before_its_merge), (20210402, held_before_its_commit)]
)
def test_a_load_killed_on_its_way_leaves_no_row(project, warehouse, tmp_path, day, held):
    file = many_rows(tmp_path, day, 1_000)
    with held(warehouse):
        # GIVEN a load that has copied its rows, or merged them too, and has not committed
        feed = Feed(project, file)
        session = held_session(warehouse)
        # WHEN its session is ended
        warehouse.run(f"SELECT pg_terminate_backend({session})")
        fed = feed.end()
    # THEN the file fails whole
    assert_failed_whole(project, file, fed, "WarehouseError", "rolled back")
    # AND WHEN it is fed again, THEN it is loaded whole
    fed = project.feed(file)
    assert fed.returncode == 0, fed.stderr
    assert_whole(project, file)


def test_a_database_that_dies_during_a_load_comes_back_without_its_rows(
    project, warehouse, tmp_path
):
    before = project.query("select count(*) from products")
    file = many_rows(tmp_path, 20210501, 1_000)
    with held_before_its_commit(warehouse):
        # GIVEN a load that has merged its rows and has not committed
        feed = Feed(project, file)
        held_session(warehouse)
        # WHEN the database's server is killed
        (lock,) = project.aws.home.rglob(f"*{PREFIX}*/data/postmaster.pid")
        os.kill(int(lock.read_text(encoding="utf-8").split("\n", 1)[0]), signal.SIGKILL)
        fed = feed.end()
    # THEN the file fails whole, and all that was committed is there
    assert_failed_whole(project, file, fed, "WarehouseError", "rolled back")
    assert project.query("select count(*) from products") == before
    # AND WHEN it is fed again, THEN it is loaded whole
    fed = project.feed(file)
    assert fed.returncode == 0, fed.stderr
    assert_whole(project, file)


# ---- S3 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("day, answer", S3_ANSWERS)
def test_a_file_goes_through_while_s3_fails_now_and_then(project, tmp_path, day, answer):
    # GIVEN an S3 that turns every seventh request away
    faults = project.aws.home / S3_FAULTS
    log = project.aws.home / "server.log"
    before = log.read_text(encoding="utf-8").count(f"S3 answers {answer}")
    (faults.parent / "new-faults").write_text(f"every 7: {answer}\n", encoding="utf-8")
    (faults.parent / "new-faults").rename(faults)  # nobody reads half of it
    try:
        # WHEN a file is fed
        file = many_rows(tmp_path, day, 1_000)
        fed = project.feed(file)
    finally:
        faults.unlink()
    # THEN everybody who was turned away tries again, and it is loaded whole
    assert fed.returncode == 0, fed.stderr
    assert log.read_text(encoding="utf-8").count(f"S3 answers {answer}") >= before + 5
    assert_whole(project, file)
