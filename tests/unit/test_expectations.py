"""Suites: rules get names, an environment changes one, and what cannot be judged is refused."""

import json

import pytest
from ops import config
from ops.config import ConfigurationError, load_config
from ops.expectations import SuiteError, read_suite, suite_of

from tests.unit import test_config
from tests.unit.test_config import ROOT, append, faults

root = test_config.fixture_root  # pytest finds a fixture by its name here
SCHEMA = json.loads((config.CONFIG_ROOT / "schemas/expectations.schema.json").read_text())
SUPPORTED = SCHEMA["$defs"]["kwargs"]
COMMON = "common/expectations/products.json"


def write(root, *expectations, name=COMMON, **suite):
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"name": "products", "expectations": expectations, **suite}))


def expect(type_, **kwargs):
    return {"type": f"expect_{type_}", "kwargs": kwargs}


def rules(root, environment="qa"):
    return load_config(environment, root=root).get("datasets.products.expectations")


def test_a_rule_is_called_by_its_type_and_columns_or_its_id(root):
    write(
        root,
        expect("table_row_count_to_be_between", min_value=1),
        expect("column_values_to_be_between", column="price", max_value=9),
        {**expect("column_values_to_be_between", column="price", max_value=99), "id": "dear"},
        expect("compound_columns_to_be_unique", column_list=["product_id", "time"]),
        expect("column_pair_values_a_to_be_greater_than_b", column_A="price", column_B="quantity"),
    )
    assert list(rules(root)) == [
        "expect_table_row_count_to_be_between",
        "expect_column_values_to_be_between(price)",
        "dear",
        "expect_compound_columns_to_be_unique(product_id,time)",
        "expect_column_pair_values_a_to_be_greater_than_b(price,quantity)",
    ]


def test_an_environment_changes_one_rule_and_adds_another(root):
    # GIVEN a common suite, and one of dev
    write(root, expect("column_values_to_be_between", column="price", min_value=1, max_value=9))
    write(
        root,
        {
            **expect("column_values_to_be_between", column="price", max_value=99),
            "severity": "warning",
        },
        expect("column_values_to_not_be_null", column="brand"),
        name="dev/expectations/products.json",
    )
    # THEN dev has both rules, the first with what only the common suite says
    name = "expect_column_values_to_be_between(price)"
    assert rules(root, "dev")[name] == {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "price", "min_value": 1, "max_value": 99},
        "severity": "warning",
    }
    assert len(rules(root, "dev")) == 2
    # AND qa has the common one
    assert rules(root) == {
        name: expect("column_values_to_be_between", column="price", min_value=1, max_value=9)
    }


def test_a_rule_is_changed_at_run_time(root):
    key = "datasets.products.expectations.expect_table_row_count_to_be_between"
    merged = load_config("prod", [f"{key}.kwargs.min_value=7"], root)
    assert merged.get(key)["kwargs"] == {"min_value": 7}


def test_a_merged_suite_is_a_list_again():
    dataset = load_config("prod").get("datasets.products")
    suite = suite_of(dataset)
    assert suite["name"] == "products"
    assert read_suite(json.dumps(suite), "products") == dataset["expectations"]


