"""The shared layer: names, configuration, logs, metrics, clients."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from pipeline_common import aws
from pipeline_common.config import dataset_config, load_config
from pipeline_common.errors import ConfigurationError
from pipeline_common.log import bind, logged, logger
from pipeline_common.metrics import emit_metrics
from pipeline_common.run_names import run_id, safe_names, unique_names

LAMBDAS = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "key",
    [
        "data/in/Products_20170115.csv",
        "data/in/Größe & Ünïcode (1).csv",
        "data/in/日本語.csv",
        "data/in/" + "x" * 300 + ".csv.gz",
        "data/in/.csv",
    ],
)
def test_run_id_is_a_valid_execution_name_for_any_key(key):
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", run_id(key, "content"))
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", run_id(key, "content", attempt=999))


def test_run_id_tells_what_and_which():
    first = run_id("data/in/Products_20170115.csv", "content")

    assert first.startswith("Products_20170115-")
    assert first == run_id("data/in/Products_20170115.csv", "content")
    assert run_id("data/in/Products_20170115.csv", "content", attempt=2) == f"{first}-2"
    assert first != run_id("data/in/Products_20170115.csv", "other content")
    assert first != run_id("data/in/shop/Products_20170115.csv", "content")


def test_a_run_has_the_same_name_in_every_release():
    # During a canary two releases' triggers may see one event; two names would be two runs.
    # So nobody may change these, however the names are made.
    assert run_id("data/in/Products_20170115.csv", "content") == "Products_20170115-d5549fc4f8f2"
    assert run_id("data/in/Käse 2017.csv.gz", "abc", attempt=2) == "Kase-2017-a835b0c93291-2"


@pytest.mark.parametrize(
    "names, expected",
    [
        (["Products_20170115.csv"], ["Products_20170115.csv"]),
        (["Größe *1,2.CSV.GZ"], ["Groe-1-2.csv.gz"]),
        (["日本語.csv", "中文.csv"], ["file.csv", "file-2.csv"]),
        (["_hidden.csv", ".hidden.csv"], ["hidden.csv", "hidden-2.csv"]),
        (["a.csv", "A.csv", "a-2.csv"], ["a.csv", "A-2.csv", "a-2-2.csv"]),
        (["é" * 300 + ".csv"], ["e" * 100 + ".csv"]),
    ],
)
def test_safe_names_are_plain_and_different(names, expected):
    assert safe_names(names) == expected


def test_unique_names_keep_what_need_not_change():
    assert unique_names(["1/ü.csv", "1/ü.csv", "2/ü.csv"]) == ["1/ü.csv", "1/ü-2.csv", "2/ü.csv"]


def test_config_is_read_once_a_container(bucket):
    first = load_config(bucket.config_uri)
    bucket.put_json(bucket.config_uri.removeprefix("s3://data/"), {"datasets": {}})

    assert load_config(bucket.config_uri) is first
    assert dataset_config(first, "products")["target"] == {"table": "products"}


def test_config_faults_are_named(bucket):
    bucket.put("broken.json", b"{")

    with pytest.raises(ConfigurationError, match="s3://data/none.json does not exist"):
        load_config("s3://data/none.json")
    with pytest.raises(ConfigurationError, match="s3://data/broken.json is not JSON"):
        load_config("s3://data/broken.json")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        load_config("s3://elsewhere/x.json")
    with pytest.raises(ConfigurationError, match=r"no dataset 'sales' \(known: products\)"):
        dataset_config(load_config(bucket.config_uri), "sales")


@pytest.mark.parametrize("uri", ["data/x.json", "s3://data", "s3:///x", "https://data/x"])
def test_only_s3_uris_are_read(uri):
    with pytest.raises(ValueError, match="expected s3://bucket/key"):
        aws.split_s3_uri(uri)


def test_one_client_a_service():
    assert aws.client("s3") is aws.client("s3")
    assert aws.client("s3") is not aws.client("stepfunctions")


def lines(capsys) -> list[dict]:
    """Returns the printed log lines."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_line_says_which_run_and_which_code(capsys, context):
    @logged
    def handler(_event, _context):
        bind(dataset="products")
        logger.info("%d files", 2, extra={"files": ["ü.csv"]})
        return "result"

    assert handler({"run_id": "r-1", "execution": "arn:x"}, context) == "result"

    first, last = lines(capsys)
    common = {
        "function": "retail-pipeline-dev-x",
        "version": "7",
        "request_id": "request-1",
        "run_id": "r-1",
        "execution": "arn:x",
        "dataset": "products",
    }
    assert {**first, **common} == first and {**last, **common} == last
    assert (first["message"], first["level"], first["files"]) == ("2 files", "INFO", ["ü.csv"])
    assert last["message"] == "done"


def test_an_error_is_logged_and_raised_as_it_is(capsys, context):
    @logged
    def handler(_event, _context):
        raise ConfigurationError("broken")

    with pytest.raises(ConfigurationError, match="^broken$"):
        handler({}, context)
    [line] = lines(capsys)
    assert (line["level"], line["error"]) == ("ERROR", "ConfigurationError")
    assert "Traceback" in line["exception"]


def test_an_invocation_does_not_inherit_the_context_of_the_one_before(capsys, context):
    @logged
    def handler(event, _context):
        bind(**event)

    handler({"run_id": "r-1", "dataset": "products"}, context)
    handler({"run_id": "r-2"}, context)

    assert "dataset" not in lines(capsys)[1]


def test_metrics_are_one_emf_line(capsys):
    emit_metrics("dev", "products", "r-1", {"RowsIn": 10, "RejectedPercent": 2.5})

    [line] = lines(capsys)
    [metrics] = line["_aws"]["CloudWatchMetrics"]
    assert metrics == {
        "Namespace": "RetailPipeline",
        "Dimensions": [["Environment", "Dataset"], ["Environment"]],
        "Metrics": [
            {"Name": "RowsIn", "Unit": "Count"},
            {"Name": "RejectedPercent", "Unit": "Percent"},
        ],
    }
    assert {"Environment": "dev", "Dataset": "products", "RowsIn": 10}.items() <= line.items()
    assert line["RejectedPercent"] == 2.5 and line["_aws"]["Timestamp"] > 1e12


def test_no_function_imports_more_of_the_sdk_than_it_uses():
    functions = ["trigger_etl", "validate_input", "check_quality", "load_warehouse"]
    paths = [LAMBDAS / name / "src" for name in functions] + [LAMBDAS / "layers/common/python"]
    program = (
        f"import sys, {', '.join(functions)}\n"
        "print('botocore' in sys.modules, 'boto3' in sys.modules)"
    )

    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": os.pathsep.join(map(str, paths))},
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    # boto3 would take a handler's import over its ceiling of 150 ms.
    assert printed.split() == ["True", "False"]
