"""Step Functions: roles, errors, versions, limits, history, logs and metrics are AWS's."""

import json
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

from tests.localaws.workshop import wait_until
from tests.localaws.stepfunctions_machines import Machines, allow, machine, task

PASS = {"Type": "Pass"}
LOG_DELIVERY = allow(
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
)


@pytest.fixture(name="machines", scope="module")
def fixture_machines(local_aws) -> Machines:
    return Machines(local_aws.session("dev"))


def error_code(caught) -> str:
    return caught.value.response["Error"]["Code"]


# ---- tasks and their errors ------------------------------------------------------------------


def test_a_lambda_task_returns_the_payload_of_the_version_it_names(machines):
    name = machines.function("def handler(event, context): return {'n': event['n'] + 1}")
    version = machines.lambda_.publish_version(FunctionName=name)["FunctionArn"]
    arguments = {"FunctionName": version, "Payload": {"n": "{% $states.input.n %}"}}
    output = "{% $states.result %}"
    done = machines.run_task(
        task("lambda:invoke", arguments, Output=output),
        allow("lambda:InvokeFunction", on=version),
        state_input={"n": 41},
    )
    assert done["status"] == "SUCCEEDED", done
    result = json.loads(done["output"])
    assert (result["Payload"], result["StatusCode"], result["ExecutedVersion"]) == (
        {"n": 42},
        200,
        "1",
    )


def test_a_functions_exception_class_is_the_error_and_its_payload_the_cause(machines):
    name = machines.function(
        "class QualityBreach(Exception): pass\n"
        "def handler(event, context): raise QualityBreach('3 of 4 rows rejected')\n"
    )
    caught = {"ErrorEquals": ["QualityBreach"], "Next": "Caught"}
    definition = machine(
        ("Check", task("lambda:invoke", {"FunctionName": name}, Catch=[caught], Next="Missed")),
        ("Missed", {"Type": "Fail"}),
        ("Caught", PASS),
    )
    arn = machines.create(definition, allow("lambda:InvokeFunction"))
    done = machines.run(arn)
    assert done["status"] == "SUCCEEDED", done
    error = json.loads(done["output"])
    assert error["Error"] == "QualityBreach"
    assert json.loads(error["Cause"])["errorMessage"] == "3 of 4 rows rejected"


def test_a_task_may_do_what_its_role_allows_and_no_more(machines):
    name = machines.function("def handler(event, context): return 1")
    denied = machines.run_task(task("lambda:invoke", {"FunctionName": name}))
    assert (denied["status"], denied["error"]) == ("FAILED", "Lambda.AWSLambdaException")
    assert "not authorized to perform: lambda:InvokeFunction" in denied["cause"]

    topic = machines.session.client("sns").create_topic(Name=f"t-{uuid.uuid4().hex[:8]}")
    publish = task("sns:publish", {"TopicArn": topic["TopicArn"], "Message": {"rows": 3}})
    denied = machines.run_task(publish)
    assert denied["status"] == "FAILED" and denied["error"].startswith("SNS."), denied
    done = machines.run_task(publish, allow("sns:Publish", on=topic["TopicArn"]))
    assert "MessageId" in json.loads(done["output"])


