"""A warehouse for the tests of what PostgreSQL stands in for."""

import uuid
from collections.abc import Iterator

import pytest
from tests.localaws.redshift_warehouse import Warehouse, make_warehouse


@pytest.fixture(scope="session", name="warehouse")
def fixture_warehouse(local_aws) -> Warehouse:
    """A warehouse in the account of dev, shared by the tests."""
    return make_warehouse(local_aws, "dev")


@pytest.fixture(name="schema")
def fixture_schema(warehouse) -> Iterator[str]:
    """A schema of the test's own."""
    name = f"s_{uuid.uuid4().hex[:8]}"
    warehouse.run(f"CREATE SCHEMA {name}")
    yield name
    warehouse.run(f"DROP SCHEMA {name} CASCADE")
