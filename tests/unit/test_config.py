"""Configuration: layers, origins, and errors that a person can act on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ops import config
from ops.config import ConfigurationError, load_config
from ops.environment import STACKS
from ops.release.stacks import declared_parameters, stack_request

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ["dev", "prod", "qa", "staging"]


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    """A copy of the project's own configuration, free to be broken."""
    return shutil.copytree(config.CONFIG_ROOT, tmp_path / "config")


def append(root, name, text):
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text((file.read_text() if file.exists() else "") + text)


def replace(root, name, old, new):
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new))


def faults(root, *overrides, environment="dev", from_variable=False):
    with pytest.raises(ConfigurationError) as error:
        load_config(environment, None if from_variable else overrides, root)
    return str(error.value).splitlines()


# ---- layers --------------------------------------------------------------------------------------


def test_environment_wins_over_common_and_runtime_wins_over_both(root):
    # GIVEN a value that common sets
    assert load_config("dev", root=root).get("tags.Owner") == "data-engineering"
    # WHEN the environment sets it too
    replace(root, "dev/settings.yaml", "tags:\n", "tags:\n  Owner: dev-team\n")
    merged = load_config("dev", root=root)
    # THEN the environment wins, in that environment alone
    assert merged.get("tags.Owner") == "dev-team"
    assert merged.origins[("tags", "Owner")] == "config/dev/settings.yaml"
    assert load_config("qa", root=root).get("tags.Owner") == "data-engineering"
    # AND WHEN the command line sets it
    merged = load_config("dev", ["tags.Owner=me"], root)
    # THEN the command line wins
    assert merged.get("tags.Owner") == "me"
    assert merged.origins[("tags", "Owner")] == "runtime SET"


def test_neighbours_of_an_overridden_value_keep_their_value_and_origin(root):
    merged = load_config("dev", ["parameters.data.WarehouseMaxCapacity=32"], root)
    assert merged.get("parameters.data.WarehouseMaxCapacity") == 32
    assert merged.get("parameters.data.WarehouseBaseCapacity") == 8
    assert (
        merged.origins[("parameters", "data", "WarehouseBaseCapacity")]
        == "config/common/settings.yaml"
    )


def test_lists_are_replaced_not_joined(root):
    append(root, "dev/datasets/products.yaml", "upsert_keys: [product_id]\n")
    assert load_config("dev", root=root).get("datasets.products.upsert_keys") == ["product_id"]


def test_a_later_override_wins_over_an_earlier_one(root):
    merged = load_config("dev", ["tags.Owner=first", "tags.Owner=second"], root)
    assert merged.get("tags.Owner") == "second"


def test_the_variable_set_is_the_runtime_layer_of_every_tool(root, monkeypatch):
    monkeypatch.setenv("SET", "tags.Owner='two words' release.keep_releases=7")
    merged = load_config("dev", root=root)
    assert merged.get("tags.Owner") == "two words"
    assert merged.get("release.keep_releases") == 7
    assert merged.origins[("tags", "Owner")] == "runtime SET"


def test_a_quote_that_is_never_closed_is_named(root, monkeypatch):
    monkeypatch.setenv("SET", "tags.Owner='two words")
    (fault,) = faults(root, from_variable=True)
    assert fault.startswith("runtime SET: No closing quotation; expected key=value, in quotes")


def test_override_values_are_yaml(root):
    overrides = ["parameters.application.GlueNumberOfWorkers=3", 'tags={Owner: "7"}']
    merged = load_config("dev", overrides, root)
    assert merged.get("parameters.application.GlueNumberOfWorkers") == 3
    assert merged.get("tags") == {
        "Project": "retail-pipeline",
        "Owner": "7",
        "Environment": "dev",
    }


def test_every_leaf_has_an_origin(root):
    merged = load_config("staging", ["tags.Owner=me"], root)
    assert set(merged.origins) == {path for path, _ in config.leaves(merged.values)}


def add_stock(root, **changes):
    """Give dev a dataset of its own, which is as products is but for what another one must have."""
    products = yaml.safe_load((root / "common/datasets/products.yaml").read_text())
    own = {
        "name": "stock",
        "file_pattern": r"^Stock_(?P<run_date>\d{8})\.csv$",
        "example_file": "Stock_20170115.csv",
        "target": {"table": "stock"},
    }
    append(root, "dev/datasets/stock.yaml", yaml.safe_dump(products | own | changes))


def test_a_dataset_of_one_environment_needs_no_code(root):
    add_stock(root)
    common = set(load_config("qa", root=root).get("datasets"))
    assert set(load_config("dev", root=root).get("datasets")) == common | {"stock"}
    assert "stock" not in common


