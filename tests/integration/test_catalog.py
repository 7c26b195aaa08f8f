"""The Data Catalog's tables, as the datasets' configuration wants them, on local AWS."""

import copy
import uuid
from dataclasses import dataclass, field

import boto3
import pytest
from ops.data.catalog import database_name, prepare

CONFIG = {
    "datasets": {
        "things": {
            "name": "things",
            "columns": [
                {"source": "Id", "name": "id", "type": "bigint"},
                {"source": "Count", "name": "count", "type": "integer"},
                {"source": "Label", "name": "label", "type": "varchar(3)"},
                {"source": "Price", "name": "price", "type": "decimal(12,4)"},
                {"source": "At", "name": "at", "type": "timestamp"},
            ],
            "upsert_keys": ["id"],
            "target": {"table": "things_loaded"},
        }
    }
}


@dataclass
class Account:
    """ops.environment's Environment, as far as the catalog uses it."""

    session: boto3.Session
    data_bucket: str = "lake"
    prefix: str = field(default_factory=lambda: f"db-{uuid.uuid4().hex}")

    def client(self, service: str):
        return self.session.client(service)

    def table(self) -> dict:
        glue = self.client("glue")
        return glue.get_table(DatabaseName=database_name(self), Name="things_loaded")["Table"]


@pytest.fixture(name="account")
def fixture_account(local_aws) -> Account:
    account = Account(local_aws.session("dev"))
    account.client("glue").create_database(DatabaseInput={"Name": database_name(account)})
    return account


def test_a_table_has_the_datasets_columns_and_a_partition_a_load(account):
    assert prepare(account, CONFIG) == ["things_loaded"]

    table = account.table()
    columns = table["StorageDescriptor"]["Columns"]
    assert [(column["Name"], column["Type"]) for column in columns] == [
        ("id", "bigint"),
        ("count", "int"),
        ("label", "string"),
        ("price", "decimal(12,4)"),
        ("at", "timestamp"),
        ("_source", "int"),
    ]
    assert [key["Name"] for key in table["PartitionKeys"]] == ["_run_date", "_run_id"]
    assert table["StorageDescriptor"]["Location"] == "s3://lake/data/runs/"


def test_a_table_that_is_as_it_should_be_is_left_alone(account):
    prepare(account, CONFIG)
    before = account.table()["VersionId"]

    assert not prepare(account, CONFIG)
    assert account.table()["VersionId"] == before


def test_what_glue_adds_to_a_table_is_no_difference(account):
    prepare(account, CONFIG)
    table = {name: account.table()[name] for name in ("Name", "PartitionKeys", "TableType")}
    table |= {name: account.table()[name] for name in ("Description", "Parameters")}
    storage = account.table()["StorageDescriptor"] | {"Compressed": False, "BucketColumns": []}
    table["StorageDescriptor"] = storage
    account.client("glue").update_table(DatabaseName=database_name(account), TableInput=table)

    assert not prepare(account, CONFIG)


def test_a_new_column_of_the_dataset_is_one_of_the_table(account):
    prepare(account, CONFIG)
    config = copy.deepcopy(CONFIG)
    config["datasets"]["things"]["columns"].append(
        {"source": "Note", "name": "note", "type": "varchar(9)"}
    )

    assert prepare(account, config) == ["things_loaded"]
    columns = account.table()["StorageDescriptor"]["Columns"]
    assert [column["Name"] for column in columns[-2:]] == ["note", "_source"]
