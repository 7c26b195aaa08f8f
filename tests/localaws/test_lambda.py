"""Lambda: errors, environment, permissions, logs, metrics and versions are AWS's."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError

from tests.localaws.workshop import LOGS, TRUST, Workshop, archive, wait_until

ACCOUNT = "111111111111"


@pytest.fixture(name="workshop", scope="module")
def fixture_workshop(local_aws):
    return Workshop(local_aws.session("dev"))


def test_a_handlers_exception_keeps_its_class(workshop):
    name = workshop.function(
        "class QualityBreach(Exception): pass\n"
        "def handler(event, context): raise QualityBreach('3 of 4 rows rejected')\n"
    )
    answer, fault = workshop.invoke(name)
    assert fault == "Unhandled"
    assert answer["errorType"] == "QualityBreach"
    assert answer["errorMessage"] == "3 of 4 rows rejected"
    assert '"/var/task/app.py", line 2, in handler' in answer["stackTrace"][0]


@pytest.mark.parametrize(
    ("code", "handler", "type_", "message"),
    [
        ("import missing_module", "app.handler", "Runtime.ImportModuleError", "missing_module"),
        ("def handler(:", "app.handler", "Runtime.UserCodeSyntaxError", "app"),
        ("", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing"),
        ("", "app", "Runtime.MalformedHandlerName", "Bad handler 'app'"),
        (
            "def handler(event, context): return {1, 2}",
            "app.handler",
            "Runtime.MarshalError",
            "not JSON serializable",
        ),
        (
            "import os\ndef handler(event, context): os._exit(7)",
            "app.handler",
            "Runtime.ExitError",
            "exit status 7",
        ),
    ],
)
def test_a_function_that_cannot_run_says_why(workshop, code, handler, type_, message):
    name = workshop.function(code, Handler=handler)
    answer, fault = workshop.invoke(name)
    assert (fault, answer["errorType"]) == ("Unhandled", type_)
    assert message in answer["errorMessage"]


def test_a_function_ends_at_its_timeout_and_works_again(workshop):
    name = workshop.function(
        "import time\n"
        "def handler(event, context):\n"
        "    print('before the sleep')\n"
        "    time.sleep(event['seconds'])\n"
        "    return context.get_remaining_time_in_millis()\n",
        Timeout=1,
    )
    answer, fault = workshop.invoke(name, {"seconds": 30})
    assert (fault, answer["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert answer["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert "before the sleep" in workshop.messages(f"/aws/lambda/{name}")

    remaining, fault = workshop.invoke(name, {"seconds": 0})
    assert fault is None
    assert 0 < remaining <= 1000


def test_what_a_handler_started_ends_with_its_timeout(workshop, tmp_path):
    mark = tmp_path / "still-alive"
    name = workshop.function(
        "import subprocess, time\n"
        "def handler(event, context):\n"
        "    subprocess.Popen(['sh', '-c', f'sleep 2; touch {event}'])\n"
        "    time.sleep(30)\n",
        Timeout=1,
    )
    workshop.invoke(name, str(mark))
    time.sleep(2)
    assert not mark.exists()


def test_the_environment_is_aws_and_nothing_of_this_machine(workshop, local_aws):
    name = workshop.function(
        "import os, sys\n"
        "def handler(event, context): return {'env': dict(os.environ), 'path': sys.path}\n",
        Environment={"Variables": {"STAGE": "dev"}},
        MemorySize=256,
    )
    answer, _ = workshop.invoke(name)
    environment = answer["env"]
    assert environment["STAGE"] == "dev"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert environment["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["AWS_REGION"] == "us-east-1"
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.11"
    assert environment["AWS_ENDPOINT_URL"] == local_aws.url
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert not [name for name in environment if name.startswith(("LOCALAWS_", "GATEWAY_", "S3_"))]
    assert not [folder for folder in answer["path"] if "/localaws/lib" in folder]


@pytest.mark.parametrize("module", ["ministack", "pyarrow", "pyspark", "localaws", "psutil"])
def test_packages_of_this_machine_cannot_be_imported(workshop, module):
    name = workshop.function(f"import {module}\ndef handler(event, context): pass\n")
    answer, _ = workshop.invoke(name)
    assert answer["errorType"] == "Runtime.ImportModuleError"


def test_a_layer_is_on_the_path_after_the_functions_own_code(workshop):
    layer = workshop.lambda_.publish_layer_version(
        LayerName="two-modules",
        Content={
            "ZipFile": archive(
                {"python/shared.py": "WHO = 'layer'", "python/both.py": "WHO = 'layer'"}
            )
        },
    )
    code = (
        "import both, shared, boto3\n"
        "def handler(event, context): return [shared.WHO, both.WHO, boto3.__version__]\n"
    )
    name = workshop.function(
        "",
        Code={"ZipFile": archive({"app.py": code, "both.py": "WHO = 'function'"})},
        Layers=[layer["LayerVersionArn"]],
    )
    answer, _ = workshop.invoke(name)
    assert answer == ["layer", "function", "1.43.106"]


def test_the_context_names_the_invocation_the_version_and_the_alias(workshop):
    name = workshop.function(
        "def handler(event, context):\n"
        "    return [context.aws_request_id, context.function_version,\n"
        "            context.invoked_function_arn, context.log_group_name,\n"
        "            context.log_stream_name]\n"
    )
    version = workshop.lambda_.publish_version(FunctionName=name)["Version"]
    workshop.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"

    (request, executed, invoked, group, stream), _ = workshop.invoke(f"{arn}:live")
    assert (executed, invoked) == ("1", f"{arn}:live")
    assert group == f"/aws/lambda/{name}"
    (_, executed, invoked, _, same_stream), _ = workshop.invoke(name, Qualifier="1")
    assert (executed, invoked) == ("1", f"{arn}:1")
    assert same_stream == stream, "one environment, one log stream"
    (_, executed, invoked, _, other_stream), _ = workshop.invoke(name)
    assert (executed, invoked) == ("$LATEST", arn)
    assert other_stream != stream

    events = workshop.logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    lines = [event["message"] for event in events]
    assert lines[0] == f"START RequestId: {request} Version: 1"
    assert lines[1] == f"END RequestId: {request}"
    assert lines[2].startswith(f"REPORT RequestId: {request}\tDuration: ")
    assert "Init Duration" in lines[2]
    assert "Init Duration" not in lines[5]


def test_every_line_belongs_to_its_own_invocation(workshop):
    name = workshop.function(
        "import logging, os, sys\n"
        "def handler(event, context):\n"
        "    for line in range(300): print(event['id'], line)\n"
        "    os.system(f\"echo {event['id']} from a child\")\n"
        "    print(event['id'], 'on stderr', file=sys.stderr)\n"
        "    logging.getLogger().error('two\\nlines')\n"
    )
    for id_ in "ab":
        workshop.invoke(name, {"id": id_})
    lines = workshop.messages(f"/aws/lambda/{name}")
    ends = [number for number, line in enumerate(lines) if line.startswith("END ")]
    for id_, end in zip("ab", ends):
        own = lines[end - 303 : end]
        assert own[:300] == [f"{id_} {number}" for number in range(300)]
        assert own[300:302] == [f"{id_} from a child", f"{id_} on stderr"]
        assert own[302].startswith("[ERROR]\t") and own[302].endswith("\ttwo\nlines")


def test_the_tail_of_the_log_comes_with_the_answer(workshop):
    name = workshop.function("def handler(event, context): print('said')\n")
    answer = workshop.lambda_.invoke(FunctionName=name, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert [tail[0][:5], tail[1], tail[2][:3], tail[3][:6]] == ["START", "said", "END", "REPORT"]


def test_json_logs_are_json_throughout(workshop):
    name = workshop.function(
        "import logging\n"
        "def handler(event, context):\n"
        "    logging.getLogger('etl').info('loaded', extra={'rows': 3})\n",
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"},
    )
    workshop.invoke(name)
    start, own, report = map(json.loads, workshop.messages(f"/aws/lambda/{name}"))
    assert start["type"] == "platform.start"
    assert (own["level"], own["message"], own["rows"]) == ("INFO", "loaded", 3)
    assert own["requestId"] == start["record"]["requestId"]
    assert report["record"]["status"] == "success"


def test_a_role_without_permission_for_logs_leaves_none(workshop):
    nothing = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}
    name = workshop.function(
        "def handler(event, context): print('unheard')", role=workshop.role(nothing)
    )
    assert workshop.invoke(name) == (None, None)
    assert workshop.messages(f"/aws/lambda/{name}") == []


PUTS = """
import boto3
def handler(event, context):
    boto3.client("s3").put_object(Bucket=event["bucket"], Key=event["key"], Body=b"x")
    return boto3.client("sts").get_caller_identity()["Arn"]
