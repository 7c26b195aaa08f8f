"""Spark's settings follow the size of the load."""

import pytest
from utils.session import shuffle_partitions

MIB = 1024 * 1024


@pytest.mark.parametrize(
    "sizes, partitions",
    [
        ({}, 1),
        ({"a.csv": 300}, 1),
        ({"a.csv": 60 * MIB, "b.csv": 60 * MIB}, 2),
        ({"a.csv.gz": 16 * MIB}, 2),
        ({"a.csv": 5 * 1024 * MIB}, 80),
    ],
)
def test_a_small_load_shuffles_in_one_part_and_a_large_one_in_many(sizes, partitions):
    assert shuffle_partitions(sizes) == partitions
