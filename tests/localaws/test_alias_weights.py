"""Aliases with two versions route each start and each invocation at random, by weight, as AWS.

A count is held against the narrowest bounds that a fair draw leaves less often than once in a
million.
"""

import json
import math
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.localaws.workshop import Workshop, archive, wait_until
from tests.localaws.stepfunctions_machines import Machines, machine

ONCE_IN_A_MILLION = 1e-6


def bounds(draws: int, share: float) -> range:
    """Return the counts that a binomial draw stays within, but for once in a million."""

    def chance(count):
        return math.comb(draws, count) * share**count * (1 - share) ** (draws - count)

    low, high, outside = 0, draws, 0.0
    while outside + (least := min(chance(low), chance(high))) < ONCE_IN_A_MILLION:
        outside += least
        low, high = (low + 1, high) if chance(low) <= chance(high) else (low, high - 1)
    return range(low, high + 1)


def test_the_bounds_are_those_of_the_binomial_distribution():
    assert bounds(19, 0.5) == range(0, 20)  # one end alone is 1 in 2**19: twice in a million
    assert bounds(21, 0.5) == range(1, 21)
    assert bounds(400, 0.25) == range(60, 145)


# ---- state machines --------------------------------------------------------------------------


@pytest.fixture(name="machines", scope="module")
def fixture_machines(local_aws):
    return Machines(local_aws.session("dev"))


@pytest.fixture(name="alias", scope="module")
def fixture_alias(machines):
    """The ARNs of an alias and of the two versions of its state machine."""
    definitions = [
        json.dumps(machine(("Answer", {"Type": "Pass", "Output": text}))) for text in ("a", "b")
    ]
    arn = machines.create(json.loads(definitions[0]))
    publish = machines.states.publish_state_machine_version
    first = publish(stateMachineArn=arn)["stateMachineVersionArn"]
    machines.states.update_state_machine(stateMachineArn=arn, definition=definitions[1])
    second = publish(stateMachineArn=arn)["stateMachineVersionArn"]
    alias = machines.states.create_state_machine_alias(
        name="live", routingConfiguration=[{"stateMachineVersionArn": first, "weight": 100}]
    )["stateMachineAliasArn"]
    return alias, first, second


def route(machines, alias, *weights):
    machines.states.update_state_machine_alias(
        stateMachineAliasArn=alias,
        routingConfiguration=[
            {"stateMachineVersionArn": version, "weight": weight} for version, weight in weights
        ],
    )


def started(machines, alias, count):
    """Start executions of the alias; return how many each version ran, as they say themselves."""
    with ThreadPoolExecutor(8) as pool:
        arns = list(pool.map(lambda _: machines.start(alias), range(count)))
        runs = list(pool.map(machines.wait, arns))
    assert {run["stateMachineAliasArn"] for run in runs} == {alias}
    return Counter(run["stateMachineVersionArn"] for run in runs), {
        (run["stateMachineVersionArn"], run["output"]) for run in runs
    }


def test_executions_are_started_by_weight_and_run_what_they_say(machines, alias):
    name, first, second = alias
    route(machines, name, (first, 75), (second, 25))

    counts, outputs = started(machines, name, 400)

    assert counts[second] in bounds(400, 0.25), counts
    assert counts[first] + counts[second] == 400
    assert outputs == {(first, '"a"'), (second, '"b"')}
    listed = machines.states.get_paginator("list_executions").paginate(stateMachineArn=second)
    assert sum(len(page["executions"]) for page in listed) == counts[second]


@pytest.mark.parametrize(("weight", "runs"), [(0, 1), (100, 2)])
def test_a_version_of_weight_0_is_never_started(machines, alias, weight, runs):
    name, *versions = alias
    route(machines, name, (versions[0], 100 - weight), (versions[1], weight))

    counts, _ = started(machines, name, 100)

    assert counts == {versions[runs - 1]: 100}


def test_a_name_is_one_execution_whatever_version_it_would_have_been(machines, alias):
    name, first, second = alias
    route(machines, name, (first, 50), (second, 50))
    run = uuid.uuid4().hex

    def start(_):
        try:
            return machines.start(name, name=run)
        except ClientError as error:  # it has ended by now
            assert error.response["Error"]["Code"] == "ExecutionAlreadyExists"
            return None

    with ThreadPoolExecutor(8) as pool:
        arns = set(pool.map(start, range(60))) - {None}

    assert len(arns) == 1
    (arn,) = arns
    assert machines.event_types(machines.wait(arn)["executionArn"]).count("ExecutionStarted") == 1


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param((60, 60), id="more than 100"),
        pytest.param((60, 30), id="less than 100"),
        pytest.param((50, 25, 25), id="three versions"),
    ],
)
def test_weights_that_aws_refuses(machines, alias, weights):
    name, first, second = alias
    versions = (first, second, f"{first}0")
    route(machines, name, (first, 100))

    with pytest.raises(ClientError) as refused:
        route(machines, name, *zip(versions, weights))

    assert refused.value.response["Error"]["Code"] == "ValidationException"
    described = machines.states.describe_state_machine_alias(stateMachineAliasArn=name)
    assert described["routingConfiguration"] == [{"stateMachineVersionArn": first, "weight": 100}]


# ---- Lambda ----------------------------------------------------------------------------------

SAYS_ITS_VERSION = (
    "def handler(event, context):\n"
    "    print(f'ran {context.function_version} as {context.invoked_function_arn}')\n"
    "    return [context.function_version, context.invoked_function_arn, VERSION]\n"
)


@pytest.fixture(name="workshop", scope="module")
def fixture_workshop(local_aws):
    return Workshop(local_aws.session("dev"))