# ---- the project's own configuration -------------------------------------------------------------


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("stack", STACKS)
def test_parameters_fit_the_template(environment, stack):
    template = ROOT / f"cloudformation/{stack}.yaml"
    # Refuses a value that the template does not know, and a parameter without one.
    request = stack_request(load_config(environment).values, template, stack, "v1")
    names = {pair["ParameterKey"] for pair in request["Parameters"]}
    assert names <= declared_parameters(template).keys()


def test_the_environments_are_four_accounts():
    assert config.known_environments() == ENVIRONMENTS
    accounts = {load_config(name).get("aws.account_id") for name in ENVIRONMENTS}
    assert len(accounts) == len(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_its_datasets_are_three_with_keys_rules_and_schedules_of_their_own(environment):
    datasets = load_config(environment).get("datasets")
    three = {"products": "day", "promotions": "week", "transactions": "day"}
    assert {name: datasets[name]["schedule"]["every"] for name in three} == three
    keys = {tuple(datasets[name]["upsert_keys"]) for name in three}
    assert len(keys) == len(three)
    assert all(datasets[name]["expectations"] for name in three)


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "override, fault",
    [
        (
            "aws.account_id=111111111111",
            "aws.account_id: expected the account's 12 digits as a quoted string;"
            " found 111111111111",
        ),
        (
            "aws.regoin=us-east-1",
            'aws.regoin: expected one of account_id, region; found "regoin"',
        ),
        (
            "parameters.data.LogRetentionDays=15",
            "parameters.data.LogRetentionDays: expected a number of days that CloudWatch Logs"
            " accepts; found 15",
        ),
        ("environment=qa", 'environment: expected dev, as its folder is called; found "qa"'),
        (
            "datasets.products.file_pattern=(",
            "datasets.products.file_pattern: expected a regular expression (missing ),"
            ' unterminated subpattern at position 0); found "("',
        ),
        (
            "datasets.products.file_pattern=x",
            'datasets.products.file_pattern: expected the group (?P<run_date>...); found "x"',
        ),
        (
            "datasets.products.upsert_keys=[brand]",
            "datasets.products.upsert_keys[0]: expected a column with `required: true`"
            ' (NULL matches no row); found "brand"',
        ),
        (
            "datasets.products.name=goods",
            'datasets.products.name: expected products, as its file is called; found "goods"',
        ),
        (
            "datasets.products.schedule={every: hour, due_after_days: 1}",
            "datasets.products.schedule.every: expected day or week: what a file covers;"
            ' found "hour"',
        ),
        (
            "release.strategy=rolling",
            'release.strategy: expected blue-green or canary; found "rolling"',
        ),
        (
            "release.canary.weights=[10,60]",
            "release.canary.weights[1]: expected 1 to 50 percent: what is live keeps half at least,"
            " and all is the switch; found 60",
        ),
        (
            "release.canary.weights=[]",
            "release.canary.weights: expected 1 to 10 percentages; found []",
        ),
        (
            "release.canary.weights=[10,20,20]",
            "release.canary.weights[2]: expected more than the step before, which is 20; found 20",
        ),
        (
            "release.canary.interval_seconds=0",
            "release.canary.interval_seconds: expected 1 to 86400 seconds; found 0",
        ),
        ("tags.Owner", 'expected dotted.key=value, found "tags.Owner"'),
        ("a..b=1", 'expected dotted.key=value, found "a..b=1"'),
    ],
)
def test_an_error_names_the_place_the_key_what_was_expected_and_what_was_found(
    root, override, fault
):
    assert faults(root, override) == [f"runtime SET: {fault}"]


COLUMN_FAULTS = {
    "{source: A, name: a, type: varchar(0)}": "type: expected varchar of 1 to 65535 bytes",
    "{source: A, name: a, type: varchar(65536)}": "type: expected varchar of 1 to 65535 bytes",
    '{source: A, name: a, type: "decimal(39,0)"}': "type: expected decimal(p,s) with p from 1 to",
    '{source: A, name: a, type: "decimal(4,5)"}': "type: expected decimal(p,s) with p from 1 to",
    "{source: A, name: a, type: text}": "type: expected bigint, integer, varchar(n), decimal(p,s)",
    "{source: A, name: A, type: bigint}": "name: expected a lower-case SQL name",
    "{source: A, name: reasons, type: bigint}": "name: expected a name other than the job's own",
    "{source: A, name: outcome, type: bigint}": "name: expected a name other than the job's own",
    "{source: A, name: key, type: bigint}": "name: expected a name that no earlier column has",
    "{source: K, name: a, type: bigint}": "source: expected a name that no earlier column has",
    "{source: k, name: a, type: bigint}": "source: expected a name that no earlier column has",
    "{source: _position, name: a, type: bigint}": "source: expected a header without ` and other",
    "{source: A`s, name: a, type: bigint}": "source: expected a header without ` and other than",
    "{source: A, name: a, type: timestamp, min: 0}": "min: expected no limit: a timestamp is not",
    "{source: A, name: a, type: bigint, min: 2, max: 1}": "min: expected at most max, which is 1",
    "{source: A, name: a, type: bigint, requierd: true}": "requierd: expected one of source, name",
    "{source: A, name: a, type: bigint, required: true, optional: true}": "optional: expected fal",
    "{source: A, name: a}": "type: expected bigint, integer, varchar(n), decimal(p,s) or timestamp",
}


