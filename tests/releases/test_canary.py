"""A canary shifts traffic step by step, and gives everything back when something speaks against it.

The release is as small as one state, and the traffic is started here; the routing, the alarms, the
executions and the lock are local AWS's.
"""

import os
import signal
import subprocess
import threading

import pytest
from ops.environment import Environment
from ops.release.switch import Versions
from ops.release.watch import Watch

from tests.conftest import REPOSITORY
from tests.localaws.workshop import wait_until
from tests.releases.release_history import MACHINE, PREFIX, Releases

FAIL = {"Type": "Fail", "Error": "SourceFormatError", "Cause": "column price is missing"}
SUCCEED = {"Type": "Succeed"}
# What local AWS says of a function is there at once.
SETTINGS = (
    "release.canary.weights=[10,50] release.canary.interval_seconds={seconds} "
    "release.canary.min_executions={minimum} release.canary.finish_seconds={finish} "
    "release.canary.metrics_seconds=0"
)
SLOW_SECONDS = 10
ALARM = f"{PREFIX}-test"
PYTHON = str(REPOSITORY / ".venv/dev/bin/python")
SHELL = ("bash", "-c", '"$@" & wait', "bash")


def slowly(end):
    """Return a state that comes to an end after a while."""
    wait = {"Type": "Wait", "Seconds": SLOW_SECONDS, "Next": "End"}
    branch = {"StartAt": "Wait", "States": {"Wait": wait, "End": end}}
    return {"Type": "Parallel", "Branches": [branch], "End": True}


@pytest.fixture(name="releases", scope="module")
def fixture_releases(local_aws):
    releases = Releases(local_aws.session("qa"))
    releases.live = releases.deploy("live")
    releases.good = releases.publish("good", SUCCEED)
    releases.bad = releases.publish("bad", FAIL)
    releases.slow = releases.publish("slow", slowly(SUCCEED))
    releases.slow_and_bad = releases.publish("slow-and-bad", slowly(FAIL))
    releases.deaf = releases.publish(
        "deaf", SUCCEED, "def handler(event, context): raise ValueError('no such field')"
    )
    yield releases
    releases.remove()


@pytest.fixture(name="tool")
def fixture_tool(local_aws, releases):
    """A function that starts a tool of the release scripts with settings of its own; all of them
    end with the test, and live is what it was before."""
    started = []

    def tool(*command, seconds=30, minimum=0, finish=60, shell=False):
        settings = SETTINGS.format(seconds=seconds, minimum=minimum, finish=finish)
        started.append(
            subprocess.Popen(  # pylint: disable=consider-using-with  # ended below
                [*(SHELL if shell else ()), PYTHON, "-m", *command, "--env", "qa"],
                cwd=REPOSITORY,
                env=local_aws.env | {"AWS_PROFILE": "qa", "SET": settings},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=shell,  # as the leader of a group, which can be killed whole
            )
        )
        return started[-1]

    yield tool
    for process in started:
        process.kill()
        process.communicate()
    code, said = run(tool("ops.release.lock", "release", "--token", "mine"))
    assert code == 0, said
    point(releases, releases.live)


@pytest.fixture(name="canary")
def fixture_canary(tool):
    """A function that starts the canary of a release whose deploy holds the lock."""

    def canary(releases, green, **options):
        take_lock(tool, green)
        return tool(
            *("ops.release.canary", "run", "--token", "mine", "--live", releases.live.version_arn),
            *("--state-machine-version-arn", green.version_arn),
            *("--trigger-version-arn", green.functions["trigger-etl"]),
            **options,
        )

    return canary


def take_lock(tool, green):
    """Let the deploy of a release take the lock."""
    taken = tool(
        *("ops.release.lock", "take", "--token", "mine", "--who", "arn:ann"),
        *("--command", f"deploy {green.name}", "--pid", str(os.getpid())),
    )
    code, said = run(taken)
    assert code == 0, said


def run(process):
    """Wait for a tool; return its exit code and all that it said."""
    out, complaint = process.communicate(timeout=60)
    return process.returncode, out + complaint


def point(releases, release):
    """Point both aliases at a release, whole."""
    routing = [{"stateMachineVersionArn": release.version_arn, "weight": 100}]
    releases.states.update_state_machine_alias(
        stateMachineAliasArn=f"{MACHINE}:live", routingConfiguration=routing
    )
    weigh_trigger(releases, release, {})