def test_objects_are_put_copied_read_and_deleted_by_any_sdk_action(machines):
    bucket, key = machines.bucket(), "in/é file 1.csv"
    reason = {"error": "QualityBreach", "rows": "{% $states.input.rows %}"}
    put = {"Bucket": bucket, "Key": key, "ContentType": "application/json", "Body": reason}
    copy = {
        "Bucket": bucket,
        "Key": "archive/copy",
        "CopySource": f"{bucket}/in/%C3%A9%20file%201.csv",
    }
    definition = machine(
        ("Put", task("aws-sdk:s3:putObject", put, Assign={"etag": "{% $states.result.ETag %}"})),
        ("Copy", task("aws-sdk:s3:copyObject", copy)),
        ("Get", task("aws-sdk:s3:getObject", {"Bucket": bucket, "Key": "archive/copy"})),
        (
            "Delete",
            task(
                "aws-sdk:s3:deleteObject",
                {"Bucket": bucket, "Key": "archive/copy"},
                Output={"read": "{% $states.input %}", "etag": "{% $etag %}"},
            ),
        ),
    )
    policy = allow("s3:PutObject", "s3:GetObject", "s3:DeleteObject", on=f"arn:aws:s3:::{bucket}/*")
    done = machines.run(machines.create(definition, policy), {"rows": 3})
    assert done["status"] == "SUCCEEDED", done
    output = json.loads(done["output"])
    assert json.loads(output["read"]["Body"]) == {"error": "QualityBreach", "rows": 3}
    assert output["read"]["ContentType"] == "application/json"
    assert datetime.fromisoformat(output["read"]["LastModified"]).tzinfo is not None
    assert output["read"]["ETag"] == output["etag"]
    keys = [item["Key"] for item in machines.s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == [key]


@pytest.mark.parametrize(
    ("action", "arguments", "error"),
    [
        ("s3:getObject", {"Bucket": "BUCKET", "Key": "no"}, "S3.NoSuchKeyException"),
        ("s3:headObject", {"Bucket": "BUCKET", "Key": "no"}, "S3.NoSuchKeyException"),
        (
            "s3:copyObject",
            {"Bucket": "BUCKET", "Key": "to", "CopySource": "BUCKET/no"},
            "S3.NoSuchKeyException",
        ),
        ("s3:getObject", {"Bucket": "no-such-bucket-1", "Key": "no"}, "S3.NoSuchBucketException"),
        ("glue:getJob", {"JobName": "no"}, "Glue.EntityNotFoundException"),
        ("dynamodb:describeTable", {"TableName": "none"}, "DynamoDb.ResourceNotFoundException"),
        (
            "redshiftdata:describeStatement",
            {"Id": "00000000-0000-0000-0000-000000000000"},
            "RedshiftData.ResourceNotFoundException",
        ),
        (
            "redshiftdata:executeStatement",
            {"Sql": "SELECT 1", "Database": "d"},
            "RedshiftData.ValidationException",
        ),
    ],
)
def test_an_sdk_actions_errors_have_the_names_of_the_java_sdk(machines, action, arguments, error):
    bucket = machines.bucket()
    filled = {name: value.replace("BUCKET", bucket) for name, value in arguments.items()}
    statement = allow("s3:*", "glue:*", "dynamodb:*", "redshift-data:*")
    done = machines.run_task(task(f"aws-sdk:{action}", filled), statement)
    assert (done["status"], done["error"]) == ("FAILED", error), done["cause"]


def test_a_statement_is_run_and_described_under_the_machines_role(machines, warehouse):
    target = {"WorkgroupName": warehouse.workgroup, "Database": warehouse.database}
    execute = task("aws-sdk:redshiftdata:executeStatement", {**target, "Sql": "SELECT 7"})
    describe = task("aws-sdk:redshiftdata:describeStatement", {"Id": "{% $states.input.Id %}"})
    definition = machine(("Execute", execute), ("Describe", describe))
    may_execute = allow("redshift-data:ExecuteStatement", "redshift-serverless:GetCredentials")
    denied = machines.run(machines.create(definition, may_execute))
    assert denied["error"] == "RedshiftData.RedshiftDataException", denied
    assert "redshift-data:DescribeStatement" in denied["cause"]
    both = [may_execute, allow("redshift-data:DescribeStatement")]
    done = machines.run(machines.create(definition, *both))
    assert done["status"] == "SUCCEEDED", done["cause"]
    assert json.loads(done["output"])["QueryString"] == "SELECT 7"


# ---- Retry, Catch, timeouts, stopping --------------------------------------------------------


def test_retries_wait_no_longer_than_max_delay_seconds(machines):
    retry = {
        "ErrorEquals": ["S3.NoSuchKeyException"],
        "IntervalSeconds": 1,
        "BackoffRate": 50.0,
        "MaxAttempts": 2,
        "MaxDelaySeconds": 2,
    }
    state = task("aws-sdk:s3:getObject", {"Bucket": machines.bucket(), "Key": "no"}, Retry=[retry])
    arn = machines.create(machine(("Get", state)), allow("s3:*"))
    begun = time.monotonic()
    done = machines.run(arn)
    seconds = time.monotonic() - begun
    assert done["error"] == "S3.NoSuchKeyException"
    assert machines.event_types(done["executionArn"]).count("TaskFailed") == 3
    assert 3 <= seconds < 6, "a second, then two instead of fifty"


def test_jitter_spreads_the_delay(machines):
    retry = {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 2,
        "BackoffRate": 1.0,
        "MaxAttempts": 3,
        "JitterStrategy": "FULL",
    }
    state = task("aws-sdk:s3:getObject", {"Bucket": machines.bucket(), "Key": "no"}, Retry=[retry])
    done = machines.run(machines.create(machine(("Get", state)), allow("s3:*")))
    times = [
        event["timestamp"]
        for event in machines.events(done["executionArn"])
        if event["type"] == "TaskScheduled"
    ]
    delays = [(later - earlier).total_seconds() for earlier, later in zip(times, times[1:])]
    assert len(delays) == 3
    assert min(delays) < 1.9, "without jitter each is two seconds"


def test_a_task_times_out_and_its_timeout_is_no_task_failed(machines):
    name = machines.function("import time\ndef handler(event, context): time.sleep(5)", Timeout=10)
    states = task(
        "lambda:invoke",
        {"FunctionName": name},
        TimeoutSeconds=1,
        Catch=[
            {"ErrorEquals": ["States.TaskFailed"], "Next": "Wrong"},
            {"ErrorEquals": ["States.Timeout"], "Next": "Right"},
        ],
    )
    definition = machine(
        ("Slow", states | {"Next": "Right"}),
        ("Right", PASS | {"End": True}),
        ("Wrong", {"Type": "Fail"}),
    )
    begun = time.monotonic()
    done = machines.run(machines.create(definition, allow("lambda:InvokeFunction")))
    assert time.monotonic() - begun < 4
    assert json.loads(done["output"]) == {"Error": "States.Timeout", "Cause": ""}
    assert "TaskTimedOut" in machines.event_types(done["executionArn"])


def test_an_execution_times_out_as_a_whole(machines):
    waiting = {"Type": "Wait", "Seconds": 30}
    arn = machines.create(machine(("Wait", waiting), TimeoutSeconds=1))
    done = machines.run(arn)
    assert (done["status"], done["error"]) == ("TIMED_OUT", "States.Timeout")
    assert machines.event_types(done["executionArn"])[-1] == "ExecutionTimedOut"


def test_a_stopped_execution_stops_at_once(machines):
    bucket = machines.bucket()
    put = task("aws-sdk:s3:putObject", {"Bucket": bucket, "Key": "late", "Body": "x"})
    definition = machine(("Wait", {"Type": "Wait", "Seconds": 2}), ("Put", put))
    execution = machines.start(machines.create(definition, allow("s3:PutObject")))
    machines.states.stop_execution(executionArn=execution, error="Operator", cause="enough")
    done = machines.wait(execution)
    assert (done["status"], done["error"], done["cause"]) == ("ABORTED", "Operator", "enough")
    time.sleep(2.5)
    assert machines.event_types(execution)[-1] == "ExecutionAborted"
    assert "Contents" not in machines.s3.list_objects_v2(Bucket=bucket)


def test_nothing_catches_a_runtime_error(machines):
    bad = task(
        "aws-sdk:s3:getObject",
        {"Bucket": "{% 1 %}", "Key": "k"},
        Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        Next="Caught",
    )
    done = machines.run(machines.create(machine(("Bad", bad), ("Caught", PASS)), allow("s3:*")))
    assert (done["status"], done["error"]) == ("FAILED", "States.Runtime")


def test_branches_and_items_run_with_jsonata(machines):
    def double(name: str) -> dict:
        state = PASS | {"Output": "{% $states.input * 2 %}", "End": True}
        return {"StartAt": name, "States": {name: state}}

    definition = machine(
        (
            "Both",
            {
                "Type": "Parallel",
                "Arguments": "{% $states.input.n %}",
                "Branches": [
                    double("Double"),
                    {"StartAt": "Same", "States": {"Same": PASS | {"End": True}}},
                ],
                "Output": "{% $states.result %}",
            },
        ),
        (
            "Each",
            {
                "Type": "Map",
                "Items": "{% $states.input %}",
                "ItemProcessor": double("DoubleAgain"),
            },
        ),
        ("Done", {"Type": "Succeed", "Output": {"items": "{% $states.input %}"}}),
    )
    done = machines.run(machines.create(definition), {"n": 5})
    assert done["status"] == "SUCCEEDED", done
    assert json.loads(done["output"]) == {"items": [20, 10]}
    assert machines.event_types(done["executionArn"]).count("PassStateEntered") == 4


# ---- versions and aliases --------------------------------------------------------------------


def answer(text: str) -> dict:
    return machine(("Answer", PASS | {"Output": text}))


def test_a_version_and_an_alias_run_what_they_name(machines):
    arn = machines.create(answer("old"))
    old = machines.states.publish_state_machine_version(stateMachineArn=arn)
    old = old["stateMachineVersionArn"]
    machines.states.update_state_machine(
        stateMachineArn=arn, definition=json.dumps(answer("new")), roleArn=machines.machine_role()
    )
    alias = machines.states.create_state_machine_alias(
        name="live", routingConfiguration=[{"stateMachineVersionArn": old, "weight": 100}]
    )["stateMachineAliasArn"]

    by_alias = machines.run(alias)
    assert json.loads(by_alias["output"]) == "old"
    assert by_alias["stateMachineVersionArn"] == old
    assert by_alias["stateMachineAliasArn"] == alias
    assert by_alias["stateMachineArn"] == arn
    ran = machines.states.describe_state_machine_for_execution(
        executionArn=by_alias["executionArn"]
    )
    assert json.loads(ran["definition"]) == answer("old")

    by_machine = machines.run(arn)
    assert json.loads(by_machine["output"]) == "new"
    assert "stateMachineVersionArn" not in by_machine

    new = machines.states.publish_state_machine_version(stateMachineArn=arn)
    new = new["stateMachineVersionArn"]
    machines.states.update_state_machine_alias(
        stateMachineAliasArn=alias,
        routingConfiguration=[{"stateMachineVersionArn": new, "weight": 100}],
    )
    assert json.loads(machines.run(alias)["output"]) == "new"
    assert json.loads(machines.run(old)["output"]) == "old"
    listed = machines.states.list_executions(stateMachineArn=alias)["executions"]
    assert [run["stateMachineVersionArn"] for run in listed] == [new, old]


def test_a_version_runs_as_its_own_role(machines):
    bucket = machines.bucket()
    get = task("aws-sdk:s3:listObjectsV2", {"Bucket": bucket})
    arn = machines.create(machine(("List", get)), allow("s3:ListBucket"))
    version = machines.states.publish_state_machine_version(stateMachineArn=arn)
    machines.states.update_state_machine(stateMachineArn=arn, roleArn=machines.machine_role())
    assert machines.run(version["stateMachineVersionArn"])["status"] == "SUCCEEDED"
    assert machines.run(arn)["status"] == "FAILED"


def test_an_execution_keeps_the_definition_it_started_with(machines):
    slow = machine(("Wait", {"Type": "Wait", "Seconds": 1}), ("Answer", PASS | {"Output": "first"}))
    arn = machines.create(slow)
    execution = machines.start(arn)
    machines.states.update_state_machine(
        stateMachineArn=arn, definition=json.dumps(answer("second"))
    )
    assert json.loads(machines.wait(execution)["output"]) == "first"


def test_what_did_not_change_is_the_same_version(machines):
    role = machines.machine_role()
    arn = machines.create(answer("a"), roleArn=role)
    publish = machines.states.publish_state_machine_version

    def version() -> str:
        return publish(stateMachineArn=arn)["stateMachineVersionArn"]

    def update(**changed) -> str:
        return machines.states.update_state_machine(stateMachineArn=arn, publish=True, **changed)[
            "stateMachineVersionArn"
        ]

    assert version() == version() == f"{arn}:1"
    assert update(definition=json.dumps(answer("a")), roleArn=role) == f"{arn}:1"
    assert update(definition=json.dumps(answer("b"))) == f"{arn}:2"
    assert update(roleArn=machines.machine_role()) == f"{arn}:3"
    assert version() == f"{arn}:3"


# ---- StartExecution --------------------------------------------------------------------------


def test_the_same_start_twice_is_one_execution_while_it_runs(machines):
    arn = machines.create(machine(("Wait", {"Type": "Wait", "Seconds": 1})))
    first = machines.states.start_execution(stateMachineArn=arn, name="one", input='{"n":1}')
    again = machines.states.start_execution(stateMachineArn=arn, name="one", input='{"n":1}')
    assert again["executionArn"] == first["executionArn"]
    assert again["startDate"] == first["startDate"]
    with pytest.raises(ClientError) as caught:
        machines.states.start_execution(stateMachineArn=arn, name="one", input='{"n":2}')
    assert error_code(caught) == "ExecutionAlreadyExists"
    machines.wait(first["executionArn"])
    with pytest.raises(ClientError) as caught:
        machines.states.start_execution(stateMachineArn=arn, name="one", input='{"n":1}')
    assert error_code(caught) == "ExecutionAlreadyExists"


@pytest.mark.parametrize(
    ("name", "state_input", "error"),
    [
        ("two words", "{}", "InvalidName"),
        ("a/b", "{}", "InvalidName"),
        ("n" * 81, "{}", "InvalidName"),
        ("name", "{no json", "InvalidExecutionInput"),
        ("name", json.dumps("x" * 262144), "ValidationException"),
    ],
)
def test_a_bad_name_or_input_starts_nothing(machines, name, state_input, error):
    arn = machines.create(machine(("Pass", PASS)))
    with pytest.raises(ClientError) as caught:
        machines.states.start_execution(stateMachineArn=arn, name=name, input=state_input)
    assert error_code(caught) == error


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("StartAt"), "StartAt"),
        (lambda m: m.update(StartAt="Nowhere"), "Nowhere"),
        (lambda m: m["States"]["First"].update(Next="Nowhere"), "Nowhere"),
        (lambda m: m["States"].update(Island=PASS | {"End": True}), "Island"),
        (lambda m: m["States"]["First"].pop("Next"), "Next"),
        (lambda m: m["States"]["First"].update(Parameters={}), "Parameters"),
        (lambda m: m["States"]["First"].update(Type="Tusk"), "Tusk"),
        (lambda m: m["States"]["Second"].update(Resource="arn:aws:states:::s4:put"), "s4:put"),
        (
            lambda m: m["States"]["Second"].update(
                Resource="arn:aws:states:::aws-sdk:s3:putObjekt"
            ),
            "putObjekt",
        ),
        (lambda m: m["States"]["Second"]["Arguments"].update(Buckett="b"), "Buckett"),
        (lambda m: m["States"]["Second"]["Arguments"].pop("Bucket"), "Bucket"),
    ],
)
def test_an_invalid_definition_is_refused_and_changes_nothing(machines, change, words):
    good = machine(
        ("First", PASS), ("Second", task("aws-sdk:s3:getObject", {"Bucket": "b", "Key": "k"}))
    )
    arn = machines.create(good)
    bad = json.loads(json.dumps(good))
    change(bad)
    with pytest.raises(ClientError) as caught:
        machines.states.update_state_machine(stateMachineArn=arn, definition=json.dumps(bad))
    assert error_code(caught) == "InvalidDefinition"
    assert words in str(caught.value)
    with pytest.raises(ClientError) as caught:
        machines.create(bad)
    assert error_code(caught) == "InvalidDefinition"
    kept = machines.states.describe_state_machine(stateMachineArn=arn)["definition"]
    assert json.loads(kept) == good