@pytest.mark.parametrize("column", COLUMN_FAULTS)
def test_a_faulty_column_is_named(root, column):
    columns = f"[{{source: K, name: key, type: bigint, required: true}}, {column}]"
    lines = faults(
        root,
        f"datasets.products.columns={columns}",
        "datasets.products.upsert_keys=[key]",
        "datasets.products.order_by=[]",
    )
    assert len(lines) == 1
    expected = f"runtime SET: datasets.products.columns[1].{COLUMN_FAULTS[column]}"
    assert lines[0].startswith(expected)


@pytest.mark.parametrize(
    ("environment", "override", "fault"),
    [
        (
            "prod",
            "release.promotion_path=[dev, live]",
            'release.promotion_path[1]: expected one of dev, prod, qa, staging; found "live"',
        ),
        ("prod", "release.promotion_path=[dev]", "expected a list of two or more environments"),
        (
            "prod",
            "release.promotion_path=[prod, dev]",
            "gates.promoted: expected false: release.promotion_path has no environment before prod",
        ),
        ("dev", "gates.promoted=true", "has no environment before dev; found true"),
        (
            "dev",
            "gates.tests=[unit, smoke]",
            "one of the test layers unit, integration, release-test, e2e",
        ),
        ("dev", "gates.approvals=[Data Owner]", "expected a role: 1 to 40 lower-case letters"),
        ("dev", "gates.approvals=[owner, owner]", "expected a list of roles, each once"),
    ],
)
def test_a_gate_that_nothing_could_pass_is_named(root, environment, override, fault):
    assert fault in "\n".join(faults(root, override, environment=environment))


def test_keys_and_order_must_be_columns(root):
    lines = faults(root, "datasets.products.order_by=[when]")
    assert lines[0].startswith("runtime SET: datasets.products.order_by[0]: expected one of the")
    assert lines[0].endswith('found "when"')


@pytest.mark.parametrize(
    "changes, fault",
    [
        (
            # Copied with products' pattern in it: each file of the one is also the other's.
            {
                "file_pattern": r"^(Products|Stock)_(?P<run_date>\d{8})\.csv$",
            },
            "datasets.stock.file_pattern: expected a pattern that does not match"
            " Products_20170115.csv, a file of products; found",
        ),
        (
            {"example_file": "stock.csv"},
            "datasets.stock.example_file: expected a name that its file_pattern matches,",
        ),
        (
            {"example_file": "Stock_20170230.csv"},
            "datasets.stock.example_file: expected a name whose run_date is a day, YYYYMMDD; found",
        ),
        (
            {"target": {"table": "products"}},
            "datasets.stock.target.table: expected a table that products does not have; found",
        ),
        (
            {"target": {"table": "load_history"}},
            "datasets.stock.target.table: expected a name other than the pipeline's own; found",
        ),
    ],
)
def test_what_another_dataset_has_already_is_named_with_it(root, changes, fault):
    add_stock(root, **changes)
    (line,) = faults(root)
    assert line.startswith(f"config/dev/datasets/stock.yaml: {fault}")


def test_one_pattern_for_two_datasets_is_a_fault_of_both(root):
    pattern = yaml.safe_load((root / "common/datasets/products.yaml").read_text())["file_pattern"]
    add_stock(root, file_pattern=pattern, example_file="Products_20180101.csv")
    assert [line.split(": ")[1] for line in faults(root)] == [
        "datasets.stock.file_pattern",
        "datasets.products.file_pattern",
    ]


def test_a_smoke_test_needs_a_dataset_that_there_is(root):
    (line,) = faults(root, "release.smoke_dataset=goods")
    assert line.startswith("runtime SET: release.smoke_dataset: expected one of the datasets prod")


def test_all_faults_are_listed_at_once(root):
    assert len(faults(root, "aws.region=here", "tags.Owner=1", "extra=1")) == 3