def weigh_trigger(releases, release, weights):
    releases.functions.update_alias(
        FunctionName=f"{PREFIX}-trigger-etl",
        Name="live",
        FunctionVersion=number(release),
        RoutingConfig={"AdditionalVersionWeights": weights},
    )


def number(release):
    return release.functions["trigger-etl"].rpartition(":")[2]


def routed(releases):
    """Return the weights of the two aliases: executions by version, events by version."""
    alias = releases.states.describe_state_machine_alias(stateMachineAliasArn=f"{MACHINE}:live")
    events = releases.functions.get_alias(FunctionName=f"{PREFIX}-trigger-etl", Name="live")
    other = events.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    return {
        route["stateMachineVersionArn"]: route["weight"] for route in alias["routingConfiguration"]
    }, {events["FunctionVersion"]: round(1 - sum(other.values()), 2), **other}


def blue_alone(releases):
    return {releases.live.version_arn: 100}, {number(releases.live): 1}


def shared(releases, green, percent):
    return (
        {releases.live.version_arn: 100 - percent, green.version_arn: percent},
        {number(releases.live): 1 - percent / 100, number(green): percent / 100},
    )


class Traffic:
    """Starts executions of what is live all the time."""

    def __init__(self, releases):
        self._releases, self._over = releases, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seen: list = []  # how the aliases were weighted, each change once

    def _run(self):
        while not self._over.wait(0.05):
            self._releases.start()
            if routed(self._releases) not in self.seen[-1:]:
                self.seen.append(routed(self._releases))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


# ---- steps -------------------------------------------------------------------------------------


def test_a_good_release_gets_its_weights_step_by_step_and_is_counted(releases, canary):
    with Traffic(releases) as traffic:
        code, said = run(canary(releases, releases.good, seconds=4))

    assert code == 0, said
    good = releases.good
    half, blue = shared(releases, good, 50), blue_alone(releases)
    known = [blue, shared(releases, good, 10), half]
    assert [step for step in traffic.seen if step in known][:3] == known
    assert routed(releases) == blue and "until the switch, all goes to what is live" in said
    listed = releases.states.list_executions(stateMachineArn=good.version_arn)["executions"]
    assert listed and "10 % for 4 s" in said and "50 % for 4 s" in said
    assert "0 failed" in said and "it ran" in said


def test_without_traffic_it_says_that_nothing_is_proven(releases, canary):
    code, said = run(canary(releases, releases.good, seconds=1))
    assert code == 0, said
    assert "it ran no execution" in said
    assert "only the smoke test speaks for this release" in said


def test_without_the_executions_that_are_asked_for_it_returns(releases, canary):
    code, said = run(canary(releases, releases.good, seconds=1, minimum=1))
    assert code == 3, said
    assert "0 of its executions succeeded" in said and "min_executions asks for 1" in said
    assert routed(releases) == blue_alone(releases)


# ---- what speaks against a release ---------------------------------------------------------------


def test_a_failed_execution_of_the_release_returns_it_with_error_and_cause(releases, canary):
    with Traffic(releases):
        code, said = run(canary(releases, releases.bad))
    assert code == 3, said
    assert "failed: SourceFormatError: column price is missing" in said
    assert f"s3://{PREFIX}-data-222222222222/data/failed/" in said
    assert "returned: everything goes to what was live before" in said
    assert routed(releases) == blue_alone(releases)


def test_only_executions_that_traffic_started_count(releases, canary):
    process = canary(releases, releases.bad, seconds=4)
    wait_until(lambda: routed(releases) == shared(releases, releases.bad, 10))
    # As a smoke test does: by the version, beside the alias.
    releases.states.start_execution(stateMachineArn=releases.bad.version_arn)
    code, said = run(process)
    assert code == 0, said
    assert "it ran no execution" in said


def give_event(releases, qualifier):
    """Invoke the trigger by its alias or by a version; return whether it has failed."""
    function = f"{PREFIX}-trigger-etl:{qualifier}"
    return "FunctionError" in releases.functions.invoke(FunctionName=function, Payload=b"{}")


def test_events_that_the_trigger_of_the_release_fails_on_return_it(releases, canary):
    # GIVEN a release that runs well what it is given, and whose trigger gives it nothing
    process = canary(releases, releases.deaf)
    wait_until(lambda: routed(releases) == shared(releases, releases.deaf, 10))

    # WHEN events come, and it gets one of them
    wait_until(lambda: give_event(releases, "live"))

    # THEN it is returned long before its steps are over, though no execution has failed
    code, said = run(process)
    assert code == 3, said
    version = f"{PREFIX}-trigger-etl version {number(releases.deaf)}"
    assert f"its trigger, {version}, has failed" in said
    assert "it ran no execution" in said
    assert routed(releases) == blue_alone(releases)


