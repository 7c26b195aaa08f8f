"""Starting, stopping and losing local AWS: clear errors, clean recoveries, nothing forgotten."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import PYTHON, REPOSITORY, LocalAws, free_port, new_home
from tests.localaws.workshop import TRUST, Workshop, wait_until

# Ceilings, so that local AWS stays something to start without a thought: twice what is measured.
MOST_START_SECONDS = 3
MOST_MEGABYTES = 300

SLEEPS = """
import os, time
def handler(event, context):
    time.sleep(event.get("seconds", 0))
    return os.getpid()
"""


@pytest.fixture(name="aws")
def fixture_aws():
    """A local AWS that does not run yet; whatever runs in its home at the end is stopped."""
    with new_home() as home:
        aws = LocalAws(home, free_port())
        yield aws
        stopped = aws.run("down")
        assert stopped.returncode == 0, stopped.stderr


def up(aws):
    """Start it; return its status."""
    started = aws.run("up")
    assert started.returncode == 0, started.stderr
    return json.loads(aws.run("status").stdout)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def processor_seconds(pid):
    """Return how long the process has computed; a busy machine does not stretch that."""
    user, system = (
        Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    )[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def saved(aws, service):
    path = aws.home / f"state/{service}.json"
    return path.read_text() if path.exists() else ""


def with_settings(aws, **settings):
    """Return a copy of it whose environment has these variables."""
    changed = type("Changed", (LocalAws,), {"env": property(lambda self: {**aws.env, **settings})})
    return changed(aws.home, aws.port)


def test_up_is_quick_small_on_the_loopback_only_and_once(aws):
    status = up(aws)
    assert status["ready"]
    assert set(status["parts"].values()) == {"ok"}
    assert status["megabytes"] < MOST_MEGABYTES
    assert processor_seconds(status["pid"]) < MOST_START_SECONDS

    again = aws.run("up")
    assert again.returncode == 0
    assert f"already runs on {aws.url} (pid {status['pid']})" in again.stderr
    with pytest.raises(ConnectionRefusedError):  # it would be accepted on 0.0.0.0
        socket.create_connection(("127.0.0.2", aws.port), timeout=5)

    assert "its state is kept" in aws.run("down").stderr


def test_down_and_status_when_nothing_runs(aws):
    down = aws.run("down")
    assert (down.returncode, down.stderr.strip()) == (0, "Local AWS is not running")
    status = aws.run("status")
    assert (status.returncode, status.stdout) == (3, "")
    assert status.stderr.strip() == "Local AWS is not running"


def test_two_ups_at_once_start_one_server(aws):
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(aws.run, ["up", "up"]))
    assert [result.returncode for result in results] == [0, 0]
    said = sorted(result.stderr.split(" on ")[0] for result in results)
    assert said == ["Local AWS already runs", "Local AWS is ready"]


def test_two_homes_are_two(aws):
    up(aws)
    with new_home() as home:
        other = LocalAws(home, free_port())
        up(other)
        aws.session("dev").client("sns").create_topic(Name="only-here")
        assert other.session("dev").client("sns").list_topics()["Topics"] == []
        keys = [side.session("dev").get_credentials().access_key for side in (aws, other)]
        assert keys[0] != keys[1]
        assert other.run("down").returncode == 0
    assert aws.run("status").returncode == 0


def test_a_taken_port_is_named_with_its_holder(aws):
    holder = "import socket, time; s = socket.create_server(('127.0.0.1', PORT)); time.sleep(60)"
    code = holder.replace("PORT", str(aws.port))
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            wait_until(lambda: aws.run("up").returncode == 1)
            failed = aws.run("up")
        finally:
            process.kill()
    assert f"port {aws.port} cannot be used" in failed.stderr
    assert f"process {process.pid}" in failed.stderr
    assert "LOCALAWS_PORT" in failed.stderr


def test_of_two_homes_that_start_on_one_port_the_second_is_told_so(aws):
    with new_home() as home, ThreadPoolExecutor(2) as pool:
        other = LocalAws(home, aws.port)
        results = list(pool.map(lambda side: side.run("up"), (aws, other)))
        assert other.run("down").returncode == 0
    assert sorted(result.returncode for result in results) == [0, 1]
    failed = next(result for result in results if result.returncode)
    assert re.search(rf"(cannot listen on 127.0.0.1:|port ){aws.port}\b", failed.stderr)
    assert "Traceback" not in failed.stderr


def test_another_port_than_the_running_ones_is_refused(aws):
    up(aws)
    moved = dataclasses.replace(aws, port=free_port())
    failed = moved.run("up")
    assert failed.returncode == 1
    assert f"runs on port {aws.port}, not on LOCALAWS_PORT={moved.port}" in failed.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"LOCALAWS_PORT": "http"}, "LOCALAWS_PORT='http' is not a port"),
        ({"LOCALAWS_PORT": "99999"}, "is not a port"),
        ({"LOCALAWS_START_SECONDS": "soon"}, "LOCALAWS_START_SECONDS='soon' is no time"),
        ({"LOCALAWS_PROFILES": "dev=123"}, "'dev=123': write profile=12-digit-account"),
        ({"LOCALAWS_PROFILES": "a=111111111111 b=111111111111"}, "account 111111111111 twice"),
        ({"LOCALAWS_PROFILES": ""}, "LOCALAWS_PROFILES is empty"),
        (
            {"LOCALAWS_LAMBDA_PYTHON": "/none"},
            "ended while starting:\nLOCALAWS_LAMBDA_PYTHON=/none",
        ),
        ({"LOCALAWS_LAMBDA_PYTHON": str(PYTHON)}, "cannot run Lambda functions"),
        ({"LOCALAWS_HOME": "/proc/localaws"}, "cannot make LOCALAWS_HOME=/proc/localaws"),
    ],
)
def test_a_setting_that_cannot_work_is_named(aws, settings, message):
    failed = with_settings(aws, **settings).run("up")
    assert failed.returncode == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_set_up_names_such_a_setting_too(aws):
    env = aws.env | {"LOCALAWS_PORT": "http", "PYTHONPATH": str(REPOSITORY)}
    command = [str(PYTHON), "-m", "localaws.glue_archive"]
    failed = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("local AWS: LOCALAWS_PORT='http' is not a port")


def test_a_home_of_another_user_is_refused(aws):
    if os.getuid() == 0:
        os.chown(aws.home, 65534, -1)
        home = aws.home
    else:
        home = "/usr"
    failed = with_settings(aws, LOCALAWS_HOME=str(home)).run("up")
    os.chown(aws.home, os.getuid(), -1)
    assert failed.returncode == 1
    assert f"{home} belongs to the user" in failed.stderr
    assert "LOCALAWS_HOME" in failed.stderr


def make_one_of_each(session):
    """Make an object with two versions, a function, a message and an execution; return how to
    look them up."""
    workshop = Workshop(session)
    bucket = workshop.bucket()
    s3 = session.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        s3.put_object(Bucket=bucket, Key="a/key ü", Body=body, Metadata={"who": "me"})
    function = workshop.function(SLEEPS)
    workshop.lambda_.publish_version(FunctionName=function)
    workshop.lambda_.create_alias(FunctionName=function, Name="live", FunctionVersion="1")
    workshop.invoke(function)
    queue, _ = workshop.queue()
    session.client("sqs").send_message(QueueUrl=queue, MessageBody='"kept"')
    states = session.client("stepfunctions")
    statement = {**TRUST["Statement"][0], "Principal": {"Service": "states.amazonaws.com"}}
    definition = {"StartAt": "Only", "States": {"Only": {"Type": "Pass", "End": True}}}
    machine = states.create_state_machine(
        name="machine",
        definition=json.dumps(definition),
        roleArn=workshop.role(trust={**TRUST, "Statement": [statement]}),
    )["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine, input="[1]")["executionArn"]
    wait_until(lambda: states.describe_execution(executionArn=execution)["status"] == "SUCCEEDED")
    return {"bucket": bucket, "function": function, "queue": queue, "execution": execution}


def look_at(session, made):
    """Return what can be seen of what make_one_of_each made."""
    workshop = Workshop(session)
    s3, states = session.client("s3"), session.client("stepfunctions")
    content = s3.get_object(Bucket=made["bucket"], Key="a/key ü")
    versions = s3.list_object_versions(Bucket=made["bucket"])["Versions"]
    live = workshop.lambda_.get_alias(FunctionName=made["function"], Name="live")
    history = states.get_execution_history(executionArn=made["execution"])["events"]
    return {
        "body": content["Body"].read(),
        "object": (content["ETag"], content["VersionId"], content["Metadata"]),
        "versions": [(version["Key"], version["VersionId"]) for version in versions],
        "alias": (live["AliasArn"], live["FunctionVersion"], live["RevisionId"]),
        "log": workshop.messages(f"/aws/lambda/{made['function']}"),
        "execution": states.describe_execution(executionArn=made["execution"])["output"],
        "history": [event["type"] for event in history],
        "identity": session.client("sts").get_caller_identity()["Arn"],
        "key": session.get_credentials().secret_key,
    }


def test_what_a_user_made_survives_down_and_up(aws):
    up(aws)
    made = make_one_of_each(aws.session("qa"))
    before = look_at(aws.session("qa"), made)
    assert before["body"] == b"second"
    topic = aws.session("qa").client("sns").create_topic(Name="made-last")["TopicArn"]
    assert aws.run("down").returncode == 0
    up(aws)
    topics = aws.session("qa").client("sns").list_topics()["Topics"]
    assert topics == [{"TopicArn": topic}], "what was made just before the stop is kept"
    assert look_at(aws.session("qa"), made) == before
    workshop = Workshop(aws.session("qa"))
    assert workshop.invoke(made["function"], Qualifier="live")[1] is None
    assert workshop.receive(made["queue"]) == "kept"


def test_down_ends_what_local_aws_started(aws):
    up(aws)
    workshop = Workshop(aws.session("dev"))
    name = workshop.function(SLEEPS, Timeout=60)
    worker, _ = workshop.invoke(name)
    assert alive(worker)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(workshop.invoke, name, {"seconds": 60})
        time.sleep(0.5)
        begun = time.monotonic()
        assert aws.run("down").returncode == 0
    assert time.monotonic() - begun < 10
    assert not alive(worker)


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_killed_server_leaves_its_state_and_no_process(aws, command):
    pid = up(aws)["pid"]
    workshop = Workshop(aws.session("dev"))
    bucket = workshop.bucket()
    aws.session("dev").client("s3").put_object(Bucket=bucket, Key="key", Body=b"kept")
    name = workshop.function(SLEEPS, Timeout=60)
    worker, _ = workshop.invoke(name)
    if command == "up":  # the state is saved every few seconds
        wait_until(lambda: name in saved(aws, "lambda") and bucket in saved(aws, "s3"))
    workshop.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"seconds": 60}')
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    assert alive(worker), "a busy worker does not notice that its server is gone"

    result = aws.run(command)
    assert result.returncode == 0, result.stderr
    assert not alive(worker)
    if command == "up":
        client = aws.session("dev").client("s3")
        assert client.get_object(Bucket=bucket, Key="key")["Body"].read() == b"kept"
        assert Workshop(aws.session("dev")).invoke(name)[1] is None


def starting(aws) -> tuple[subprocess.Popen, int]:
    """Start it; return the command and the server's pid as soon as the server has told it."""
    command = subprocess.Popen(  # pylint: disable=consider-using-with
        [PYTHON, "-m", "localaws", "up"], env=aws.env, text=True, stderr=subprocess.PIPE
    )
    record = aws.home / "server.json"
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return command, json.loads(record.read_text())["pid"]
        assert time.monotonic() < deadline and command.poll() is None, "waited in vain"
        time.sleep(0.001)


