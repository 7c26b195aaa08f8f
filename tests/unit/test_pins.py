"""ops.release.pins: what a release calls, read from its rendered definition."""

import json
from pathlib import Path

from ops.release.pins import pins
from ops.release.render import render

DEFINITION = Path(__file__).resolve().parents[2] / "step-functions/etl_pipeline.asl.json"
FUNCTION = "arn:aws:lambda:us-east-1:111111111111:function:retail-pipeline-dev"
RELEASE = "s3://retail-pipeline-dev-artifacts-111111111111/releases/20260101-0123456789ab"
VALUES = {
    "ReleaseVersion": "20260101-0123456789ab",
    "ValidateInputArn": f"{FUNCTION}-validate-input:3",
    "CheckQualityArn": f"{FUNCTION}-check-quality:7",
    "LoadWarehouseArn": f"{FUNCTION}-load-warehouse:12",
    "GlueJobName": "retail-pipeline-dev-etl",
    "GlueScriptUri": f"{RELEASE}/glue/etl_main.py",
    "GlueWheelUri": f"{RELEASE}/glue/retail_etl-1.0.0-py3-none-any.whl",
    "ConfigUri": f"{RELEASE}/config/dev.json",
    "DataBucket": "retail-pipeline-dev-data-111111111111",
    "WorkgroupName": "retail-pipeline-dev",
    "Database": "warehouse",
    "NotificationsTopicArn": "arn:aws:sns:us-east-1:111111111111:topic",
    "CatalogDatabase": "retail_pipeline_dev",
}


def test_the_projects_own_definition_pins_all_that_a_release_is_made_of():
    found = pins(render(DEFINITION.read_text(encoding="utf-8"), VALUES))

    assert found.functions == {
        f"retail-pipeline-dev-{name}": f"{FUNCTION}-{name}:{number}"
        for name, number in (("validate-input", 3), ("check-quality", 7), ("load-warehouse", 12))
    }
    bucket = "retail-pipeline-dev-artifacts-111111111111"
    assert sorted(found.objects) == sorted(
        (bucket, VALUES[name].partition(f"{bucket}/")[2])
        for name in ("GlueScriptUri", "GlueWheelUri", "ConfigUri")
    )
    assert found.jobs == ("retail-pipeline-dev-etl",)


def test_a_definition_that_calls_nothing_pins_nothing():
    found = pins(json.dumps({"StartAt": "Nothing", "States": {"Nothing": {"Type": "Succeed"}}}))
    assert (found.functions, found.objects, found.jobs) == ({}, (), ())
