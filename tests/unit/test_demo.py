"""The demo is red as soon as one row is unaccounted for."""

import pytest
from ops.data import demo
from ops.data.demo import unaccounted
from ops.data.feed import LOADED, Delivery, report
from ops.data.runs import Account


@pytest.fixture(name="file")
def fixture_file(tmp_path):
    file = tmp_path / "Products_20170115.csv"
    file.write_text('id,name\n1,"two\nlines"\n2,b\n3,c\n')
    return file


def delivery(**changes):
    numbers = {"rows_in": 3, "loaded": 2, "rejected": 1, "superseded": 0} | changes
    account = Account(**numbers, rejected_by_reason={"no price": numbers["rejected"]})
    return Delivery(LOADED, "run", 1.0, account)


def faults(file, rows=2, repeated=0, **changes):
    return unaccounted({file: delivery(**changes)}, rows, repeated)


def test_every_row_accounted_for_is_no_fault(file):
    assert not faults(file)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"rows_in": 4, "rejected": 2}, "has 3 rows; its run saw 4"),
        ({"loaded": 1}, "not all of its rows"),
        ({"rows": 1}, "2 rows were loaded; the warehouse has 1"),
        ({"repeated": 1}, "1 upsert keys are more than once"),
    ],
)
def test_each_way_to_lose_or_double_a_row_is_a_fault(file, changes, said):
    assert said in "\n".join(faults(file, **changes))


@pytest.mark.parametrize("rows, code", [(2, 0), (1, 1)])
def test_the_demo_ends_with_what_is_unaccounted_for(file, monkeypatch, capsys, rows, code):
    monkeypatch.setattr("sys.argv", ["demo", "--env", "dev"])
    monkeypatch.setattr(demo.Environment, "require_deployed", lambda _: None)
    monkeypatch.setattr(demo.PRODUCTS.__class__, "files", lambda _, days: [file] * len(days))
    monkeypatch.setattr(demo, "feed_all", lambda _, files: {file: delivery()})
    monkeypatch.setattr(demo, "Warehouse", FullWarehouse)
    monkeypatch.setattr(demo, "in_warehouse", lambda *_: (rows, 0))

    assert demo.main() == code
    assert ("unaccounted: 2 rows were loaded" in capsys.readouterr().err) == bool(code)


class FullWarehouse:
    """The warehouse, as far as the demo asks it what there is in all."""

    def __init__(self, environment):
        self.environment = environment

    def fingerprint(self, *_):
        """Return what is in the table."""
        return f"{self.environment.name}: 2 rows"


@pytest.mark.parametrize("loaded, code", [(2, 0), (1, 1)])
def test_feed_ends_with_whether_the_rows_add_up(file, capsys, loaded, code):
    environment = demo.Environment.load("dev")

    assert report(environment, file, delivery(loaded=loaded)) == code
    assert ("do not add up" in capsys.readouterr().err) == bool(code)
