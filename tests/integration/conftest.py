"""Fixtures of the component tests."""

# pylint: disable=unused-import  # pytest finds fixtures by their names
from tests.integration.state_machine import make_pipeline
from tests.localaws.conftest import fixture_schema, fixture_warehouse
