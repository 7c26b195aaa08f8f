"""Tables follow from the configuration, and change only where no row is harmed."""

import pytest
from ops.data.tables import (
    Column,
    Table,
    dataset_table,
    evolution,
    grants,
    prepare,
    refuse,
    sql_type,
    table_ddl,
)
from ops.data.warehouse import MAX_STATEMENTS, Result
from ops.environment import OperationError

DATASET = {
    "name": "things",
    "columns": [
        {"name": "id", "type": "bigint", "required": True},
        {"name": "time", "type": "timestamp"},
        {"name": "label", "type": "varchar(9)"},
    ],
    "upsert_keys": ["id"],
    "order_by": ["time"],
    "target": {"table": "things"},
}
CONFIG = {"project": "p", "environment": "dev", "datasets": {"things": DATASET}}
BEFORE = Table((Column("id", "bigint", True), Column("label", "varchar(9)")), ("id",))


def test_ddl_makes_each_table_in_each_schema_with_names_that_may_be_keywords():
    statements = table_ddl(CONFIG)
    assert statements[0] == (
        'CREATE TABLE IF NOT EXISTS public."things" ("id" bigint NOT NULL, "time" timestamp, '
        '"label" varchar(9), "_run_date" date, "_arrived_at" timestamp, '
        '"_source_file" varchar(1024), "_run_id" varchar(64))'
    )
    assert statements[1] == "COMMENT ON TABLE public.\"things\" IS 'upsert keys: id'"
    assert statements[2].startswith('CREATE TABLE IF NOT EXISTS public."load_history" (')
    assert statements[3].startswith('CREATE TABLE IF NOT EXISTS public."load_rejections" (')
    assert statements[4].startswith('CREATE TABLE IF NOT EXISTS public."quality_results" (')
    assert statements[5].startswith('CREATE TABLE IF NOT EXISTS public."failed_runs" (')
    assert statements[6].startswith('CREATE TABLE IF NOT EXISTS public."watermark" (')
    assert statements[7] == "CREATE SCHEMA IF NOT EXISTS smoke"
    assert len(statements) == 15


def test_loader_may_change_rows_and_nothing_else():
    statements = grants(CONFIG, "IAMR:p-dev-load-warehouse")
    assert 'GRANT USAGE ON SCHEMA smoke TO "IAMR:p-dev-load-warehouse"' in statements
    assert len(statements) == 14
    assert not any("ALL" in statement or "CREATE" in statement for statement in statements)


def changed(*columns, keys=("id",)):
    return evolution("things", BEFORE, Table(columns, keys))


def test_an_optional_column_is_added_and_a_text_column_widened():
    change = changed(
        Column("id", "bigint", True), Column("label", "varchar(20)"), Column("new", "date")
    )
    assert not change.faults
    assert change.added == (Column("new", "date"),)
    assert change.widened == (Column("label", "varchar(20)"),)


@pytest.mark.parametrize(
    "columns, fault",
    [
        ([Column("label", "varchar(9)")], "things.id would be removed"),
        (
            [Column("id", "integer", True), Column("label", "varchar(9)")],
            "things.id would change from bigint to integer",
        ),
        (
            [Column("id", "bigint", True), Column("label", "varchar(8)")],
            "things.label would change from varchar(9) to varchar(8)",
        ),
        (
            [Column("id", "bigint", True), Column("label", "varchar(9)", True)],
            "things.label would become required",
        ),
        (
            [Column("id", "bigint"), Column("label", "varchar(9)")],
            "things.id would become no longer required",
        ),
        (
            [*BEFORE.columns, Column("new", "date", True)],
            "things.new is new and required: its rows have no value",
        ),
    ],
)
def test_what_would_harm_rows_is_a_fault_by_name(columns, fault):
    assert changed(*columns).faults == (fault,)


def test_other_keys_are_a_fault_unless_the_table_does_not_know_its_own():
    (fault,) = changed(*BEFORE.columns, keys=("id", "label")).faults
    assert fault == "things's upsert keys would change from (id) to (id, label)"
    unknown = Table(BEFORE.columns)
    assert not evolution("things", unknown, Table(BEFORE.columns, ("label",))).faults


def test_every_fault_is_named_and_no_fault_is_no_error():
    refuse([])
    with pytest.raises(OperationError, match="(?s)one\n  two\n.*another target.table"):
        refuse(["one", "two"])


@pytest.mark.parametrize(
    "described, written",
    [
        (("character varying", 64, None, None), "varchar(64)"),
        (("numeric", None, 12, 4), "decimal(12,4)"),
        (("timestamp without time zone", None, None, None), "timestamp"),
        (("bigint", None, 64, 0), "bigint"),
    ],
)
def test_types_are_read_back_as_the_configuration_writes_them(described, written):
    assert sql_type(*described) == written


def test_no_table_differs_from_itself():
    table = dataset_table(DATASET)
    assert evolution("things", table, table) == evolution("x", BEFORE, BEFORE)


class FakeWarehouse:
    """A warehouse in which nothing is; it remembers the transactions."""

    def __init__(self):
        self.transactions = []

    def run(self, _sql):
        return Result([], iter(()))

    def run_all(self, statements):
        self.transactions.append(statements)


def test_the_tables_of_many_datasets_are_made_in_as_many_transactions_as_it_takes():
    names = [f"things{number}" for number in range(10)]
    config = CONFIG | {
        "datasets": {name: DATASET | {"name": name, "target": {"table": name}} for name in names}
    }
    warehouse = FakeWarehouse()
    prepare(warehouse, config)
    assert max(map(len, warehouse.transactions)) <= MAX_STATEMENTS
    made = [statement for batch in warehouse.transactions for statement in batch]
    user = "IAMR:p-dev-load-warehouse"
    assert made == table_ddl(config) + grants(config, user)
    assert len(made) > MAX_STATEMENTS