def test_a_role_that_step_functions_may_not_assume_is_refused(machines):
    with pytest.raises(ClientError) as caught:
        machines.create(answer("a"), roleArn=machines.role())  # trusts Lambda
    assert error_code(caught) == "AccessDeniedException"
    assert "states.amazonaws.com" in str(caught.value)


# ---- logs, metrics, history ------------------------------------------------------------------


def log_settings(machines, level: str, data: bool) -> tuple[str, dict]:
    group = f"/aws/vendedlogs/states/{uuid.uuid4().hex[:8]}"
    machines.logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:us-east-1:111111111111:log-group:{group}:*"
    destination = {"cloudWatchLogsLogGroup": {"logGroupArn": arn}}
    return group, {"level": level, "includeExecutionData": data, "destinations": [destination]}


def test_each_event_is_a_line_of_json_in_the_machines_log(machines):
    group, logging = log_settings(machines, "ALL", True)
    arn = machines.create(answer("logged"), LOG_DELIVERY, loggingConfiguration=logging)
    done = machines.run(arn, {"n": 1})
    wait_until(lambda: len(machines.messages(group)) >= 4)
    lines = [json.loads(text) for text in machines.messages(group)]
    types = ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    assert [line["type"] for line in lines] == types
    assert {line["execution_arn"] for line in lines} == {done["executionArn"]}
    assert json.loads(lines[0]["details"]["input"]) == {"n": 1}
    assert [line["previous_event_id"] for line in lines] == ["0", "1", "2", "3"]


