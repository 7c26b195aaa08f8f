"""A canary with real files: interrupted or failing it returns, killed it is deployed again."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.one_row import a_file
from tests.e2e.project import DATA_BUCKET, STATE_MACHINE, lose_machine
from tests.e2e.reference import Expected, expect
from tests.e2e.warehouse import rows_where
from tests.localaws.workshop import wait_until

HALF = (
    "SET=release.canary.weights=[50] release.canary.interval_seconds={} "
    "release.canary.metrics_seconds=0"
)
STEP_SECONDS = 40  # in which a few files must come on a busy machine, and the release get one
DEPLOY_SECONDS = 300


class Traffic:
    """Small files that are put in the inbox one by one, and what became of them."""

    def __init__(self, project, folder, first_day):
        self._project, self._folder, self._first_day = project, folder, first_day
        self._before = {execution["name"] for execution in project.executions()}
        self.files = []

    def put_until(self, enough: Callable[[Counter], object]) -> None:
        """Put files until the number of executions of each version is enough."""
        while not enough(self.by_version()):
            assert len(self.files) < 40, f"the weights do not route: {self.by_version()}"
            self.files.append(a_file(self._folder, self._first_day + len(self.files)))
            key = f"data/in/{self.files[-1].name}"
            body = self.files[-1].read_bytes()
            self._project.client("s3").put_object(
                Bucket=DATA_BUCKET, Key=key, Body=body, ChecksumAlgorithm="SHA256"
            )
            wait_until(lambda: len(self.executions()) == len(self.files), seconds=30)

    def executions(self) -> list[dict]:
        """Return the executions that the files have started."""
        return [
            execution
            for execution in self._project.executions()
            if execution["name"] not in self._before
            and execution.get("stateMachineAliasArn") == f"{STATE_MACHINE}:live"
        ]

    def by_version(self) -> Counter:
        """Return how many executions each version has run."""
        return Counter(execution["stateMachineVersionArn"] for execution in self.executions())

    def ended(self) -> list[dict]:
        """Wait for the end of the executions; return them."""
        wait_until(lambda: all(e["status"] != "RUNNING" for e in self.executions()), seconds=300)
        return self.executions()

    def is_loaded(self) -> bool:
        """Return whether the warehouse has exactly the rows of all files, by count and hash."""
        expected = Expected()
        for file in self.files:
            expected.rows |= expect(file).rows
        last = self._first_day + len(self.files) - 1
        where = f"product_id between {self._first_day} and {last}"
        return rows_where(self._project, where) == expected.fingerprint()


@pytest.fixture(name="deploying")
def fixture_deploying() -> Iterator[Callable]:
    """A function that starts a canary deploy and waits until it shares the traffic."""
    started = []

    def deploying(project, seconds) -> subprocess.Popen:
        options = ("ENV=dev", "STRATEGY=canary", HALF.format(seconds))
        started.append(project.start("deploy", *options))
        deadline = time.monotonic() + DEPLOY_SECONDS
        for versions in (1, 2):  # what an earlier canary has left is ended first
            while len(project.routes()) != versions:
                assert started[-1].poll() is None, started[-1].communicate()
                assert time.monotonic() < deadline, "the canary does not begin"
                time.sleep(0.2)
        return started[-1]

    yield deploying
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_an_interrupted_canary_returns(project, deploying):
    # GIVEN a canary
    blue = project.live_version()
    process = deploying(project, STEP_SECONDS)

    # WHEN somebody presses Ctrl-C, which reaches the whole group
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=DEPLOY_SECONDS)

    # THEN all goes to what was live, and the record says so
    assert process.returncode != 0
    assert "INTERRUPTED in phase shift_traffic" in said
    assert ", as before" in said
    assert project.live_version() == blue
    record = project.last_record()
    assert record["result"] == "interrupted in shift_traffic"
    assert "interrupted by SIGINT\nreturned: " in record["reason"]


def test_a_canary_returns_when_its_deploy_is_killed(project, deploying):
    # GIVEN a canary, and a deploy that is killed with all of its group
    blue = project.live_version()
    process = deploying(project, STEP_SECONDS)
    os.killpg(process.pid, signal.SIGKILL)

    # THEN all goes to what was live, though nobody waits for it any more
    _, said = process.communicate(timeout=DEPLOY_SECONDS)  # the canary was the last to write there
    assert "the deploy that started it is gone\nreturned: " in said
    assert project.live_version() == blue
    assert "watched by nobody" not in project.make("status", "ENV=dev").stdout


def test_a_killed_canary_is_seen_and_deploying_again_finishes(project, deploying, tmp_path):
    # GIVEN a canary whose machine is lost while it shares the traffic
    blue = project.live_version()
    process = deploying(project, STEP_SECONDS)
    lose_machine(process)
    (first, _), (green, _) = sorted(project.routes().items())
    assert project.routes() == {blue: 50, green: 50} and first == blue
    shown = project.make("status", "ENV=dev")
    assert "watched by nobody; end it: make rollback ENV=dev" in shown.stdout, shown.stderr

    # WHEN it is deployed again, and files keep coming
    process = deploying(project, STEP_SECONDS)
    traffic = Traffic(project, tmp_path, 20190301)
    traffic.put_until(lambda ran: ran[green] and ran[blue])
    out, said = process.communicate(timeout=DEPLOY_SECONDS)

    # THEN it saw what was left, counted what the release ran, and the release is live
    assert process.returncode == 0, said
    assert "an interrupted canary: 50 % of executions go to" in said
    counted = [int(count) for count in re.findall(r"it ran (\d+) execution", said)]
    assert counted and 1 <= counted[-1] <= traffic.by_version()[green], said
    assert out.strip() == green == project.live_version()
    record = project.last_record()
    assert (record["strategy"], record["result"]) == ("canary", "succeeded")

    # AND each file was loaded once, by one version or the other
    runs = traffic.ended()
    assert {run["status"] for run in runs} == {"SUCCEEDED"}
    assert len({run["name"] for run in runs}) == len(runs) == len(traffic.files)
    assert traffic.is_loaded()


FAULT = "no column Shelf Life"


def break_the_job(copy) -> None:
    """Make the job throw on every file but the smoke test's."""
    job = copy.folder / "glue-jobs/src/etl_main.py"
    text, line = job.read_text(encoding="utf-8"), "    storage = Storage(spark)\n"
    assert text.count(line) == 1, "the job has changed: break it in another way"
    throws = (
        '    if not arguments["run_id"].startswith("smoke-"):\n'
        f'        raise ValueError("{FAULT}")\n'
    )
    job.write_text(text.replace(line, line + throws), encoding="utf-8")


