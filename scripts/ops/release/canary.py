"""A canary: a release gets part of the traffic, more step by step, and is watched meanwhile.

What is live before is blue, the release is green. Both aliases are weighted alike: that of the
state machine draws for each execution, that of the trigger for each event, so either trigger starts
executions of either version (docs/decisions/0006). However it ends, blue has everything back: on
anything that speaks against green, on a signal, on any error, and where green was good, too, since
only the switch that follows changes what is live. It has a session of its own: what kills the
deploy with all of its group leaves the canary, which gives everything back. Killed itself, as when
the machine is lost, it leaves weights, which the next deploy or rollback ends.
"""

import argparse
import os
import signal
import sys
import threading
import time


from ops.data.runs import SUCCEEDED
from ops.environment import Environment, command
from ops.release import lock
from ops.release.live import describe, routes
from ops.release.switch import (
    Versions,
    event_routes,
    give_back,
    return_to,
    route_events,
    route_executions,
)
from ops.release.watch import Watch

POLL_SECONDS = 2.0


class Breach(Exception):
    """Something speaks against the release, or nothing speaks for it."""


class Interruption:
    """A signal, or the end of the deploy that started this process: then nobody waits for it."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._signal = ""
        self._signalled = threading.Event()

    def listen(self) -> None:
        """Take signals from now on; they no longer end the process, and those that the group gets
        which started it no longer reach it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if os.getpid() != os.getpgrp():  # the leader of a group has one of its own already
            os.setsid()

    def wait(self, seconds: float) -> None:
        """Wait, but not once there was a signal."""
        self._signalled.wait(seconds)

    def reason(self) -> str:
        """Return what has interrupted this process; nothing where nothing has."""
        if self._signal:
            return f"interrupted by {self._signal}"
        return "" if os.getppid() == self._parent else "the deploy that started it is gone"

    def _on_signal(self, number: int, _frame) -> None:
        self._signal = self._signal or signal.Signals(number).name
        self._signalled.set()


class Canary:
    """One canary: from blue alone to the last weight of green, and back to blue alone."""

    def __init__(
        self, environment: Environment, blue: Versions, green: Versions, lease: lock.Lease
    ):
        self._environment = environment
        self._blue, self._green = blue, green
        self._lease = lease
        # Where both releases have one trigger, its errors tell nothing of the new one.
        own_trigger = green.trigger if green.trigger != blue.trigger else ""
        self._watch = Watch(environment, Versions(green.state_machine, own_trigger))
        self._interruption = Interruption()
        self._shown = ""  # what was said last of its executions

    def run(self) -> None:
        """Go through the configured weights; raise Returned when something spoke against green.

        Raises Locked, and touches nothing more, once somebody else holds the environment.
        """
        settings = self._environment.config["release"]["canary"]
        if self._watch.alarms_before:
            names = ", ".join(sorted(self._watch.alarms_before))
            _say(f"in ALARM before it began, and so not held against it: {names}")
        self._interruption.listen()
        try:
            for weight in settings["weights"]:
                self._step(weight, settings["interval_seconds"])
            self._settle(settings["finish_seconds"], settings["metrics_seconds"])
            self._require_executions(settings["min_executions"])
        except lock.Locked:
            raise
        except Breach as breach:
            self._give_back(str(breach))
        except Exception as error:  # pylint: disable=broad-exception-caught
            # Whatever it is, nobody watches green any more.
            self._give_back(f"the canary cannot be watched: {type(error).__name__}: {error}")
        self._end()

    def _end(self) -> None:
        """End a good canary: what is live is changed by the switch alone."""
        try:
            self._lease.hold()
            return_to(self._environment, self._blue)
        except lock.Locked:
            raise
        except Exception as error:  # pylint: disable=broad-exception-caught
            self._give_back(f"the canary was good, and its end failed: {error}")
        _say("nothing speaks against it; until the switch, all goes to what is live")

    def _step(self, weight: int, seconds: float) -> None:
        self._lease.hold()
        self._watch.begin(_share(self._environment, self._blue, self._green, weight))
        _say(f"{weight} % for {seconds} s")
        deadline = time.monotonic() + seconds
        while True:
            self._look()
            if (remaining := deadline - time.monotonic()) <= 0:
                return
            self._interruption.wait(min(POLL_SECONDS, remaining))

    def _settle(self, finish_seconds: int, metrics_seconds: int) -> None:
        """Watch on until what the last step has begun can be told: its executions have ended, and
        CloudWatch has what its trigger failed on.

        Raises Breach when executions take longer: nothing speaks for them.
        """
        begun, running = time.monotonic(), self._watch.running
        if self._green.trigger == self._blue.trigger:
            metrics_seconds = 0
        if running:
            _say(f"{len(running)} still running: up to {finish_seconds} s for them to end")
        if metrics_seconds:
            _say(f"{metrics_seconds} s for CloudWatch to have what its trigger failed on")
        while True:
            waited = time.monotonic() - begun
            self._look()
            running &= self._watch.running
            if running and waited >= finish_seconds:
                raise Breach(
                    f"{len(running)} of its executions still run after {finish_seconds} s more "
                    f"(release.canary.finish_seconds): {', '.join(sorted(running))}"
                )
            if not running and waited >= metrics_seconds:
                return
            self._interruption.wait(POLL_SECONDS)

    def _look(self) -> None:
        """Say what is new; raise Breach when the canary must end."""
        if reason := self._interruption.reason():
            raise Breach(reason)
        self._lease.hold()
        breaches = self._watch.breaches()
        if self._shown != (shown := self._watch.summary()):
            self._shown = shown
            _say(f"  {shown}")
        if breaches:
            raise Breach("\n".join(breaches))

    def _require_executions(self, minimum: int) -> None:
        succeeded = self._watch.counts[SUCCEEDED]
        if succeeded < minimum:
            raise Breach(
                f"{succeeded} of its executions succeeded, and release.canary.min_executions asks "
                f"for {minimum}: {self._watch.summary()}"
            )
        if not self._watch.counts:
            _say("no execution came its way: only the smoke test speaks for this release")

    def _give_back(self, reason: str) -> None:
        """Give blue everything; raise Returned, or OperationError where that fails."""
        give_back(self._environment, self._blue, reason, self._lease.hold)


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