def test_a_server_killed_while_it_starts_is_no_obstacle(aws):
    up(aws)
    s3, bucket = aws.session("dev").client("s3"), Workshop(aws.session("dev")).bucket()
    s3.put_object(Bucket=bucket, Key="key", Body=b"kept")
    assert aws.run("down").returncode == 0

    command, pid = starting(aws)
    os.kill(pid, signal.SIGKILL)
    _, said = command.communicate(timeout=30)

    assert command.returncode == 1, "it was ready before it was killed"
    assert "local AWS ended while starting" in said
    status = up(aws)
    assert status["ready"] and status["pid"] != pid
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"kept"


def test_a_server_that_does_not_become_ready_is_given_up_with_the_remedy(aws):
    command, pid = starting(with_settings(aws, LOCALAWS_START_SECONDS="2"))
    os.kill(pid, signal.SIGSTOP)
    try:
        _, said = command.communicate(timeout=30)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert command.returncode == 1
    assert "local AWS is not ready after 2 s (it does not answer)" in said
    assert "make down" in said
    assert aws.run("down").returncode == 0
    assert not alive(pid)
    assert up(aws)["ready"]


def test_a_pid_that_is_by_now_another_process_is_left_alone(aws):
    up(aws)
    assert aws.run("down").returncode == 0
    record = aws.home / "server.json"
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        strange = json.dumps({"pid": stranger.pid, "started": 0.0, "port": aws.port})
        record.write_text(strange)
        up(aws)
        own = record.read_text()
        record.write_text(strange)
        assert "does not name it" in aws.run("down").stderr
        record.write_text(own)
        assert aws.run("down").returncode == 0
        record.write_text(strange)
        assert aws.run("down").stderr.strip() == "Local AWS is not running"
        assert stranger.poll() is None
        stranger.kill()


def test_a_state_that_cannot_be_read_is_not_overwritten(aws):
    up(aws)
    assert aws.run("down").returncode == 0
    state = aws.home / "state/iam.json"
    state.write_text('{"__ministack_format__": 2, "payload": {"users"')
    failed = aws.run("up")
    assert failed.returncode == 1
    assert f"{state} cannot be restored" in failed.stderr
    assert "make reset" in failed.stderr
    assert state.read_text().endswith('"users"')


def test_a_server_that_does_not_answer_is_told_and_ended(aws):
    pid = up(aws)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        status = aws.run("status")
        assert status.returncode == 1
        assert "does not answer" in status.stderr and "make down" in status.stderr
    finally:
        os.kill(pid, signal.SIGCONT)
    assert aws.run("down").returncode == 0


def test_reset_leaves_nothing(aws):
    up(aws)
    old_key = aws.session("dev").get_credentials().access_key
    Workshop(aws.session("dev")).bucket()
    assert aws.run("reset").returncode == 0
    assert {path.name for path in aws.home.iterdir()} <= {"server.log", "command.lock"}
    up(aws)
    assert aws.session("dev").client("s3").list_buckets()["Buckets"] == []
    assert aws.session("dev").get_credentials().access_key != old_key
