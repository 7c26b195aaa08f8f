"""Breaks a deploy in a phase, looks at what is live, feeds a file, and deploys again."""

import contextlib
import functools
import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.drills.breaks import BREAKS, CANARY, Break, denying, ringing, wait_until_shared
from tests.drills.releases import must
from tests.e2e.one_row import a_file
from tests.e2e.project import Project, lose_machine
from tests.localaws.workshop import wait_until

AS_BEFORE, RETURNED, SHARED, SWITCHED = (
    "as before",
    "returned, as before",
    "shared with what was live before",
    "the new release",
)
# From the end of this phase on, what is live is the new release.
SWITCH = "switch_live"
RECORD = "record_deploy"
BEGINS, ENDS = "==> {phase}\n", "    [0-9.]+ s\n"
FIRST_DAY = date(2021, 1, 1)
STOP_SECONDS = 10
# Of the states in /proc/*/stat; a parent that waits for its child's exec (vfork) is in D.
STOPPED_OR_ENDED = "TDZX"


def phases_of(script: Path = REPOSITORY / "scripts/deploy.sh") -> list[str]:
    """Return the phases of a script, as it lists them."""
    listed = re.search(r"^readonly PHASES=\((.*?)^\)", script.read_text("utf-8"), re.M | re.S)
    assert listed, f"{script} lists no PHASES"
    return re.findall(r"^  (\w+)", listed[1], re.M)


@dataclass
class Row:
    """What came of one break; `faults` is empty when it was as promised."""

    phase: str
    how: str
    live: str = ""
    seconds: float = 0.0  # until the deploy had ended, or was killed
    again: float | None = None  # the deploy again that finished the job
    faults: list[str] = field(default_factory=list)