# ---- weights -----------------------------------------------------------------------------------
# Executions are given first and events taken back first: wherever this is killed, executions tell
# that something is shared, and blue, which never has less than half of them, is live.


def _share(environment: Environment, blue: Versions, green: Versions, weight: int):
    """Give green so many percent of executions and events; return when, by AWS's clock."""
    weights = {blue.state_machine: 100 - weight, green.state_machine: weight}
    since = route_executions(environment, weights)
    # An alias cannot share between a version and itself.
    other = {green.trigger: weight / 100} if green.trigger != blue.trigger else {}
    route_events(environment, blue.trigger, other)
    return since


def leftover(environment: Environment) -> str:
    """Return in words what a killed canary has left; nothing where nothing is left."""
    weights = routes(environment)
    if len(weights) > 1:
        green = list(weights)[1]
        release = describe(environment, green).release
        return f"{weights[green]} % of executions go to {release}, which nobody watches"
    if weights and event_routes(environment)[1]:  # of a rollback that was killed in its switch
        return "the trigger's alias is still shared, though executions are not"
    return ""


def end(environment: Environment) -> None:
    """End what a killed canary has left: everything goes to what is live."""
    blue, trigger = next(iter(routes(environment))), event_routes(environment)[0]
    return_to(environment, Versions(blue, trigger))


@command
def main() -> int:
    """Run a canary, or end what one has left."""
    parser = argparse.ArgumentParser(prog="python -m ops.release.canary", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    run, ending = (actions.add_parser(action) for action in ("run", "end"))
    for options in (run, ending):
        options.add_argument("--env", required=True)
    run.add_argument("--live", required=True, help="the state machine version that is live")
    run.add_argument("--state-machine-version-arn", required=True, help="the release's")
    run.add_argument("--trigger-version-arn", required=True, help="the release's")
    run.add_argument("--token", required=True, help="of the lock that the deploy holds")
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    if arguments.action == "end":
        end(environment)
        return 0
    trigger, _ = event_routes(environment)
    green = Versions(
        arguments.state_machine_version_arn, arguments.trigger_version_arn.rpartition(":")[2]
    )
    lease = lock.Lease(environment, arguments.token)
    Canary(environment, Versions(arguments.live, trigger), green, lease).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
