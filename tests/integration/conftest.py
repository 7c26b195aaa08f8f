"""Fixtures of the component tests."""

# pylint: disable=redefined-outer-name  # pytest's way of asking for fixtures

import uuid
from collections.abc import Iterator

import pytest
from tests.integration.redshift_warehouse import Warehouse, make_warehouse


@pytest.fixture(scope="session")
def warehouse(local_aws) -> Warehouse:
    """A warehouse in the account of dev, shared by the tests."""
    return make_warehouse(local_aws, "dev")


@pytest.fixture
def schema(warehouse) -> Iterator[str]:
    """A schema of the test's own."""
    name = f"s_{uuid.uuid4().hex[:8]}"
    warehouse.run(f"CREATE SCHEMA {name}")
    yield name
    warehouse.run(f"DROP SCHEMA {name} CASCADE")
