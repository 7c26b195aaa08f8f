"""What a restore says of each thing."""

import pytest
from ops.backup.compare import AS_IT_WAS, CHANGED, MISSING, Thing, compared, differing
from ops.backup.machine import substituted

WAS = {"latest": {"code": "1", "settings": {"Timeout": 3, "Layers": ["a"]}}, "tags": {}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (WAS, Thing("it", AS_IT_WAS)),
        (None, Thing("it", MISSING)),
        (WAS | {"tags": {"Owner": "b"}}, Thing("it", CHANGED, "tags.Owner")),
        (
            WAS | {"latest": {"code": "2", "settings": {"Timeout": 4, "Layers": ["a"]}}},
            Thing("it", CHANGED, "latest.code, latest.settings.Timeout"),
        ),
        ({"latest": WAS["latest"]}, Thing("it", CHANGED, "tags")),
    ],
)
def test_a_changed_thing_names_what_was_changed(found, expected):
    assert compared("it", WAS, found) == expected


def test_a_list_is_compared_whole():
    assert list(differing({"a": [1, 2]}, {"a": [2, 1]})) == ["a"]


def test_only_a_whole_arn_is_replaced_in_a_definition():
    definition = '{"FunctionName": "arn:f:1", "Other": "arn:f:10"}'
    changed = substituted(definition, {"arn:f:1": "arn:f:2"})
    assert changed == '{"FunctionName": "arn:f:2", "Other": "arn:f:10"}'
