"""State machines of the dev account, for the tests of localaws."""

import json
import time
import uuid

from tests.localaws.workshop import Workshop

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "states.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
NOTHING = {"Effect": "Deny", "Action": "s3:CreateBucket", "Resource": "*"}


def allow(*actions: str, on: str | list[str] = "*") -> dict:
    """Return a policy statement."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": on}


def machine(*states: tuple[str, dict], **fields) -> dict:
    """Return a JSONata definition whose states follow each other."""
    names = [name for name, _ in states]
    return {
        "QueryLanguage": "JSONata",
        "StartAt": names[0],
        "States": {
            name: (
                state
                if state["Type"] in ("Fail", "Succeed", "Choice") or "End" in state
                else state | ({"Next": names[index + 1]} if names[index + 1 :] else {"End": True})
            )
            for index, (name, state) in enumerate(states)
        },
        **fields,
    }


def task(resource: str, arguments: dict | None = None, **fields) -> dict:
    """Return a Task state that calls ``arn:aws:states:::<resource>``."""
    state = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", **fields}
    return state if arguments is None else state | {"Arguments": arguments}


class Machines(Workshop):
    """Makes state machines, each with a role and a name of its own, and runs them."""

    def __init__(self, session):
        super().__init__(session)
        self.states = session.client("stepfunctions")
        self.s3 = session.client("s3")

    def machine_role(self, *statements) -> str:
        """Make a role that Step Functions may assume, with these statements."""
        return self.role(*(statements or [NOTHING]), trust=TRUST)

    def create(self, definition: dict, *statements, **settings) -> str:
        """Make a state machine; return its ARN."""
        return self.states.create_state_machine(
            **{
                "name": f"machine-{uuid.uuid4().hex[:8]}",
                "definition": json.dumps(definition),
                "roleArn": settings.pop("roleArn", None) or self.machine_role(*statements),
                **settings,
            }
        )["stateMachineArn"]

    def start(self, arn: str, state_input=None, **settings) -> str:
        """Start an execution; return its ARN."""
        return self.states.start_execution(
            stateMachineArn=arn, input=json.dumps(state_input or {}), **settings
        )["executionArn"]

    def wait(self, execution: str, seconds: float = 60) -> dict:
        """Return the description of an execution that has ended."""
        deadline = time.monotonic() + seconds
        while True:
            description = self.states.describe_execution(executionArn=execution)
            if description["status"] != "RUNNING":
                return description
            assert time.monotonic() < deadline, f"{execution} still runs"
            time.sleep(0.05)

    def run(self, arn: str, state_input=None, **settings) -> dict:
        """Start an execution and return its description when it has ended."""
        return self.wait(self.start(arn, state_input, **settings))

    def run_task(self, state: dict, *statements, state_input=None) -> dict:
        """Run a machine of this one state under a role with these statements."""
        return self.run(self.create(machine(("Only", state)), *statements), state_input)

    def events(self, execution: str) -> list[dict]:
        """Return the execution's whole history."""
        pages = self.states.get_paginator("get_execution_history")
        found = pages.paginate(executionArn=execution)
        return [event for page in found for event in page["events"]]

    def event_types(self, execution: str) -> list[str]:
        """Return the types of the events in the execution's history."""
        return [event["type"] for event in self.events(execution)]
