"""ops.release.definition: everything that the pipeline's definition calls is pinned."""

import json
import shutil

import pytest
from ops.environment import Environment
from ops.release.definition import DEFINITION, PINNED, definition
from ops.release.pins import pins

from tests.conftest import REPOSITORY

ARN = "arn:aws:lambda:us-east-1:111111111111:function:retail-pipeline-dev-{}:7"


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    """A release with the pipeline's definition and a manifest."""
    (tmp_path / DEFINITION).parent.mkdir()
    shutil.copy(REPOSITORY / DEFINITION, tmp_path / DEFINITION)
    artifacts = [{"path": "glue/retail_etl-1.0.0-py3-none-any.whl"}]
    (tmp_path / "manifest.json").write_text(json.dumps({"version": "v1", "artifacts": artifacts}))
    return tmp_path


def test_functions_job_and_objects_are_those_of_the_release(root):
    functions = {name: ARN.format(name.replace("_", "-")) for name in PINNED}
    found = pins(definition(Environment.load("dev"), root, functions))
    assert sorted(found.functions.values()) == sorted(functions.values())
    assert found.jobs == ("retail-pipeline-dev-etl",)
    assert {key for _, key in found.objects} == {
        "releases/v1/config/dev.json",
        "releases/v1/glue/etl_main.py",
        "releases/v1/glue/retail_etl-1.0.0-py3-none-any.whl",
    }
