"""What an environment demands of a release."""

import pytest
from ops.environment import Environment
from ops.release.gates import faults

MANIFEST = {"version": "v1", "dirty": False}


def test_a_clean_build_is_taken():
    assert not list(faults(Environment.load("prod"), MANIFEST))


@pytest.mark.parametrize("name", ["qa", "staging", "prod"])
def test_a_build_of_changed_sources_is_not_taken_outside_dev(name):
    dirty = MANIFEST | {"dirty": True}
    (fault,) = faults(Environment.load(name), dirty)
    assert "v1 was built from changed sources" in fault and name in fault
    assert not list(faults(Environment.load("dev"), dirty))
