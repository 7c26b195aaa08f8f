"""Which dataset a command is about."""

import pytest
from ops.data.replay import chosen_dataset
from ops.environment import Environment, OperationError

PRODUCTS, PROMOTIONS = {"name": "products"}, {"name": "promotions"}
ONE = Environment("dev", {"datasets": {"products": PRODUCTS}})
TWO = Environment("dev", {"datasets": {"products": PRODUCTS, "promotions": PROMOTIONS}})


def test_the_only_dataset_need_not_be_named():
    assert chosen_dataset(ONE, "") == "products"


def test_of_several_datasets_one_is_named():
    assert chosen_dataset(TWO, "promotions") == "promotions"
    with pytest.raises(OperationError, match="^DATASET is missing: give one of products, promot"):
        chosen_dataset(TWO, "")


def test_a_dataset_that_there_is_not_is_answered_with_those_that_there_are():
    with pytest.raises(OperationError, match="^no dataset 'promos'; configured are: products, pr"):
        chosen_dataset(TWO, "promos")
