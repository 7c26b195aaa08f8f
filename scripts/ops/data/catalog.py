"""The datasets' tables in the Glue Data Catalog: what Athena, and all that reads the Catalog, sees.

A table shows the rows of each load as the job wrote them, where they lie: a partition a run, by
`_run_date` and `_run_id`, which the state machine adds once the load is in the warehouse. So no
row is there of a run that failed, and of a key that was loaded twice both are: the warehouse has
the newest. A partition's parameters say what the load came from.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.aws import or_none
from ops.environment import Environment, command

# As Athena's CREATE TABLE ... STORED AS PARQUET.
STORAGE = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
    },
}
# The Catalog's names of types that it does not call as the warehouse does.
HIVE_TYPES = {"integer": "int", "varchar": "string"}
SOURCE = {"Name": "_source", "Type": "int", "Comment": "Which of the run's files, from 0"}
PARTITION_KEYS = [
    {"Name": "_run_date", "Type": "date", "Comment": "The day that the run's files are of"},
    {"Name": "_run_id", "Type": "string", "Comment": "The load: _run_id in the warehouse"},
]


def database_name(environment: Environment) -> str:
    """Return the Data Catalog's database of an environment; unquoted SQL takes no hyphen."""
    return environment.prefix.replace("-", "_")


def table_input(dataset: Mapping[str, Any], bucket: str) -> dict[str, Any]:
    """Return the TableInput of a dataset's table; its runs lie in a bucket."""
    columns = [
        {"Name": column["name"], "Type": hive_type(column["type"]), "Comment": column["source"]}
        for column in dataset["columns"]
    ]
    return {
        "Name": dataset["target"]["table"],
        "Description": f"Loads of {dataset['name']}, a partition each; upsert keys: "
        + ", ".join(dataset["upsert_keys"]),
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet"},
        "PartitionKeys": PARTITION_KEYS,
        "StorageDescriptor": {
            **STORAGE,
            "Columns": [*columns, SOURCE],
            "Location": f"s3://{bucket}/data/runs/",
        },
    }


def hive_type(sql_type: str) -> str:
    """Return a column's type as the Catalog names it: integer -> int, varchar(64) -> string."""
    return HIVE_TYPES.get(sql_type.partition("(")[0], sql_type)


def prepare(environment: Environment, config: Mapping[str, Any]) -> list[str]:
    """Make the datasets' tables as a configuration says; return the names of those changed."""
    glue, database = environment.client("glue"), database_name(environment)
    changed = []
    for dataset in config["datasets"].values():
        wanted = table_input(dataset, environment.data_bucket)
        found = or_none(glue.get_table, DatabaseName=database, Name=wanted["Name"])
        if found and holds(found["Table"], wanted):
            continue
        write = glue.update_table if found else glue.create_table
        write(DatabaseName=database, TableInput=wanted)
        changed.append(wanted["Name"])
    return changed


def holds(found: Any, wanted: Any) -> bool:
    """Return whether what is there is what is wanted; Glue adds settings of its own."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            holds(found.get(name), value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return len(found or []) == len(wanted) and all(map(holds, found, wanted))
    return found == wanted


@command
def main() -> int:
    """Make the tables of a release's configuration."""
    parser = argparse.ArgumentParser(prog="python -m ops.data.catalog", description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument(
        "--config", type=Path, required=True, help="a release's merged configuration"
    )
    arguments = parser.parse_args()
    environment = Environment.load(arguments.env)
    config = json.loads(arguments.config.read_text(encoding="utf-8"))
    changed = prepare(environment, config)
    words = f"made or changed {', '.join(changed)}" if changed else "as they should be"
    print(f"  Data Catalog: {database_name(environment)}: {words}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
