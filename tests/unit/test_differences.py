"""ops.differences: where two JSON values differ, shown to a person."""

import pytest
from ops.differences import NOTHING, Difference, differences


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": "1"}, []),  # parameters make text of numbers
        ({"a": True}, {"a": "true"}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", 1, 2)]),
        ({"a": 1}, {"b": 1}, [("a", 1, NOTHING), ("b", NOTHING, 1)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("a[1]", 2, 3)]),
        ({"a": [1, 2, 3]}, {"a": [1, 3]}, [("a[]", 2, NOTHING)]),
        ({"a": [1]}, {"a": [0, 1]}, [("a[]", NOTHING, 0)]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, [("a[0].b", 1, 2)]),
        ({"a": ""}, {"a": None}, [("a", "", None)]),
        ("x", "y", [("", "x", "y")]),
    ],
)
def test_each_place_that_differs_is_named(old, new, found):
    assert list(differences(old, new)) == [Difference(*place) for place in found]


def test_values_are_shown_so_that_they_cannot_be_misread():
    assert Difference("a", NOTHING, "").shown() == ("nothing", '""')
    assert Difference("a", None, {"b": 1}).shown() == ("null", '{"b": 1}')
    assert Difference("a", " x", "x").shown() == ('" x"', "x")


def test_long_values_are_cut_around_what_differs():
    old, new = Difference("a", "x" * 500 + "old" + "y" * 500, "x" * 500 + "new").shown()
    assert "old" in old and "new" in new
    assert old.startswith("…x") and old.endswith("y…") and len(old) < 200
