"""What is deployed survives `make down`: the next file goes through as if nothing had been."""

from datetime import date

from ops.aws import metric_alarms
from ops.data import real_feed

from tests.e2e.project import PREFIX
from tests.e2e.reference import expect
from tests.e2e.warehouse import table


def deployed(project) -> dict[str, object]:
    """Return what CloudFormation has made: stacks, their resources, alarms, what keys' names mean.

    What only time changes, such as an alarm's state, is left out.
    """
    cloudformation, keys = project.client("cloudformation"), project.client("kms")
    stacks = cloudformation.get_paginator("describe_stacks").paginate().search("Stacks[]")
    kept = ("StackId", "StackStatus", "CreationTime", "LastUpdatedTime", "Parameters", "Outputs")
    return {
        "stacks": {
            stack["StackName"]: {
                **{name: stack.get(name) for name in kept},
                "resources": {
                    resource["LogicalResourceId"]: resource["PhysicalResourceId"]
                    for page in cloudformation.get_paginator("list_stack_resources").paginate(
                        StackName=stack["StackName"]
                    )
                    for resource in page["StackResourceSummaries"]
                },
            }
            for stack in stacks
        },
        "alarms": {
            alarm["AlarmName"]: {
                name: value for name, value in alarm.items() if not name.startswith("State")
            }
            for alarm in metric_alarms(project.client("cloudwatch"), PREFIX)
        },
        "keys": {
            alias["AliasName"]: alias["TargetKeyId"]
            for alias in keys.list_aliases()["Aliases"]
            if alias["AliasName"].startswith(f"alias/{PREFIX}")
        },
    }


def test_after_down_and_up_all_is_there_and_a_file_becomes_rows(project):
    # GIVEN a deployed environment with rows, stopped
    before = project.query("select count(*) from products")
    live, made = project.live_version(), deployed(project)
    assert all(made.values()), made
    stopped = project.make("down")
    assert stopped.returncode == 0, stopped.stderr

    # WHEN a file is fed, which starts local AWS
    (day,) = real_feed.PRODUCTS.files([date(2017, 3, 15)])
    done = project.feed(day)

    # THEN it is loaded whole by the release that was live, beside the rows that were there
    assert done.returncode == 0, done.stderr
    assert project.live_version() == live
    assert table(project, day) == expect(day).fingerprint()
    loaded = expect(day).loaded
    assert project.query("select count(*) from products") == [str(int(before[0]) + loaded)]
    # AND all that was deployed is there as it was, so that a deploy has nothing to do
    assert deployed(project) == made
    again = project.make("deploy", "ENV=dev")
    assert again.returncode == 0, again.stderr
    assert "deploy: nothing to do" in again.stderr, again.stderr
    assert deployed(project) == made