@pytest.fixture(name="function")
def fixture_function(workshop):
    """A function's name and its alias' ARN, which is at version 1 of 2."""
    name = workshop.function(f"VERSION = '1'\n{SAYS_ITS_VERSION}", MemorySize=256)
    workshop.lambda_.publish_version(FunctionName=name)
    second = archive({"app.py": f"VERSION = '2'\n{SAYS_ITS_VERSION}"})
    workshop.lambda_.update_function_code(FunctionName=name, ZipFile=second)
    workshop.lambda_.get_waiter("function_updated_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1}
    )
    workshop.lambda_.publish_version(FunctionName=name)
    live = workshop.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return name, live["AliasArn"]


def weigh(workshop, function, weights, primary="1"):
    return workshop.lambda_.update_alias(
        FunctionName=function[0],
        Name="live",
        FunctionVersion=primary,
        RoutingConfig={"AdditionalVersionWeights": weights},
    )


def invocations(workshop, name, version):
    """Return how many invocations by the alias CloudWatch has of a version."""
    dimensions = {"FunctionName": name, "Resource": f"{name}:live", "ExecutedVersion": version}
    found = workshop.session.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime="2017-01-01T00:00:00Z",
        EndTime="2099-01-01T00:00:00Z",
        Period=86400,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in found)


def test_invocations_go_to_a_version_by_weight_and_the_answer_names_it(workshop, function):
    name, live = function
    weigh(workshop, function, {"2": 0.25})
    counts = Counter()
    for number in range(200):
        # Both ways to name an alias.
        by_name = {"FunctionName": name, "Qualifier": "live"}
        answer = workshop.lambda_.invoke(**(by_name if number % 2 else {"FunctionName": live}))
        version = answer["ExecutedVersion"]
        counts[version] += 1
        assert json.load(answer["Payload"]) == [version, live, version]
    assert counts["2"] in bounds(200, 0.25), counts
    assert counts["1"] + counts["2"] == 200
    for version in ("1", "2"):
        assert invocations(workshop, name, version) == counts[version]


@pytest.mark.parametrize(("weight", "runs"), [(0.0, "1"), (1.0, "2")])
def test_a_version_of_weight_0_is_never_invoked(workshop, function, weight, runs):
    weigh(workshop, function, {"2": weight})
    for _ in range(50):
        assert workshop.lambda_.invoke(FunctionName=function[1])["ExecutedVersion"] == runs


def ran(workshop, name):
    """Return how often each version said that it ran, and as which ARN."""
    lines = workshop.messages(f"/aws/lambda/{name}")
    return Counter(line.strip() for line in lines if line.startswith("ran "))


@pytest.mark.parametrize("way", ["asynchronously", "by EventBridge"])
def test_events_go_to_a_version_by_weight(workshop, function, way):
    name, live = function
    weigh(workshop, function, {"2": 0.5})
    if way == "asynchronously":
        for _ in range(60):
            workshop.lambda_.invoke(FunctionName=live, InvocationType="Event", Payload=b"{}")
    else:
        send_through_a_rule(workshop, name, live, 60)

    wait_until(lambda: sum(ran(workshop, name).values()) == 60, seconds=60)

    counts = ran(workshop, name)
    assert set(counts) == {f"ran 1 as {live}", f"ran 2 as {live}"}
    assert counts[f"ran 2 as {live}"] in bounds(60, 0.5), counts


def send_through_a_rule(workshop, name, target, count):
    """Send events to the target through a rule of EventBridge."""
    events, source = workshop.session.client("events"), f"test.{uuid.uuid4().hex[:12]}"
    rule = events.put_rule(Name=source, EventPattern=json.dumps({"source": [source]}))["RuleArn"]
    workshop.lambda_.add_permission(
        FunctionName=name,
        Qualifier="live",
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )
    events.put_targets(Rule=source, Targets=[{"Id": "function", "Arn": target}])
    entry = {"Source": source, "DetailType": "test", "Detail": "{}"}
    for _ in range(count // 10):
        assert events.put_events(Entries=[entry] * 10)["FailedEntryCount"] == 0


@pytest.mark.parametrize(
    ("weights", "primary", "code"),
    [
        pytest.param({"2": 1.5}, "1", "InvalidParameterValueException", id="above 1"),
        pytest.param({"1": 0.5}, "1", "InvalidParameterValueException", id="twice the same"),
        pytest.param({"2": 0.1, "1": 0.1}, "1", "InvalidParameterValueException", id="three"),
        pytest.param({"2": 0.1}, "$LATEST", "InvalidParameterValueException", id="$LATEST"),
        pytest.param({"9": 0.1}, "1", "ResourceNotFoundException", id="no such version"),
    ],
)
def test_alias_weights_that_lambda_refuses(workshop, function, weights, primary, code):
    with pytest.raises(ClientError) as refused:
        weigh(workshop, function, weights, primary)
    assert refused.value.response["Error"]["Code"] == code
    alias = workshop.lambda_.get_alias(FunctionName=function[0], Name="live")
    assert alias["FunctionVersion"] == "1" and "RoutingConfig" not in alias


def test_weights_are_taken_back_by_giving_none(workshop, function):
    weigh(workshop, function, {"2": 1.0})
    assert weigh(workshop, function, {}).get("RoutingConfig") is None
    assert workshop.lambda_.invoke(FunctionName=function[1])["ExecutedVersion"] == "1"


def test_versions_of_two_roles_cannot_share_an_alias(workshop, function):
    name = function[0]
    workshop.lambda_.update_function_configuration(FunctionName=name, Role=workshop.role())
    workshop.lambda_.get_waiter("function_updated_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1}
    )
    workshop.lambda_.publish_version(FunctionName=name)
    with pytest.raises(ClientError, match="must have the same Role"):
        weigh(workshop, function, {"3": 0.1})
