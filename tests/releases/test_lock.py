"""One deploy at a time: who gets the lock, who is turned away, and whose lock may be taken."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.buckets import remove_bucket

BUCKET = "retail-pipeline-qa-artifacts-222222222222"
KEY = "locks/deploy.json"
ME = str(os.getpid())


@pytest.fixture(name="s3", scope="module")
def fixture_s3(local_aws):
    client = local_aws.session("qa").client("s3")
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield client
    remove_bucket(client, BUCKET)


@pytest.fixture(name="lock")
def fixture_lock(in_qa, s3):
    """A function that runs the lock's command line; there is no lock before and after."""
    s3.delete_object(Bucket=BUCKET, Key=KEY)

    def lock(action, token, *options):
        return in_qa("ops.release.lock", action, "--token", token, *options)

    yield lock
    s3.delete_object(Bucket=BUCKET, Key=KEY)


def take(lock, token, *options, pid=ME):
    command = ("--who", "arn:ann", "--command", f"deploy {token}", "--pid", pid)
    return lock("take", token, *command, *options)


def held(s3):
    return json.load(s3.get_object(Bucket=BUCKET, Key=KEY)["Body"])


def is_held(s3):
    return "Contents" in s3.list_objects_v2(Bucket=BUCKET, Prefix=KEY)


def test_of_those_who_race_exactly_one_gets_it_and_the_others_are_told_who(lock, s3):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda token: take(lock, token), ("a", "b", "c", "d")))

    assert sorted(each.returncode for each in done) == [0, 1, 1, 1]
    winner = held(s3)
    assert winner["pid"] == os.getpid() and winner["who"] == "arn:ann"
    for loser in (each for each in done if each.returncode):
        assert f"qa is locked: deploy {winner['token']} by arn:ann (pid {ME} on" in loser.stderr
        assert f"since {winner['since']}" in loser.stderr
        assert "BREAK_LOCK=1" in loser.stderr


def test_a_lock_whose_process_is_gone_is_taken_over(lock, s3):
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert take(lock, "crashed", pid=str(gone.pid)).returncode == 0

    done = take(lock, "next")

    assert done.returncode == 0, done.stderr
    assert f"took over the lock of deploy crashed by arn:ann (pid {gone.pid}" in done.stderr
    assert f"process {gone.pid} is gone" in done.stderr
    assert held(s3)["token"] == "next"


def test_a_lock_whose_process_has_ended_unheard_is_taken_over(lock, s3):
    # A process that nobody waits for keeps its number: as under a container's idle first process.
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert take(lock, "crashed", pid=str(zombie.pid)).returncode == 0

        done = take(lock, "next")

    assert done.returncode == 0, done.stderr
    assert f"process {zombie.pid} is gone" in done.stderr
    assert held(s3)["token"] == "next"


def write(s3, **changes):
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=json.dumps(held(s3) | changes).encode())


def test_a_lock_of_another_host_is_respected_until_its_lease_has_run_out(lock, s3):
    take(lock, "elsewhere")
    write(s3, host="another-host", pid=999_999_999)
    assert take(lock, "next").returncode == 1, "no process of that number here says nothing"

    write(s3, expires="2017-01-15T06:30:00+00:00")
    done = take(lock, "next")

    assert done.returncode == 0, done.stderr
    assert "its lease ran out at 2017-01-15T06:30:00+00:00" in done.stderr


def test_a_living_lock_is_broken_only_when_asked_for(lock, s3):
    take(lock, "first")
    assert take(lock, "second").returncode == 1

    done = take(lock, "second", "--break-lock")

    assert done.returncode == 0, done.stderr
    assert "took over the lock of deploy first" in done.stderr
    assert held(s3)["token"] == "second"


def test_whose_lock_was_broken_can_neither_renew_nor_release_it(lock, s3):
    take(lock, "first")
    take(lock, "second", "--break-lock")

    renewed, released = lock("renew", "first"), lock("release", "first")

    assert renewed.returncode == 1
    assert "no longer holds qa: it is locked by deploy second" in renewed.stderr
    assert released.returncode == 0
    assert held(s3)["token"] == "second"


def test_renewing_begins_the_lease_anew_and_releasing_ends_it(lock, s3):
    take(lock, "mine")
    write(s3, expires="2017-01-15T06:30:00+00:00")

    assert lock("renew", "mine").returncode == 0
    assert held(s3)["expires"] > held(s3)["since"]

    assert lock("release", "mine").returncode == 0
    assert not is_held(s3)
    assert lock("renew", "mine").returncode == 1


def test_taking_it_again_with_the_same_token_is_the_same_lock(lock, s3):
    take(lock, "mine")
    before = held(s3)
    assert take(lock, "mine").returncode == 0
    assert held(s3) == before