def check_failed_file(project, run, file) -> None:
    """Check that data/failed has the file of a failed run, with the reason."""
    place = f"data/failed/{run['name']}/{file.name}"
    bodies = [
        project.client("s3").get_object(Bucket=DATA_BUCKET, Key=key)["Body"].read()
        for key in (place, f"{place}.reason.json")
    ]
    assert bodies[0] == file.read_bytes()
    assert FAULT in bodies[1].decode()


def test_a_release_that_fails_on_real_files_returns_by_itself(
    project, broken_copy, deploying, tmp_path
):
    # GIVEN a release whose job passes the smoke test and throws on real files
    break_the_job(broken_copy)
    blue = project.live_version()

    # WHEN it gets half of the files
    process = deploying(broken_copy, 600)
    traffic = Traffic(project, tmp_path, 20190401)
    traffic.put_until(lambda ran: ran[blue] and len(ran) > 1)
    _, said = process.communicate(timeout=DEPLOY_SECONDS)

    # THEN the deploy has ended by itself, says why, and all goes to what was live
    assert process.returncode == 2, said
    assert "RETURNED in phase shift_traffic" in said
    assert "live in dev: " in said and ", as before" in said
    failed = [run for run in traffic.ended() if run["status"] != "SUCCEEDED"]
    assert {run["stateMachineVersionArn"] for run in failed} == set(traffic.by_version()) - {blue}
    assert len(failed) == traffic.by_version().total() - traffic.by_version()[blue]
    assert any(f"execution {run['name']} failed: " in said for run in failed) and FAULT in said
    assert project.live_version() == blue
    record = project.last_record()
    assert record["result"] == "returned in shift_traffic" and FAULT in record["reason"]

    # AND what blue got is loaded; what the release got lies in data/failed, and is loaded when it
    # is fed again
    files = {file.stem: file for file in traffic.files}
    for run in failed:
        file = files[run["name"].rpartition("-")[0]]
        check_failed_file(project, run, file)
        fed = project.feed(file)
        assert fed.returncode == 0, fed.stderr
    assert traffic.is_loaded()
