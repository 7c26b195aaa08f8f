"""Which file a dead letter is about."""

import json

import pytest
from ops.data.inbox import file_of

EVENT = {"detail": {"object": {"key": "data/in/a.csv", "version-id": "v"}}}
FILE = ("data/in/a.csv", "v")


@pytest.mark.parametrize(
    ("body", "file"),
    [
        (json.dumps(EVENT), FILE),
        (json.dumps({"requestContext": {}, "requestPayload": EVENT}), FILE),
        (json.dumps({"detail": {}}), None),
        (json.dumps(["detail"]), None),
        ("not JSON", None),
    ],
)
def test_the_events_file_is_found_in_both_kinds(body, file):
    assert file_of(body) == file
