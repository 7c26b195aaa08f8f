"""A run is followed state by state; its account adds up, or says that it does not."""

from datetime import UTC, datetime, timedelta

import pytest
from ops.data import runs
from ops.environment import Environment, OperationError
from ops.data.runs import Account, State, follow

ENVIRONMENT = Environment(
    "dev", {"project": "p", "aws": {"account_id": "111111111111", "region": "us-east-1"}}
)


def account(**changes):
    numbers = {"rows_in": 10, "loaded": 6, "rejected": 3, "superseded": 1}
    return Account(**numbers | changes, rejected_by_reason={"price: empty": 2, "time: empty": 1})


def test_account_of_every_row_adds_up():
    assert account().adds_up


@pytest.mark.parametrize(
    "changes", [{"rows_in": 11}, {"loaded": 7}, {"superseded": 0}, {"rejected": 4, "loaded": 5}]
)
def test_missing_row_or_reason_does_not_add_up(changes):
    assert not account(**changes).adds_up


def test_lines_give_the_commonest_reason_first():
    lines = [line.split() for line in account().lines()]
    assert lines == [
        ["rows", "in", "10"],
        ["loaded", "6"],
        ["rejected", "3"],
        ["2", "price:", "empty"],
        ["1", "time:", "empty"],
        ["superseded", "1"],
    ]


def test_only_broken_warnings_are_warnings():
    rule = {"rule": "r", "expected": "1", "observed": "2"}
    states = [(False, "warning"), (False, "info"), (True, "warning"), (None, "warning")]
    rules = [rule | {"success": success, "severity": severity} for success, severity in states]
    assert list(Account(1, 1, 0, 0, rules=rules).warnings()) == ["r: expected 1; observed 2"]


class Machine:
    """Step Functions with one execution, whose history grows with each look at it."""

    def __init__(self, *rounds):
        self.rounds, self.looks = rounds, 0

    def describe_execution(self, **_):
        self.looks += 1
        return {"status": "SUCCEEDED" if self.looks == len(self.rounds) else "RUNNING"}

    def get_paginator(self, _):
        return self

    def paginate(self, **_):
        words = [word for part in self.rounds[: self.looks] for word in part.split()]
        yield {"events": [event(number, word) for number, word in enumerate(words, start=1)]}


def event(number, word):
    """An event a second: +Task:A is the entry into the task A, -Task:A the exit from it."""
    kind, name = word[1:].split(":")
    way = "Entered" if word[0] == "+" else "Exited"
    return {
        "id": number,
        "type": f"{kind}State{way}",
        "timestamp": datetime(2017, 1, 15, tzinfo=UTC) + timedelta(seconds=number),
        f"state{way}EventDetails": {"name": name},
    }


@pytest.fixture(name="followed")
def fixture_followed(monkeypatch):
    def followed(*rounds, timeout=60):
        machine = Machine(*rounds)
        monkeypatch.setattr(Environment, "client", lambda self, service: machine)
        monkeypatch.setattr(runs, "POLL_SECONDS", 0)
        return list(follow(ENVIRONMENT, "run", timeout))

    return followed


def test_each_state_is_shown_as_it_is_entered_and_left(followed):
    assert followed("+Task:A", "-Task:A +Task:B -Task:B") == [
        State("A"),
        State("A", 1.0),
        State("B"),
        State("B", 1.0),
    ]


def test_loop_shows_its_states_once_and_no_choices(followed):
    turn = "+Task:Ask -Task:Ask +Choice:Done -Choice:Done"
    assert followed(turn, turn) == [State("Ask"), State("Ask", 1.0), State("Done")]


def test_map_is_one_state(followed):
    assert followed("+Map:Copy +Task:One -Task:One", "+Task:One -Task:One -Map:Copy") == [
        State("Copy"),
        State("Copy", 5.0),
    ]


def test_run_that_takes_too_long_is_left_running_and_said_so(followed):
    with pytest.raises(OperationError, match="has not ended within 0 s and goes on"):
        followed("+Task:A", "-Task:A", timeout=0)


class Machines:
    """Step Functions with executions that end after so many looks at them."""

    def __init__(self, **looks):
        self.looks = looks
        self.asked = None

    def get_paginator(self, _):
        return self

    def paginate(self, **asked):
        self.asked = asked
        yield from ({"executions": [{"executionArn": name}]} for name in self.looks)

    def describe_execution(self, **asked):
        name = asked["executionArn"]
        self.looks[name] -= 1
        return {"status": "RUNNING" if self.looks[name] else "FAILED"}


def test_every_run_that_is_on_its_way_is_waited_for(monkeypatch, capsys):
    machines = Machines(a=3, b=1)
    monkeypatch.setattr(Environment, "client", lambda self, service: machines)
    monkeypatch.setattr(runs, "POLL_SECONDS", 0)
    runs.wait_for_running(ENVIRONMENT, "rebuild")
    assert machines.looks == {"a": 0, "b": 0}
    assert machines.asked == {
        "stateMachineArn": ENVIRONMENT.state_machine_arn,
        "statusFilter": "RUNNING",
    }
    assert capsys.readouterr().err == "rebuild: waits for 2 runs that are on their way\n"
