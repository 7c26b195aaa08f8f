"""The configuration is held against that of a commit, without an account."""

import shutil

import pytest
from ops.checks.evolution_check import extract, faults
from ops.config import CONFIG_ROOT
from ops.environment import OperationError

FILE = "common/datasets/products.yaml"


def changed(tmp_path, before, after):
    """Return the faults of a change of the products' configuration."""
    shutil.copytree(CONFIG_ROOT, tmp_path / "after")
    text = (tmp_path / "after" / FILE).read_text(encoding="utf-8")
    assert text.count(before) == 1
    (tmp_path / "after" / FILE).write_text(text.replace(before, after), encoding="utf-8")
    return faults(CONFIG_ROOT, tmp_path / "after")


def test_a_new_optional_column_is_no_fault(tmp_path):
    line = '  - {source: "Quantity"'
    new = '  - {source: "Colour", name: colour, type: varchar(9), optional: true}\n' + line
    assert changed(tmp_path, line, new) == []


def test_other_types_and_keys_are_faults_by_name(tmp_path):
    assert changed(tmp_path, "name: store_id, type: integer", "name: store_id, type: bigint") == [
        "products.store_id would change from integer to bigint in dev, prod, qa, staging"
    ]


def test_a_commit_whose_settings_followed_other_rules_can_be_compared(tmp_path):
    shutil.copytree(CONFIG_ROOT, tmp_path / "before")
    (tmp_path / "before/common/settings.yaml").write_text("project: older\n", encoding="utf-8")
    assert faults(tmp_path / "before", CONFIG_ROOT) == []


def test_a_commit_that_is_not_there_is_named(tmp_path):
    assert (extract("HEAD", tmp_path) / FILE).exists()
    with pytest.raises(OperationError, match="^BASE=no-such-commit: "):
        extract("no-such-commit", tmp_path)
