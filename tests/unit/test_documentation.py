"""What the pages name is there: the files that they link to, the commands, the tests."""

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")
# In code only: a sentence may say "make rows of ...".
CODE = re.compile(r"```(?:bash|text)?\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMAND = re.compile(r"\bmake ([a-z][a-z0-9-]*)")
# Not config/: add-your-dataset.md has its reader write files there.
PATH = re.compile(r"\b(?:tests|scripts|glue-jobs|lambdas|localaws)/[\w./-]+\.[a-z]{2,5}\b")
TARGET = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def code_of(page: Path) -> str:
    return "\n".join(map("".join, CODE.findall(page.read_text(encoding="utf-8"))))


def missing_links(page: Path) -> list[str]:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"\w+:", link)]
    return [link for link in local if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file(page):
    assert not missing_links(page)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_a_target(page):
    targets = TARGET.findall((REPOSITORY / "Makefile").read_text(encoding="utf-8"))
    assert not set(COMMAND.findall(code_of(page))) - set(targets)


def test_commands_and_links_are_found_on_the_readme():
    readme = PAGES[0]
    assert "deploy" in COMMAND.findall(code_of(readme))
    assert "docs/state.md" in LINK.findall(readme.read_text(encoding="utf-8"))


def test_a_link_to_nothing_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[here](page.md) and [there](gone.md#part)", encoding="utf-8")
    assert missing_links(page) == ["gone.md"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_is_there(page):
    named = set(PATH.findall(code_of(page)))
    assert not {path for path in named if not (REPOSITORY / path).exists()}
