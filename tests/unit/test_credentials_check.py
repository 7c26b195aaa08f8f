"""Credentials in a configuration file are found, and are not shown."""

import json

import pytest
from ops.checks.credentials_check import findings
from ops.environment import Environment


def write(folder, values):
    file = folder / "dev.json"
    file.write_text(json.dumps(values, indent=2))
    return file


@pytest.mark.parametrize("name", ["dev", "qa", "staging", "prod"])
def test_the_projects_own_configuration_has_none(name, tmp_path):
    assert not findings(write(tmp_path, Environment.load(name).config))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("key", "AKIA" + "IOSFODNN7ABCDEFG"),
        ("warehouse_password", "correct-horse-battery"),
        ("url", "postgresql://admin:" + "hunter2hunter2@warehouse.internal/db"),
        ("certificate", "-----BEGIN RSA " + "PRIVATE KEY-----"),
    ],
)
def test_a_credential_is_found_by_its_line(key, value, tmp_path):
    config = Environment.load("dev").config | {key: value}
    found = findings(write(tmp_path, config))
    assert len(found) >= 1
    assert found[0].startswith("dev.json, line ")
    assert value not in "\n".join(found)
