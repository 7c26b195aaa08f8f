"""Tables in a real warehouse: made, changed without harm to rows, or left alone with the reason."""

import copy

import pytest
from ops.data.tables import check, found_tables, prepare
from ops.environment import OperationError

CONFIG = {
    "project": "p",
    "environment": "dev",
    "datasets": {
        "things": {
            "name": "things",
            "columns": [
                {"name": "id", "type": "bigint", "required": True},
                {"name": "label", "type": "varchar(3)"},
                {"name": "price", "type": "decimal(12,4)"},
            ],
            "upsert_keys": ["id"],
            "order_by": [],
            "target": {"table": "things"},
        }
    },
}


class Direct:
    """ops.data.warehouse's Warehouse, as far as tables use it, on the tests' own."""

    def __init__(self, warehouse):
        self._warehouse = warehouse
        self.rows = []

    def run(self, sql):
        self.rows = self._warehouse.run(sql)
        return self

    def run_all(self, statements):
        self._warehouse.run(*statements)


@pytest.fixture(name="tables")
def fixture_tables(warehouse):
    """A warehouse with a row in the tables of CONFIG."""
    direct = Direct(warehouse)
    prepare(direct, CONFIG)
    warehouse.run("INSERT INTO public.things (id, label) VALUES (1, 'tea')")
    yield direct
    for schema in ("public", "smoke"):
        for table in ("things", "load_history", "watermark"):
            warehouse.run(f"DROP TABLE {schema}.{table}")


def changed(**dataset):
    config = copy.deepcopy(CONFIG)
    config["datasets"]["things"] |= dataset
    return config


def test_preparing_again_changes_nothing(tables):
    before = found_tables(tables)
    assert before["public", "things"].upsert_keys == ("id",)
    assert prepare(tables, CONFIG) == []
    assert found_tables(tables) == before


def test_a_new_optional_column_and_more_room_for_text_keep_the_rows(tables, warehouse):
    columns = [dict(column) for column in CONFIG["datasets"]["things"]["columns"]]
    columns[1]["type"] = "varchar(9)"
    columns.insert(1, {"name": "brand", "type": "varchar(5)", "optional": True})

    lines = prepare(tables, changed(columns=columns))

    assert len(lines) == 4  # two in each schema
    assert warehouse.run("SELECT id, label, brand FROM public.things") == [(1, "tea", None)]
    warehouse.run("INSERT INTO public.things (id, label) VALUES (2, 'nine long')")
    assert "too long" in warehouse.error(
        "INSERT INTO public.things (id, label) VALUES (3, 'ten longer')"
    )
    assert prepare(tables, changed(columns=columns)) == []


@pytest.mark.parametrize(
    "dataset, fault",
    [
        (
            {"columns": [{"name": "id", "type": "bigint", "required": True}]},
            "public.things.label would be removed",
        ),
        ({"upsert_keys": ["id", "label"]}, "public.things's upsert keys would change"),
    ],
)
def test_an_incompatible_change_is_refused_before_anything_is_changed(tables, dataset, fault):
    before = found_tables(tables)
    config = changed(**dataset)
    config["datasets"]["more"] = changed(target={"table": "more"})["datasets"]["things"]
    for attempt in (check, prepare):
        with pytest.raises(OperationError, match=fault):
            attempt(tables, config)
    # The other dataset's table was not made either.
    assert found_tables(tables) == before