FAULTS = {
    "an unsupported type": (
        expect("column_mean_to_be_between", column="price", min_value=1),
        "column_mean_to_be_between(price).type: expected a supported type, one of "
        f"{', '.join(SUPPORTED)}; found \"expect_column_mean_to_be_between\"",
    ),
    "an unknown column": (
        expect("column_values_to_not_be_null", column="colour"),
        "column_values_to_not_be_null(colour).kwargs.column: expected one of the columns product",
    ),
    "an unknown column in a list": (
        expect("compound_columns_to_be_unique", column_list=["brand", "colour"]),
        "compound_columns_to_be_unique(brand,colour).kwargs.column_list[1]: expected one of the",
    ),
    "an unknown column in a set": (
        expect("table_columns_to_match_set", column_set=["colour"]),
        "table_columns_to_match_set.kwargs.column_set[0]: expected one of the columns",
    ),
    "an argument of another type": (
        expect("column_values_to_not_be_null", column="brand", min_value=1),
        "column_values_to_not_be_null(brand).kwargs.min_value: expected one of column, mostly;"
        ' found "min_value"',
    ),
    "a missing argument": (
        expect("column_values_to_match_regex", column="brand"),
        "column_values_to_match_regex(brand).kwargs.regex: expected a regular expression; found",
    ),
    "a share in percent": (
        expect("column_values_to_not_be_null", column="brand", mostly=95),
        "column_values_to_not_be_null(brand).kwargs.mostly: expected the share of values that must",
    ),
    "no limit": (
        expect("column_values_to_be_between", column="price", strict_min=True),
        "column_values_to_be_between(price).kwargs.min_value: expected a limit: min_value, max_v",
    ),
    "limits in the wrong order": (
        expect("column_values_to_be_between", column="price", min_value=2, max_value=1),
        "column_values_to_be_between(price).kwargs.min_value: expected at most max_value, which",
    ),
    "text as the limit of a number": (
        expect("column_values_to_be_between", column="price", min_value="a"),
        "column_values_to_be_between(price).kwargs.min_value: expected a number: the column is a",
    ),
    "a number as the limit of a timestamp": (
        expect("column_values_to_be_between", column="time", min_value=2017),
        "column_values_to_be_between(time).kwargs.min_value: expected text: the column is a time",
    ),
    "a limit that is no timestamp": (
        expect("column_values_to_be_between", column="time", min_value="2017-02-30 00:00:00"),
        "column_values_to_be_between(time).kwargs.min_value: expected a timestamp as YYYY-MM-DD",
    ),
    "limits of text": (
        expect("column_values_to_be_between", column="brand", min_value="a"),
        "column_values_to_be_between(brand).kwargs.column: expected a column of the type bigint,",
    ),
    "a set of the wrong kind": (
        expect("column_values_to_be_in_set", column="brand", value_set=["National", 7]),
        "column_values_to_be_in_set(brand).kwargs.value_set[1]: expected text: the column is a v",
    ),
    "a broken regular expression": (
        expect("column_values_to_match_regex", column="brand", regex="("),
        "column_values_to_match_regex(brand).kwargs.regex: expected a regular expression (missin",
    ),
    "a regular expression for a number": (
        expect("column_values_to_match_regex", column="price", regex="1"),
        "column_values_to_match_regex(price).kwargs.column: expected a column of the type varchar",
    ),
    "a pair that cannot be compared": (
        expect("column_pair_values_a_to_be_greater_than_b", column_A="price", column_B="time"),
        "column_pair_values_a_to_be_greater_than_b(price,time).kwargs.column_B: expected a colum",
    ),
    "a severity of another tool": (
        {**expect("table_row_count_to_be_between", min_value=1), "severity": "hard"},
        "table_row_count_to_be_between.severity: expected critical (stops the load, the default)",
    ),
    "a key that nothing reads": (
        {**expect("table_row_count_to_be_between", min_value=1), "sevirity": "info"},
        "table_row_count_to_be_between.sevirity: expected one of type, kwargs, severity,",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_rule_that_cannot_be_judged_is_refused_with_file_key_and_remedy(root, case):
    expectation, told = FAULTS[case]
    write(root, expectation)
    (line,) = faults(root, environment="qa")
    assert line.startswith(f"config/{COMMON}: datasets.products.expectations.expect_{told}")


@pytest.mark.parametrize(
    "regex",
    [
        "^[A-Z][A-Z&/ -]*$",
        "a{2}b{2,}c{2,3}",
        r"\{x\}",
        "[{(?P]+",
        "^[^{}]*$",
        r"[\[\]]",
        "[]a]",
        r"\N{DIGIT ONE}",
        r"\\\(\?P<",
        "(?i)tea|(?:milk)(?<!x)",
        r"\012",
    ],
)
def test_a_regular_expression_that_java_reads_alike_is_taken(root, regex):
    write(root, expect("column_values_to_match_regex", column="brand", regex=regex))
    (rule,) = rules(root).values()
    assert rule["kwargs"]["regex"] == regex


@pytest.mark.parametrize(
    "regex, found",
    [
        ("^(?P<first>[A-Z])", "(?P"),
        (r"\\(?P<a>x)", "(?P"),
        ("a{,3}", "{"),
        (r"\\{", "{"),
        ("(?#tea)x", "(?#"),
        ("(a)?(?(1)b|c)", "(?("),
        ("(?a)x", "(?a"),
        ("[[(]", "[[(]"),
        ("[a-z&&[^b]]", "[a-z&&[^b]"),
        (r"\U00000041", r"\U"),
        (r"a\0", r"\0"),
    ],
)
def test_a_regular_expression_of_pythons_alone_is_refused(root, regex, found):
    write(root, expect("column_values_to_match_regex", column="brand", regex=regex))
    with pytest.raises(ConfigurationError, match="a regular expression of Java's") as failure:
        rules(root)
    assert f"a regular expression of Java's, without {found}; found" in str(failure.value)


def test_rules_of_a_dataset_that_is_not_there_are_refused(root):
    append(root, "common/expectations/goods.json", '{"name": "goods", "expectations": []}')
    (line,) = faults(root)
    assert (
        "datasets.goods: expected a dataset, datasets/goods.yaml, that the rules are about" in line
    )


@pytest.mark.parametrize(
    "text, told",
    [
        ('{"name": "products",', "line 1, column 21: Expecting property name"),
        ("[]", "expected a Great Expectations suite"),
        (
            '{"name": "goods", "expectations": []}',
            'name: expected products, as its file .* "goods"',
        ),
        ('{"name": "products", "expectations": [], "data": 1}', "data: expected one of name, id"),
        ('{"name": "products", "expectations": ["x"]}', r"expectations\[0\]: expected a mapping"),
        ('{"name": "products", "name": "a"}', "key 'name' is repeated"),
        (
            '{"name": "products", "expectations": [{"type": "a"}, {"type": "a"}]}',
            r"expectations\[1\]: a is there already; give one of them an id",
        ),
    ],
)
def test_a_file_that_is_no_suite_is_refused(text, told):
    with pytest.raises(SuiteError, match=told):
        read_suite(text, "products")


def test_a_broken_suite_names_its_file(root):
    append(root, COMMON, "}")
    with pytest.raises(ConfigurationError, match=f"^config/{COMMON}: line "):
        load_config("qa", root=root)


def test_the_documented_types_are_the_supported_ones():
    page = (ROOT / "docs/quality-rules.md").read_text(encoding="utf-8")
    documented = {}
    for line in page.splitlines():
        if line.startswith("| `expect_"):
            type_, purpose, arguments = (cell.strip() for cell in line.strip("|").split("|"))
            documented[type_.strip("`")] = (purpose, arguments)
    assert documented == {
        type_: (schema["title"], ", ".join(f"`{name}`" for name in schema["properties"]))
        for type_, schema in SUPPORTED.items()
    }
