"""What `make feed` refuses before it puts anything."""

import os

import pytest
from ops.environment import Environment, OperationError
from ops.data.feed import check_file

PRODUCTS = {
    "file_pattern": r"^Products_(?P<run_date>\d{8})\.csv$",
    "example_file": "Products_20170115.csv",
}
ENVIRONMENT = Environment("dev", {"datasets": {"products": PRODUCTS}})


def refused(name, dataset=""):
    with pytest.raises(OperationError) as error:
        check_file(ENVIRONMENT, str(name), dataset)
    return str(error.value)


def test_file_with_spaces_and_unicode_in_its_name_is_taken(tmp_path):
    file = tmp_path / "Über sales, 2017.csv"
    file.write_text("x")
    assert check_file(ENVIRONMENT, str(file), "") == file


def test_no_file_is_refused_with_an_example():
    assert "make feed ENV=dev FILE=Products_20170115.csv" in refused("")


def test_missing_file_is_refused_with_the_folder_looked_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused("x.csv") == f"x.csv: there is no such file (looked in {tmp_path})"


def test_folder_is_refused(tmp_path):
    assert "is not a file" in refused(tmp_path)


def test_file_of_more_than_5_gb_is_refused(tmp_path):
    file = tmp_path / "x.csv"
    file.touch()
    os.truncate(file, 5 * 1024**3 + 1)  # sparse: takes no space
    assert "larger than 5 GB" in refused(file)


def test_name_that_is_not_the_datasets_is_refused_with_the_pattern(tmp_path):
    (tmp_path / "x.csv").touch()
    assert r"^Products_(?P<run_date>\d{8})\.csv$" in refused(tmp_path / "x.csv", "products")


def test_name_that_is_the_datasets_is_taken(tmp_path):
    file = tmp_path / "Products_20170115.csv"
    file.touch()
    assert check_file(ENVIRONMENT, str(file), "products") == file


def test_unknown_dataset_is_refused_with_the_known_ones(tmp_path):
    (tmp_path / "x.csv").touch()
    message = refused(tmp_path / "x.csv", "produce")
    assert message == "no dataset 'produce'; configured are: products"
