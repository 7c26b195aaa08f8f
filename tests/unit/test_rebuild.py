"""A rebuild's rounds: no load is lost, whenever it comes in between."""

import itertools
from types import SimpleNamespace

import pytest
from ops.data import rebuild as module
from ops.data.rebuild import CHANGED, rebuild
from ops.data.warehouse import WarehouseError
from ops.environment import OperationError


class Table:
    """A dataset whose loads are numbers: in the live table first, then in the archive."""

    live, new, old = "live", "new", "old"

    def __init__(self):
        self.loaded, self.archived, self.built = {1}, {1}, set()
        self.swapped = None
        self.lineage = 0  # changes with each load, even where the rows stay the same
        self.before_swap = self.while_waiting = lambda: None

    def load(self, number):
        self.loaded.add(number)
        self.lineage += 1

    def end_of_runs(self, *_):
        """Every run that has loaded puts its file into the archive before it ends."""
        self.archived |= self.loaded
        self.while_waiting()

    # ---- what a rebuild does with it

    def begin(self):
        return SimpleNamespace(files={1})

    def run(self, job):
        self.built = set(job.files)
        return []

    def add_arrivals(self, job):
        arrived = self.archived - job.files
        job.files |= arrived
        return bool(arrived)

    def fingerprint(self, table):
        return frozenset(self.loaded if table == self.live else self.built)

    def differences(self):
        return [str(self.loaded ^ self.built)]

    def loads(self):
        return self.lineage

    def swap(self, expected, loads):
        self.before_swap()
        if (self.loaded, self.lineage) != (expected, loads):
            raise WarehouseError(CHANGED)
        self.swapped = set(self.built)

    def drop_old(self):
        pass


@pytest.fixture(name="table")
def fixture_table(monkeypatch):
    table = Table()
    monkeypatch.setattr(module, "Rebuild", lambda *_: table)
    monkeypatch.setattr(module, "Runner", lambda _environment, job, _at_once: job)
    monkeypatch.setattr(module, "run_chunks", table.run)
    monkeypatch.setattr(module, "wait_for_running", table.end_of_runs)
    monkeypatch.setattr(module, "finish", lambda *_: None)
    return table


@pytest.mark.parametrize("accept", [False, True])
def test_what_is_loaded_but_not_archived_yet_is_in_the_new_table(table, accept):
    table.load(2)
    assert rebuild(None, "products", 1, accept) == 0
    assert table.swapped == {1, 2}


@pytest.mark.parametrize("moment", ["while_waiting", "before_swap"])
@pytest.mark.parametrize("accept", [False, True])
def test_what_is_loaded_in_between_is_in_the_new_table(table, accept, moment):
    loads = iter([2, 3])
    setattr(table, moment, lambda: [table.load(one) for one in itertools.islice(loads, 1)])
    assert rebuild(None, "products", 1, accept) == 0
    assert table.swapped == {1, 2, 3}


def test_a_load_of_the_same_rows_is_one_in_between_too(table):
    numbers = iter([1])
    table.before_swap = lambda: [table.load(number) for number in numbers]
    swaps = []
    swap = table.swap
    table.swap = lambda *expected: [swaps.append(expected), swap(*expected)]
    assert rebuild(None, "products", 1, False) == 0
    assert [loads for _, loads in swaps] == [0, 1]


def test_a_table_that_is_loaded_all_the_time_stays(table):
    loads = iter(range(2, 99))
    table.before_swap = lambda: table.load(next(loads))
    with pytest.raises(OperationError, match="live was loaded in each of 5 rounds"):
        rebuild(None, "products", 1, True)
    assert table.swapped is None


def test_a_table_that_differs_is_swapped_in_only_where_that_is_accepted(table, monkeypatch, capsys):
    table.load(7)
    monkeypatch.setattr(module, "wait_for_running", lambda *_: None)  # it was deleted since
    assert rebuild(None, "products", 1, False) == 1
    assert table.swapped is None and "{7}" in capsys.readouterr().err
    assert rebuild(None, "products", 1, True) == 0
    assert table.swapped == {1} and "accepted: new differs" in capsys.readouterr().err