def test_a_missing_value_names_the_files_that_were_looked_in(root):
    replace(root, "common/settings.yaml", "  region: us-east-1\n", "")
    replace(root, "common/settings.yaml", "aws:\n", "")
    assert faults(root) == [
        "config/dev/settings.yaml: aws.region: expected a region such as us-east-1; found nothing"
    ]


def test_a_missing_section_names_every_file(root):
    file = root / "common/settings.yaml"
    settings, section, _ = file.read_text().partition("\nrelease:\n")
    assert section
    file.write_text(settings)
    (line,) = faults(root)
    assert line.startswith("config/common/settings.yaml, config/dev/settings.yaml, config/")
    assert line.endswith("release: expected a value; found nothing")


def test_an_unknown_environment_lists_the_known_ones(root):
    (line,) = faults(root, environment="production")
    assert "'production'; known are dev, prod, qa, staging" in line


def test_broken_yaml_names_file_line_and_column(root):
    append(root, "qa/settings.yaml", "list: [1, 2\n")
    (line,) = faults(root, environment="qa")
    assert line.startswith(
        "config/qa/settings.yaml: line 9, column 1: did not find expected ',' or ']'"
    )


@pytest.mark.parametrize(
    "text, fault",
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' repeats line 1; keep one of them"),
        ("1: a\n", "line 1: expected a string as key, found 1"),
        ("- a\n", 'expected a mapping, found ["a"]'),
        ("a: \x07\n", "unacceptable character #x0007"),
    ],
)
def test_yaml_that_json_could_not_say_is_refused(root, text, fault):
    (root / "dev/settings.yaml").write_text(text)
    assert faults(root)[0].startswith(f"config/dev/settings.yaml: {fault}")


def test_a_file_that_is_not_utf8_is_named(root):
    (root / "dev/settings.yaml").write_bytes(b"tags: \xe9\n")
    assert faults(root)[0].startswith("config/dev/settings.yaml: not UTF-8")


def test_an_override_that_is_not_yaml_is_named(root):
    assert faults(root, "tags.Owner=[1")[0].startswith("runtime SET tags.Owner: line 2")


@pytest.mark.parametrize("name", ["dev/setings.yaml", "common/datasets/stock.yml"])
def test_a_file_that_nothing_reads_is_refused(root, name):
    append(root, name, "a: 1\n")
    assert faults(root)[0].startswith(f"config/{name}: nothing reads this file")


def test_at_least_one_dataset_is_needed(root):
    for folder in ("common/datasets", "common/expectations", "dev/expectations"):
        shutil.rmtree(root / folder)
    assert "expected at least one <name>.yaml" in faults(root)[0]


def test_an_empty_file_adds_nothing(root):
    append(root, "qa/datasets/products.yaml", "# nothing differs here\n")
    assert load_config("qa", root=root).get("datasets.products.name") == "products"


# ---- command line --------------------------------------------------------------------------------


def run(capsys, *arguments):
    status = config.main(list(arguments))
    return status, *capsys.readouterr()


def test_show_prints_each_value_with_its_origin(capsys, monkeypatch):
    monkeypatch.setenv("SET", "tags.Owner=me")
    status, out, _ = run(capsys, "show", "--env", "dev")
    assert status == 0
    lines = {line.split(" = ")[0].strip(): line for line in out.splitlines()}
    assert lines["tags.Owner"].split() == ["tags.Owner", "=", '"me"', "#", "runtime", "SET"]
    assert lines["tags.Owner"].index("#") == lines["project"].index("#")
    assert lines["aws.account_id"].endswith("# config/dev/settings.yaml")
    assert lines["datasets.products.columns[0]"].endswith("# config/common/datasets/products.yaml")


def test_json_is_the_merged_configuration(capsys):
    _, out, _ = run(capsys, "json", "--env", "prod")
    assert json.loads(out) == load_config("prod").values


def test_accounts_are_those_of_every_environment(capsys):
    status, out, _ = run(capsys, "accounts")
    assert status == 0
    assert dict(pair.split("=") for pair in out.split()) == {
        name: load_config(name).get("aws.account_id") for name in config.known_environments()
    }


def test_a_fault_is_printed_and_the_exit_code_says_so(capsys):
    status, out, err = run(capsys, "show", "--env", "nowhere")
    assert (status, out) == (2, "")
    assert "no environment 'nowhere'" in err


def test_a_reader_who_has_seen_enough_is_no_fault():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        shown = subprocess.run(
            [sys.executable, "-m", "ops.config", "show", "--env", "dev"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (shown.returncode, shown.stderr) == (0, "")
