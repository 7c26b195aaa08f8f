"""ops.release.render: filling the placeholders of a state machine definition."""

import json
from pathlib import Path

import pytest
from ops.release.render import RenderError, placeholders, render

STATE_MACHINE = Path(__file__).resolve().parents[2] / "step-functions/etl_pipeline.asl.json"
TEMPLATE = '{"Resource": "${FunctionArn}", "Output": "{% \'${Name}\' & $run.id %}"}'


def test_fills_every_placeholder():
    rendered = render(TEMPLATE, {"FunctionArn": "arn:aws:lambda:x:1:function:f:3", "Name": "db"})

    assert json.loads(rendered) == {
        "Resource": "arn:aws:lambda:x:1:function:f:3",
        "Output": "{% 'db' & $run.id %}",
    }


@pytest.mark.parametrize(
    "template, values, named",
    [
        (TEMPLATE, {"Name": "db"}, "no value for FunctionArn"),
        (TEMPLATE, {"Name": "db", "FunctionArn": "a", "Table": "t"}, "no placeholder Table"),
        (TEMPLATE, {"Name": "db' & 'x", "FunctionArn": "a"}, "is not plain text"),
        (TEMPLATE, {"Name": 'db"}', "FunctionArn": "a"}, "is not plain text"),
        (TEMPLATE, {"Name": "", "FunctionArn": "a"}, "is not plain text"),
        (TEMPLATE, {"Name": "${FunctionArn}", "FunctionArn": "a"}, "is not plain text"),
        ('{"Resource": ${Arn}', {"Arn": "a"}, "is not JSON"),
    ],
)
def test_refuses_what_would_give_another_machine(template, values, named):
    with pytest.raises(RenderError, match=named):
        render(template, values)


def test_the_pipeline_has_the_placeholders_that_a_deployment_fills():
    assert placeholders(STATE_MACHINE.read_text(encoding="utf-8")) == {
        "CatalogDatabase",
        "CheckQualityArn",
        "ConfigUri",
        "DataBucket",
        "Database",
        "GlueJobName",
        "GlueScriptUri",
        "GlueWheelUri",
        "LoadWarehouseArn",
        "NotificationsTopicArn",
        "ReleaseVersion",
        "ValidateInputArn",
        "WorkgroupName",
    }