"""


def test_a_function_may_do_what_its_role_may_and_no_more(workshop):
    bucket = workshop.bucket()
    put = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/out/*"}
    role = workshop.role(LOGS, put)
    name = workshop.function(PUTS, role=role, Timeout=20)

    answer, fault = workshop.invoke(name, {"bucket": bucket, "key": "out/file"})
    assert fault is None, answer
    assert answer == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.split('/')[-1]}/{name}"
    answer, fault = workshop.invoke(name, {"bucket": bucket, "key": "elsewhere"})
    assert (fault, answer["errorType"]) == ("Unhandled", "AccessDenied")
    assert "s3:PutObject" in answer["errorMessage"]


def test_a_changed_role_counts_from_the_next_invocation(workshop):
    bucket = workshop.bucket()
    put = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    name = workshop.function(PUTS, role=workshop.role(LOGS, put), Timeout=20)
    event = {"bucket": bucket, "key": "file"}
    assert workshop.invoke(name, event)[1] is None
    workshop.lambda_.update_function_configuration(FunctionName=name, Role=workshop.role(LOGS))
    assert "AccessDenied" in workshop.invoke(name, event)[0]["errorMessage"]


@pytest.mark.parametrize("service", ["glue.amazonaws.com", None])
def test_a_role_that_lambda_cannot_assume_is_refused(workshop, service):
    role = f"arn:aws:iam::{ACCOUNT}:role/missing"
    if service:
        statement = {**TRUST["Statement"][0], "Principal": {"Service": service}}
        role = workshop.role(trust={**TRUST, "Statement": [statement]})
    with pytest.raises(ClientError, match="InvalidParameterValueException.*role"):
        workshop.function("def handler(event, context): pass", role=role)


@pytest.mark.parametrize("bucket_exists", [True, False])
def test_code_that_is_missing_in_s3_is_refused(workshop, bucket_exists):
    bucket = workshop.bucket() if bucket_exists else "no-such-bucket"
    missing = {"S3Bucket": bucket, "S3Key": "absent.zip"}
    with pytest.raises(ClientError, match="InvalidParameterValueException.*GetObject"):
        workshop.function("", Code=missing)
    name = workshop.function("def handler(event, context): return 1")
    with pytest.raises(ClientError, match="InvalidParameterValueException.*GetObject"):
        workshop.lambda_.update_function_code(FunctionName=name, **missing)
    with pytest.raises(ClientError, match="InvalidParameterValueException.*GetObject"):
        workshop.lambda_.publish_layer_version(LayerName="layer", Content=missing)
    assert workshop.invoke(name) == (1, None)


def test_a_runtime_that_is_not_here_is_refused(workshop):
    with pytest.raises(ClientError, match="local AWS runs python3.11"):
        workshop.function("", Runtime="nodejs20.x")


def test_new_code_is_what_runs_next(workshop):
    name = workshop.function("def handler(event, context): return 'old'")
    assert workshop.invoke(name)[0] == "old"
    code = archive({"app.py": "def handler(event, context): return 'new'"})
    workshop.lambda_.update_function_code(FunctionName=name, ZipFile=code)
    assert workshop.invoke(name)[0] == "new"


def test_a_running_invocation_finishes_on_the_old_code(workshop):
    name = workshop.function(
        "import os, time\n"
        "def handler(event, context):\n    time.sleep(1.5)\n    return os.getpid()\n"
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(workshop.invoke, name)
        time.sleep(0.7)
        code = archive({"app.py": "def handler(event, context): return 'new'"})
        workshop.lambda_.update_function_code(FunctionName=name, ZipFile=code)
        assert workshop.invoke(name) == ("new", None)
        process, fault = running.result()
    assert fault is None
    wait_until(lambda: not Path(f"/proc/{process}").exists())


def test_publishing_without_a_change_returns_the_same_version(workshop):
    code = archive({"app.py": "def handler(event, context): return 1"})
    name = workshop.function("", Code={"ZipFile": code})
    update = workshop.lambda_.update_function_code
    publish = workshop.lambda_.publish_version

    first = publish(FunctionName=name)
    assert first["Version"] == "1"
    assert first["FunctionArn"].endswith(f":{name}:1")
    update(FunctionName=name, ZipFile=code)
    assert publish(FunctionName=name, Description="again")["Version"] == "1"
    assert update(FunctionName=name, ZipFile=code, Publish=True)["Version"] == "1"

    workshop.lambda_.update_function_configuration(FunctionName=name, Timeout=9)
    assert publish(FunctionName=name)["Version"] == "2"
    changed = archive({"app.py": "def handler(event, context): return 2"})
    third = update(FunctionName=name, ZipFile=changed, Publish=True)
    assert third["Version"] == "3"
    with pytest.raises(ClientError, match="is different from current CodeSHA256"):
        publish(FunctionName=name, CodeSha256=first["CodeSha256"])
    assert workshop.invoke(name, Qualifier="1")[0] == 1
    assert workshop.invoke(name, Qualifier="3")[0] == 2


def test_a_version_number_is_never_used_again(workshop):
    code = archive({"app.py": "def handler(event, context): return 1"})
    name = workshop.function("", Code={"ZipFile": code})
    settings = workshop.lambda_.get_function_configuration(FunctionName=name)
    assert workshop.lambda_.publish_version(FunctionName=name)["Version"] == "1"
    workshop.lambda_.delete_function(FunctionName=name)

    created = workshop.lambda_.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="app.handler",
        Role=settings["Role"],
        Code={"ZipFile": code},
        Publish=True,
    )
    assert created["Version"] == "2"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        workshop.invoke(name, Qualifier="1")


def test_the_code_of_a_version_can_be_fetched_when_latest_has_other_code(workshop):
    old, new = (archive({"app.py": f"def handler(event, context): return {n}"}) for n in (1, 2))
    name = workshop.function("", Code={"ZipFile": old})
    workshop.lambda_.publish_version(FunctionName=name)
    workshop.lambda_.update_function_code(FunctionName=name, ZipFile=new)

    def fetched(**qualifier):
        answer = workshop.lambda_.get_function(FunctionName=name, **qualifier)
        with urlopen(answer["Code"]["Location"]) as response:
            return response.read()

    assert fetched(Qualifier="1") == old
    assert fetched() == new


def test_a_failed_event_is_tried_again_and_then_sent_on(workshop):
    url, arn = workshop.queue()
    name = workshop.function(
        "def handler(event, context):\n    print('tried')\n    raise ValueError('never')\n",
        DeadLetterConfig={"TargetArn": arn},
    )
    answer = workshop.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"a":1}')
    assert answer["StatusCode"] == 202
    body = workshop.receive(url, seconds=15)
    assert body["responsePayload"]["errorType"] == "ValueError"
    assert workshop.messages(f"/aws/lambda/{name}").count("tried") == 3


def test_invocations_are_counted_with_their_alias(workshop):
    name = workshop.function("def handler(event, context): return 1 / event['by']")
    version = workshop.lambda_.publish_version(FunctionName=name)["Version"]
    workshop.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    workshop.invoke(name, {"by": 1}, Qualifier="live")
    workshop.invoke(name, {"by": 0}, Qualifier="live")
    workshop.invoke(name, {"by": 1})

    def total(metric, **dimensions):
        now = datetime.now(timezone.utc)
        points = workshop.session.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": k, "Value": v} for k, v in dimensions.items()],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)

    live = {"FunctionName": name, "Resource": f"{name}:live"}
    assert total("Invocations", FunctionName=name) == 3
    assert total("Errors", FunctionName=name) == 1
    assert total("Invocations", **live) == 2
    assert total("Errors", **live, ExecutedVersion=version) == 1


def test_functions_of_two_accounts_with_one_name_are_two(workshop, local_aws):
    code = (
        "import boto3\n"
        "def handler(e, c): return boto3.client('sts').get_caller_identity()['Account']\n"
    )
    name = workshop.function(code, Timeout=20)
    other = Workshop(local_aws.session("qa"))
    other.lambda_.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="app.handler",
        Role=other.role(),
        Timeout=20,
        Code={"ZipFile": archive({"app.py": code})},
    )
    assert workshop.invoke(name)[0] == ACCOUNT
    assert other.invoke(name)[0] == "222222222222"
