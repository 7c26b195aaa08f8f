"""A stack gets exactly the parameters that its template declares."""

import pytest
from ops.environment import OperationError
from ops.release.stacks import stack_request

TEMPLATE = """
Parameters:
  ProjectName: {Type: String}
  Workers: {Type: Number}
  Optional: {Type: String, Default: ""}
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: !Sub "${ProjectName}-x"
"""


def config(**parameters):
    return {
        "project": "p",
        "environment": "dev",
        "tags": {"Owner": "us"},
        "parameters": {"data": parameters},
    }


@pytest.fixture(name="template")
def fixture_template(tmp_path):
    file = tmp_path / "data.yaml"
    file.write_text(TEMPLATE)
    return file


def test_only_declared_names_are_filled_in_and_numbers_become_text(template):
    request = stack_request(config(Workers=2), template, "data", "v1")
    assert request["Parameters"] == [
        {"ParameterKey": "ProjectName", "ParameterValue": "p"},
        {"ParameterKey": "Workers", "ParameterValue": "2"},
    ]
    assert request["Tags"] == [{"Key": "Owner", "Value": "us"}]


def test_undeclared_and_missing_parameters_are_both_named(template):
    with pytest.raises(OperationError) as error:
        stack_request(config(Wrokers=2), template, "data", "v1")
    assert str(error.value).splitlines() == [
        "parameters.data.Wrokers: data.yaml declares no such parameter",
        "parameters.data.Workers: data.yaml needs a value and none is configured",
    ]


def test_empty_value_is_a_value(template):
    request = stack_request(config(Workers=2, Optional=""), template, "data", "v1")
    assert {"ParameterKey": "Optional", "ParameterValue": ""} in request["Parameters"]