def test_an_event_that_names_the_trigger_of_the_release_does_not_count(releases, canary):
    # GIVEN another release of such code, whose trigger no event of the alias has met
    deaf = releases.publish("deaf-too", SUCCEED, "def handler(event, context): raise KeyError()")
    process = canary(releases, deaf, seconds=4)
    wait_until(lambda: routed(releases) == shared(releases, deaf, 10))
    # As a smoke test does: by the version, beside the alias.
    assert give_event(releases, number(deaf))
    code, said = run(process)
    assert code == 0, said


def run_one(releases, release):
    """Start executions of what is live until the release runs one; return that one's ARN."""
    started = []

    def is_there():
        started.append(releases.start())
        found = releases.states.describe_execution(executionArn=started[-1])
        return found["stateMachineVersionArn"] == release.version_arn

    wait_until(is_there)
    return started[-1]


@pytest.mark.parametrize("name", ["slow", "slow_and_bad"])
def test_an_execution_that_runs_at_the_end_is_waited_for(releases, canary, name):
    # GIVEN a release whose executions take longer than all of its steps
    release = getattr(releases, name)
    process = canary(releases, release, seconds=2, minimum=1)
    wait_until(lambda: len(routed(releases)[0]) == 2)
    arn = run_one(releases, release)
    code, said = run(process)
    # THEN the canary has waited for its end, which decides
    ended = releases.states.describe_execution(executionArn=arn)["status"]
    assert "still running: up to 60 s" in said
    if name == "slow":
        assert (code, ended) == (0, "SUCCEEDED"), said
    else:
        assert (code, ended) == (3, "FAILED"), said
        assert "column price is missing" in said
    assert routed(releases) == blue_alone(releases)


def test_an_execution_that_does_not_end_in_time_returns_it(releases, canary):
    process = canary(releases, releases.slow, seconds=1, finish=1)
    wait_until(lambda: len(routed(releases)[0]) == 2)
    arn = run_one(releases, releases.slow)
    code, said = run(process)
    assert code == 3, said
    name = arn.rpartition(":")[2]
    assert f"still run after 1 s more (release.canary.finish_seconds): {name}" in said
    assert routed(releases) == blue_alone(releases)


@pytest.fixture(name="alarm")
def fixture_alarm(local_aws):
    """A function that sets the state of an alarm of the environment; it keeps it until then."""
    cloudwatch = local_aws.session("qa").client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=ALARM,
        Namespace="Test",
        MetricName="Nothing",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="ignore",
    )

    def set_state(state, reason):
        cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue=state, StateReason=reason)

    yield set_state
    cloudwatch.delete_alarms(AlarmNames=[ALARM])


def test_an_alarm_returns_it_with_the_alarms_reason(releases, canary, alarm):
    alarm("OK", "quiet")
    process = canary(releases, releases.good)
    wait_until(lambda: routed(releases) == shared(releases, releases.good, 10))
    alarm("ALARM", "7 errors in 1 minute")
    code, said = run(process)
    assert code == 3, said
    assert f"alarm {ALARM} is in ALARM: 7 errors in 1 minute" in said
    assert routed(releases) == blue_alone(releases)


def test_an_alarm_of_before_is_named_and_does_not_count(releases, canary, alarm):
    alarm("ALARM", "an old trouble")
    code, said = run(canary(releases, releases.good, seconds=1))
    assert code == 0, said
    assert f"not held against it: {ALARM}" in said


def test_an_alarm_of_before_counts_once_it_has_been_quiet(releases, alarm, local_aws):
    class Qa(Environment):
        """The environment, reached from within this process."""

        def client(self, service):
            return local_aws.session("qa").client(service)

    alarm("ALARM", "an old trouble")
    watch = Watch(Qa.load("qa"), Versions(releases.good.version_arn, number(releases.good)))
    assert watch.breaches() == []
    alarm("OK", "quiet")
    assert watch.breaches() == []
    alarm("ALARM", "a new trouble")
    assert watch.breaches() == [f"alarm {ALARM} is in ALARM: a new trouble"]


# ---- interrupted ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_returns_it(releases, canary, number):
    process = canary(releases, releases.good)
    wait_until(lambda: routed(releases) == shared(releases, releases.good, 10))
    process.send_signal(number)
    code, said = run(process)
    assert code == 3, said
    assert f"interrupted by {number.name}" in said
    assert routed(releases) == blue_alone(releases)


