"""Which dataset a command is about."""

import pytest
from ops.environment import Environment, OperationError

ONE = Environment("dev", {"datasets": {"products": {}}})
TWO = Environment("dev", {"datasets": {"products": {}, "promotions": {}}})


def test_the_only_dataset_need_not_be_named():
    assert ONE.chosen_dataset("") == "products"


def test_of_several_datasets_one_is_named():
    assert TWO.chosen_dataset("promotions") == "promotions"
    with pytest.raises(OperationError, match="^DATASET is missing: give one of products, promot"):
        TWO.chosen_dataset("")


def test_a_dataset_that_there_is_not_is_answered_with_those_that_there_are():
    with pytest.raises(OperationError, match="^no dataset 'promos'; configured are: products, pr"):
        TWO.chosen_dataset("promos")
