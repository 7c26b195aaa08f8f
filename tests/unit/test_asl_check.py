"""ops.checks.asl_check: each rule passes a good definition and finds its fault in a bad one."""

import copy
import json

import pytest
from ops.checks.asl_check import check_definition, main

RETRY = [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 2}]
CATCH = [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}]
GOOD = {
    "Comment": "Copies and tells.",
    "QueryLanguage": "JSONata",
    "StartAt": "Copy",
    "States": {
        "Copy": {
            "Comment": "Copies each file.",
            "Type": "Map",
            "Items": "{% $states.input.files %}",
            "ItemProcessor": {
                "StartAt": "CopyOne",
                "States": {
                    "CopyOne": {
                        "Comment": "Caught by the Map around it.",
                        "Type": "Task",
                        "Resource": "arn:aws:states:::aws-sdk:s3:copyObject",
                        "Arguments": {
                            "Bucket": "b",
                            "Key": "{% $states.input.key %}",
                            "CopySource": "{% $states.input.source %}",
                            "Metadata": {"a": "b"},
                        },
                        "TimeoutSeconds": 5,
                        "Retry": [{"ErrorEquals": ["S3.NoSuchKeyException"], "MaxAttempts": 0}],
                        "End": True,
                    }
                },
            },
            "Catch": CATCH,
            "Next": "Load",
        },
        "Load": {
            "Comment": "Looks at a statement.",
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:redshiftdata:describeStatement",
            "Arguments": {"Id": "{% $states.input.id %}"},
            "TimeoutSeconds": 5,
            "Retry": RETRY,
            "Catch": CATCH,
            "Next": "Tell",
        },
        "Tell": {
            "Comment": "Publishes.",
            "Type": "Task",
            "Resource": "arn:aws:states:::sns:publish",
            "Arguments": {"Message": "done", "TopicArn": "t"},
            "TimeoutSeconds": 5,
            "Retry": RETRY,
            "Catch": CATCH,
            "End": True,
        },
        "Failed": {"Comment": "Ends.", "Type": "Fail", "Error": "E", "Cause": "C"},
    },
}
TELL = ("States", "Tell")
COPY_ONE = ("States", "Copy", "ItemProcessor", "States", "CopyOne")
REMOVED = object()


def changed(path, value):
    """Returns GOOD with the value at a path replaced, or removed."""
    definition = copy.deepcopy(GOOD)
    parent = definition
    for name in path[:-1]:
        parent = parent[name]
    if value is REMOVED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return definition


def test_good_definition_has_no_findings():
    assert check_definition(GOOD) == []


@pytest.mark.parametrize(
    "path, value, finding",
    [
        ((*TELL, "Comment"), REMOVED, "Tell: has no Comment"),
        ((*TELL, "TimeoutSeconds"), REMOVED, "Tell: has no TimeoutSeconds"),
        ((*TELL, "Retry"), REMOVED, "Tell: has no Retry"),
        ((*TELL, "Catch"), REMOVED, "Tell: has no Catch, nor has a Map"),
        (
            (*TELL, "Catch"),
            [{"ErrorEquals": ["States.TaskFailed"], "Next": "Failed"}],
            "Tell: its Catch must end with States.ALL alone",
        ),
        (("States", "Copy", "Catch"), REMOVED, "Copy/CopyOne: has no Catch"),
        (("States", "Load", "Next"), "Told", "Load: goes to 'Told', expected one of"),
        (("StartAt",), "Nowhere", "StartAt: is 'Nowhere'"),
        (
            (*TELL, "Catch"),
            [{"ErrorEquals": ["States.ALL"], "Next": "Nowhere"}],
            "Tell: goes to 'Nowhere'",
        ),
        ((*TELL, "Resource"), "arn:aws:lambda:x", "Tell: Resource arn:aws:lambda:x is not"),
        ((*TELL, "Resource"), "arn:aws:states:::sns:publish.sync", "has no pattern '.sync'"),
        ((*TELL, "Resource"), "arn:aws:states:::sqs:sendMessage", "is not in OPTIMIZED"),
        (
            (*COPY_ONE, "Resource"),
            "arn:aws:states:::aws-sdk:s3:cloneObject",
            "Copy/CopyOne: s3:cloneObject is not an action of AWS",
        ),
        (
            (*COPY_ONE, "Resource"),
            "arn:aws:states:::aws-sdk:s3:CopyObject",
            "s3:CopyObject is not an action of AWS",
        ),
        (
            (*COPY_ONE, "Resource"),
            "arn:aws:states:::aws-sdk:simplestorage:copyObject",
            "simplestorage:copyObject is not an action of AWS",
        ),
        ((*COPY_ONE, "Arguments", "Key"), REMOVED, "Arguments has no Key, which is required"),
        ((*COPY_ONE, "Arguments", "Name"), "x", "Arguments has Name, expected one of"),
        ((*COPY_ONE, "Arguments", "Bucket"), 7, "Arguments.Bucket is 7, expected a string"),
        ((*COPY_ONE, "Arguments", "Metadata"), {"a": 1}, "Arguments.Metadata.a is 1"),
        ((*COPY_ONE, "Arguments", "Metadata"), "a", "Arguments.Metadata is 'a', expected a map"),
        ((*COPY_ONE, "Arguments"), "{% $x %}", "Arguments must be an object"),
        (
            (*COPY_ONE, "Retry"),
            [{"ErrorEquals": ["S3.NoSuchKye"]}],
            "S3.NoSuchKye is not an error of S3",
        ),
        (
            ("States", "Load", "Retry"),
            [{"ErrorEquals": ["S3.NoSuchKeyException"]}],
            "S3.NoSuchKeyException is not an error of RedshiftData",
        ),
        (
            (*TELL, "Arguments", "Message"),
            "{% $merge([$run, {'a': 1}) %}",
            "/States/Tell/Arguments/Message: Expected ]",
        ),
        ((*TELL, "Colour"), "red", "Colour"),  # statelint's own
    ],
)
def test_each_fault_is_found(path, value, finding):
    findings = check_definition(changed(path, value))

    assert any(finding in line for line in findings), findings


def test_command_fails_for_a_bad_file_and_names_it(tmp_path, capsys):
    good, bad, broken = (tmp_path / f"{name}.asl.json" for name in ("good", "bad", "broken"))
    good.write_text(json.dumps(GOOD), encoding="utf-8")
    bad.write_text(json.dumps(changed((*TELL, "Retry"), REMOVED)), encoding="utf-8")
    broken.write_text("{", encoding="utf-8")

    assert main([str(good)]) == 0
    assert main([str(good), str(bad), str(broken)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{bad}: Tell: has no Retry"
    assert lines[1].startswith(f"{broken}: ")


def test_the_pipeline_has_no_findings():
    assert main([]) == 0