def test_whoever_breaks_the_lock_is_left_alone_with_the_aliases(releases, canary, tool):
    process = canary(releases, releases.good)
    wait_until(lambda: routed(releases) == shared(releases, releases.good, 10))
    broken = tool(
        *("ops.release.lock", "take", "--token", "other", "--who", "arn:bob", "--break-lock"),
        *("--command", "rollback", "--pid", str(os.getpid())),
    )
    assert run(broken)[0] == 0
    code, said = run(process)
    assert code == 1, said
    assert "no longer holds qa: it is locked by rollback by arn:bob" in said
    assert routed(releases) == shared(releases, releases.good, 10)
    run(tool("ops.release.lock", "release", "--token", "other"))


# ---- the switch after it ------------------------------------------------------------------------


def test_a_switch_that_fails_halfway_gives_everything_back(releases, tool):
    # GIVEN a trigger that somebody deletes before the switch
    take_lock(tool, releases.good)
    gone = f"{releases.good.functions['trigger-etl'].rpartition(':')[0]}:999"

    # WHEN executions are switched, and events cannot be
    switch = tool(
        *("ops.release.switch", "--token", "mine", "--or-give-back"),
        *("--expected", releases.live.version_arn),
        *("--state-machine-version-arn", releases.good.version_arn),
        *("--trigger-version-arn", gone),
    )
    code, said = run(switch)

    # THEN what was live before has everything, and it says why
    assert code == 3, said
    assert "the switch was not made: ResourceNotFoundException" in said
    assert "returned: everything goes to what was live before" in said
    assert routed(releases) == blue_alone(releases)


def test_a_switch_that_was_overtaken_touches_nothing(releases, tool):
    point(releases, releases.good)
    take_lock(tool, releases.bad)
    switch = tool(
        *("ops.release.switch", "--token", "mine", "--or-give-back"),
        *("--expected", releases.live.version_arn),
        *("--state-machine-version-arn", releases.bad.version_arn),
        *("--trigger-version-arn", releases.bad.functions["trigger-etl"]),
    )
    code, said = run(switch)
    assert code == 1 and "start again" in said
    assert routed(releases) == ({releases.good.version_arn: 100}, {number(releases.good): 1})


# ---- killed --------------------------------------------------------------------------------------


def killed(releases, canary):
    """Kill a canary in its first step."""
    process = canary(releases, releases.good)
    wait_until(lambda: routed(releases) == shared(releases, releases.good, 10))
    process.kill()
    run(process)
    assert routed(releases) == shared(releases, releases.good, 10)


def test_what_a_killed_canary_leaves_is_seen_and_ended(releases, canary, tool):
    killed(releases, canary)
    code, said = run(tool("ops.release.target"))
    assert code == 0 and "10 % of executions go to good, which nobody watches" in said
    assert releases.live.version_arn in said
    assert run(tool("ops.release.live")) == (0, "live\ngood\n")

    assert run(tool("ops.release.canary", "end"))[0] == 0

    assert routed(releases) == blue_alone(releases)
    assert "nobody watches" not in run(tool("ops.release.target"))[1]
    assert run(tool("ops.release.live")) == (0, "live\n")


def test_a_rollback_of_a_killed_canary_goes_back_to_what_is_live(releases, canary, tool):
    killed(releases, canary)
    code, said = run(tool("ops.release.rollback"))
    assert code == 0, said
    assert said.splitlines()[:2] == ["live", releases.live.version_arn]


def test_a_trigger_that_is_shared_alone_is_seen_and_ended(releases, tool):
    # As a rollback leaves it that is killed in its switch, over a killed canary.
    point(releases, releases.live)
    weigh_trigger(releases, releases.live, {number(releases.good): 0.5})
    assert "the trigger's alias is still shared" in run(tool("ops.release.target"))[1]

    assert run(tool("ops.release.canary", "end"))[0] == 0

    assert routed(releases) == blue_alone(releases)


def test_without_its_deploy_it_returns(releases, canary):
    # GIVEN a canary whose deploy, a shell, is killed with all of its group
    process = canary(releases, releases.good, shell=True)
    wait_until(lambda: routed(releases) == shared(releases, releases.good, 10))
    os.killpg(process.pid, signal.SIGKILL)
    # THEN it ends by itself, without anybody who would wait for it
    wait_until(lambda: routed(releases) == blue_alone(releases))
    assert "the deploy that started it is gone" in run(process)[1]
