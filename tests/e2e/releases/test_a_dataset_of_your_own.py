"""docs/add-your-dataset.md, followed block by block; then that dataset's columns change."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import copy_checkout
from tests.conftest import REPOSITORY
from tests.e2e.project import Project

PAGE = (REPOSITORY / "docs/add-your-dataset.md").read_text(encoding="utf-8")
NAME = "Stores_20170131.csv"
STORES = "DATASET=stores"
YAML, SUITE = "config/common/datasets/stores.yaml", "config/common/expectations/stores.json"
TABLE = 'select store_id, store_name, floor_area, "_source_file" from stores order by 1'


def block(kind: str, number: int = 0) -> str:
    """Return one of the page's blocks of code: of what has no kind, outputs, too."""
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    return [text for its_kind, text in found if its_kind == kind][number]


def output_of(command: str) -> list[str]:
    """Return what the page says that a command prints, line by line."""
    pattern = rf"```bash\n{re.escape(command)}.*?\n```\n```\n(.*?)```"
    (found,) = re.findall(pattern, PAGE, re.DOTALL)
    return found.splitlines()


@pytest.fixture(scope="module", name="mine")
def fixture_mine(project, tmp_path_factory) -> Iterator[Project]:
    """A copy of the project with the page's two files, deployed; later the project's again."""
    mine = Project(copy_checkout(tmp_path_factory.mktemp("mine") / "copy"), project.aws)
    (mine.folder / YAML).write_text(block("yaml"), encoding="utf-8")
    (mine.folder / SUITE).write_text(block("json"), encoding="utf-8")
    try:
        deployed = deploy(mine)
        assert re.search(r"Data Catalog: \S+: made or changed stores\n", deployed.stderr)
        yield mine
    finally:
        deploy(project)


def deploy(which: Project):
    done = which.make("deploy", "ENV=dev")
    assert done.returncode == 0, done.stderr
    return done


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def change(mine: Project, old: str, new: str) -> None:
    file = mine.folder / YAML
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_configuration_is_shown_as_the_page_shows_it(mine):
    shown = mine.make("config", "ENV=dev").stdout.splitlines()
    columns = [re.sub(" +", " ", line) for line in shown if "datasets.stores.columns" in line]
    assert columns == output_of("make config ENV=dev | grep datasets.stores.columns")


def test_its_file_is_loaded_as_the_page_shows_it(mine, tmp_path):
    smoked = mine.make("smoke", "ENV=dev", STORES)
    assert smoked.returncode == 0 and "stores, 100 rows" in smoked.stdout + smoked.stderr
    file = write(tmp_path, NAME, block("csv"))

    fed = mine.make("feed", "ENV=dev", f"FILE={file}", STORES)

    assert fed.returncode == 0, fed.stderr
    *account, warning = output_of(f"make feed ENV=dev FILE={NAME} DATASET=stores")
    assert without_seconds(fed.stdout.splitlines()) == without_seconds(account)
    assert warning in fed.stderr.splitlines()
    rejected = mine.make("rejected", "ENV=dev", f"FILE={NAME}")
    assert rejected.stdout.splitlines() == output_of("make rejected ENV=dev")
    assert mine.query(TABLE) == output_of("make query ENV=dev SQL='select store_id")[1:]
    again = mine.make("feed", "ENV=dev", f"FILE={file}")
    assert again.returncode == 0 and "loaded before" in again.stdout + again.stderr


def without_seconds(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("seconds")]


def test_a_new_optional_column_is_null_where_a_file_has_none(mine, tmp_path):
    # GIVEN a column that is new
    change(
        mine,
        '"decimal(8,2)", min: 0}\n',
        '"decimal(8,2)", min: 0}\n'
        '  - {source: "Parking", name: parking, type: integer, optional: true}\n',
    )
    deploy(mine)
    # WHEN a file that has it and one that has not come in
    header = block("csv").splitlines()[0]
    new = f"{header},Parking\n501,New,Springfield,2017-02-01 00:00:00,100,40\n"
    old = f"{header}\n502,Old,Springfield,2017-02-01 00:00:00,200\n"
    for name, text in (("Stores_20170207.csv", new), ("Stores_20170208.csv", old)):
        fed = mine.feed(write(tmp_path, name, text))
        assert fed.returncode == 0, fed.stderr
    # THEN both are in, and so are the rows of before
    found = mine.query("select store_id, floor_area, parking from stores order by 1")
    assert found[-2:] == ["501,100.00,40", "502,200.00,"]
    assert found[:-2] == ["304,1350.00,", "316,860.00,", "337,640.25,", "441,,"]


def test_an_incompatible_change_is_refused_and_another_table_takes_it(mine):
    before, live = mine.query(TABLE), mine.aliases()
    # GIVEN a type that the table's rows would not survive
    change(mine, 'name: floor_area, type: "decimal(8,2)"', 'name: floor_area, type: "decimal(5,0)"')
    # WHEN it is deployed
    refused = mine.make("deploy", "ENV=dev")
    # THEN the phase that looks at the tables says which column, and nothing is changed
    assert refused.returncode != 0
    assert "FAILED in phase check_tables " in refused.stderr
    assert "stores" in refused.stderr and "floor_area" in refused.stderr
    assert mine.query(TABLE) == before and mine.aliases() == live

    # WHEN the dataset gets another table, which is filled from the archive
    change(mine, "table: stores", "table: stores_rounded")
    deploy(mine)
    rebuilt = mine.make("rebuild", "ENV=dev", STORES, "ACCEPT=1")
    # THEN that has the rows, and the old one is as it was
    assert rebuilt.returncode == 0, rebuilt.stderr
    found = mine.query("select store_id, floor_area, parking from stores_rounded order by 1")
    assert found == ["304,1350,", "316,860,", "337,640,", "441,,", "501,100,40", "502,200,"]
    assert mine.query(TABLE) == before