def test_level_error_logs_errors_only_and_no_data_unless_told(machines):
    group, logging = log_settings(machines, "ERROR", False)
    failing = machine(("No", {"Type": "Fail", "Error": "Boom", "Cause": "because"}))
    arn = machines.create(failing, LOG_DELIVERY, loggingConfiguration=logging)
    machines.run(arn)
    wait_until(lambda: len(machines.messages(group)) >= 2)
    lines = [json.loads(text) for text in machines.messages(group)]
    assert [line["type"] for line in lines] == ["FailStateEntered", "ExecutionFailed"]
    assert lines[1]["details"] == {"error": "Boom", "cause": "because"}
    assert "input" not in lines[0]["details"]


def test_a_role_that_may_not_deliver_logs_is_refused(machines):
    _, logging = log_settings(machines, "ALL", False)
    with pytest.raises(ClientError) as caught:
        machines.create(answer("a"), loggingConfiguration=logging)
    assert error_code(caught) == "AccessDeniedException"
    assert "logs:CreateLogDelivery" in str(caught.value)


def test_each_end_is_counted_for_its_machine(machines):
    good = machines.create(answer("a"))
    bad = machines.create(machine(("No", {"Type": "Fail"})))
    late = machines.create(machine(("Wait", {"Type": "Wait", "Seconds": 9}), TimeoutSeconds=1))
    slow = machines.create(machine(("Wait", {"Type": "Wait", "Seconds": 9})))
    for arn in (good, bad, late):
        machines.run(arn)
    stopped = machines.start(slow)
    machines.states.stop_execution(executionArn=stopped)
    cloudwatch = machines.session.client("cloudwatch")
    now = datetime.now(timezone.utc)

    def total(arn: str, metric: str) -> float:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/States",
            MetricName=metric,
            Dimensions=[{"Name": "StateMachineArn", "Value": arn}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=600,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)

    metrics = ("Succeeded", "Failed", "TimedOut", "Aborted")
    counts = [
        [total(arn, f"Executions{metric}") for metric in metrics] for arn in (good, bad, late, slow)
    ]
    assert counts == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_a_task_leaves_its_whole_story_in_the_history(machines):
    bucket = machines.bucket()
    listed = task("aws-sdk:s3:listObjectsV2", {"Bucket": bucket}, TimeoutSeconds=9)
    done = machines.run_task(listed, allow("s3:ListBucket"))
    events = machines.events(done["executionArn"])
    assert [event["type"] for event in events] == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]
    scheduled = events[2]["taskScheduledEventDetails"]
    assert (scheduled["resourceType"], scheduled["resource"]) == ("aws-sdk:s3", "listObjectsV2")
    assert json.loads(scheduled["parameters"]) == {"Bucket": bucket}
    assert scheduled["timeoutInSeconds"] == 9


def test_tracing_is_what_was_asked_for_last(machines):
    pass_ = json.dumps(machine(("Only", {"Type": "Pass"})))
    arn = machines.states.create_state_machine(
        name=f"machine-{uuid.uuid4().hex[:8]}",
        definition=pass_,
        roleArn=machines.machine_role(),
        tracingConfiguration={"enabled": True},
    )["stateMachineArn"]

    def tracing():
        return machines.states.describe_state_machine(stateMachineArn=arn)["tracingConfiguration"]

    assert tracing() == {"enabled": True}
    machines.states.update_state_machine(stateMachineArn=arn, definition=pass_)
    assert tracing() == {"enabled": True}
    machines.states.update_state_machine(
        stateMachineArn=arn, tracingConfiguration={"enabled": False}
    )
    assert tracing() == {"enabled": False}
