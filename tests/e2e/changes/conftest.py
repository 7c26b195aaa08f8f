"""A local AWS for each file: what these tests ask about is everything in an account."""

from collections.abc import Iterator

import pytest
from tests.conftest import LocalAws, new_local_aws


@pytest.fixture(scope="module")
def local_aws() -> Iterator[LocalAws]:
    """A local AWS in which nothing is deployed."""
    with new_local_aws() as aws:
        yield aws