class Deploy:
    """A deploy that is watched, and held where something is to be done to it."""

    def __init__(self, checkout: Project, version: str, *options: str):
        self._process = checkout.start("deploy", "ENV=dev", f"VERSION={version}", *options)
        self.said = ""
        self.started = time.monotonic()

    def until(self, phase: str, ended: bool = False) -> None:
        """Return as soon as a phase begins, or has ended; the deploy stands still then."""
        within = False
        for line in self._process.stderr:
            self.said += line
            begins = line == BEGINS.format(phase=phase)
            within = within or begins
            if within and (re.fullmatch(ENDS, line) if ended else begins):
                self._signal(signal.SIGSTOP)
                # A process that is just being forked stops later, and would miss going on.
                wait_until(lambda: not self._moving(), seconds=STOP_SECONDS)
                return
        raise RuntimeError(f"the deploy did not come to {phase}:\n{self.said}")

    def go_on(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> float:
        """Kill its group; return the seconds that it took until then, or until its canary ended."""
        self._signal(signal.SIGKILL)
        self._process.communicate()
        return time.monotonic() - self.started

    def lose(self) -> None:
        """Kill all of it, its canary too."""
        lose_machine(self._process)

    def wait(self) -> tuple[int, float]:
        """Return its exit code and its seconds."""
        self.said += self._process.stderr.read()
        self._process.stdout.read()
        return self._process.wait(), time.monotonic() - self.started

    def _moving(self) -> list[str]:
        """Return the processes of its group that do not stand still, as /proc shows them."""
        shown = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                shown.append(stat.read_text(encoding="utf-8"))
        parts = ((text, text.rpartition(")")[2].split()) for text in shown)
        return [
            text
            for text, (state, _parent, group, *_) in parts
            if int(group) == self._process.pid and state not in STOPPED_OR_ENDED
        ]

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class PhaseDrill:
    """Drills one phase after another, each with a release that is not live yet."""

    def __init__(self, checkout: Project, folder: Path, say: Callable[[str], None] = print):
        self._checkout, self._folder, self._say = checkout, folder, say
        self._day = FIRST_DAY

    def run(self, phase: str, version: str, other: str = "") -> list[Row]:
        """Break a deploy of `version` in a phase, by its breaks and by SIGKILL as it begins and
        when it has ended; then deploy it again.

        Once the deploy is on record, the same again has nothing to do: a phase that comes after the
        record is broken with `version` and `other` in turn.
        """
        before = self._checkout.aliases()
        is_on_record = phases_of().index(phase) > phases_of().index(RECORD)
        versions = itertools.cycle((version, other) if is_on_record else (version,))
        options = CANARY if phase == "shift_traffic" else ()
        if phase == "end_canary":
            self._leave_a_canary(version)
        rows, release = [], version
        for (row, attempt), release in zip(self._attempts(phase, options), versions):
            self._say(f"drill: {phase}: {row.how}")
            at_start = self._checkout.aliases()
            before = at_start if is_on_record else before
            try:
                row.seconds = attempt(row, release)
            except (RuntimeError, AssertionError) as error:  # of wait_until
                row.faults.append(f"the attempt went wrong: {error}")
            row.live = self._live(before, at_start, release)
            row.faults += self._faults(row, release)
            rows.append(row)
        rows[-1].again = self._finish(rows[-1], release)
        for row in rows:
            self._say("\n".join([f"drill: {phase}: {row.how}: {row.live}", *row.faults]))
        return rows

    def _attempts(
        self, phase: str, options: tuple[str, ...]
    ) -> Iterator[tuple[Row, Callable[[Row, str], float]]]:
        for broken in BREAKS[phase]:
            yield (
                Row(phase, broken.what),
                functools.partial(self._break, broken=broken, options=options),
            )
        yield (
            Row(phase, "SIGKILL as it begins"),
            lambda row, version: self._kill(row, version, options, ended=False),
        )
        if phase == "shift_traffic":
            yield (
                Row(phase, "SIGKILL while the traffic is shared"),
                lambda _, version: self._kill_shared(version, options),
            )
            options = tuple(option.replace("_seconds=60", "_seconds=3") for option in options)
        yield (
            Row(phase, "SIGKILL when it has ended"),
            lambda row, version: self._kill(row, version, options, ended=True),
        )

    # ---- how it is broken ------------------------------------------------------------------------

    def _break(self, row: Row, version: str, *, broken: Break, options: tuple[str, ...]) -> float:
        with contextlib.ExitStack() as stack:
            if broken.damage:
                stack.enter_context(broken.damage(self._checkout, version))
            deploy = Deploy(self._checkout, version, *options)
            deploy.until(row.phase)
            if broken.denied:
                stack.enter_context(denying(self._checkout, broken))
            deploy.go_on()
            if broken.alarm:
                wait_until_shared(self._checkout)
                stack.enter_context(ringing(self._checkout))
            code, seconds = deploy.wait()
        if code == 0:
            row.faults.append("the deploy has not noticed")
        if not re.search(rf"(FAILED|RETURNED) in phase {row.phase} ", deploy.said):
            row.faults.append(f"it does not say that it failed in {row.phase}:\n{deploy.said}")
        if "deploy: remedy: " not in deploy.said:
            row.faults.append("it names no remedy")
        if broken.alarm and "RETURNED in phase" not in deploy.said:
            row.faults.append("the canary did not return by itself")
        return seconds

    def _kill(self, row: Row, version: str, options: tuple[str, ...], ended: bool) -> float:
        deploy = Deploy(self._checkout, version, *options)
        deploy.until(row.phase, ended)
        return deploy.kill()

    def _kill_shared(self, version: str, options: tuple[str, ...]) -> float:
        return self._share(version, options).kill()

    def _leave_a_canary(self, version: str) -> None:
        self._share(version, CANARY).lose()

    def _share(self, version: str, options: tuple[str, ...]) -> Deploy:
        deploy = Deploy(self._checkout, version, *options)
        deploy.until("shift_traffic")
        deploy.go_on()
        wait_until_shared(self._checkout)
        return deploy

    # ---- what must be so afterwards --------------------------------------------------------------

    def _live(self, before: dict, at_start: dict, version: str) -> str:
        """Say what is live, beside what was before the drill and before this attempt."""
        now = self._checkout.aliases()
        if now == before:
            return AS_BEFORE if at_start == before else RETURNED
        (blue,) = before["executions"]
        if len(now["executions"]) == 2 and now["executions"].get(blue, 0) >= 50:
            return SHARED
        if list(now["executions"].values()) == [100] and self._release_live() == version:
            return SWITCHED
        return f"something else: {now}, and was {before}"

    def _release_live(self) -> str:
        return must(self._checkout.make("live", "ENV=dev")).stdout.strip()

    def _faults(self, row: Row, version: str) -> Iterator[str]:
        if row.live not in self._promised(row):
            yield f"live is {row.live}; promised: {' or '.join(self._promised(row))}"
        if fault := self._feed():
            yield fault
        if row.live == SWITCHED and self._release_live() != version:
            yield f"live is {self._release_live()} by now"

    def _promised(self, row: Row) -> tuple[str, ...]:
        """Return what may be live after a break: only the switch changes it."""
        phases = phases_of()
        after = phases.index(row.phase) - phases.index(SWITCH)
        if after > 0 or (after == 0 and row.how == "SIGKILL when it has ended"):
            return (SWITCHED,)
        if row.phase == "end_canary" and row.how != "SIGKILL when it has ended":
            return (SHARED,)
        return (AS_BEFORE, RETURNED)

    def _feed(self) -> str:
        """Feed a file; return what was wrong with that, nothing where its row is loaded."""
        file = a_file(self._folder, int(f"{self._day:%Y%m%d}"))
        self._day += timedelta(days=1)
        fed = self._checkout.feed(file)
        if fed.returncode:
            return f"a file fed afterwards was not loaded:\n{fed.stderr}"
        product = file.stem.removeprefix("Products_")
        rows = self._checkout.query(f"select quantity from products where product_id = {product}")
        return "" if rows == ["2"] else f"a file fed afterwards has the rows {rows}"

    def _finish(self, row: Row, version: str) -> float:
        self._say(f"drill: {row.phase}: deploy again")
        started = time.monotonic()
        done = self._checkout.make("deploy", "ENV=dev", f"VERSION={version}")
        seconds = time.monotonic() - started
        if done.returncode:
            row.faults.append(f"deploying again fails:\n{done.stderr}")
        elif self._release_live() != version or len(self._checkout.routes()) != 1:
            row.faults.append(f"after deploying again live is {self._release_live()}")
        return seconds
