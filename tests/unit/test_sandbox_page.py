"""Pages of promises: each of their rows names tests that exist, and each attempt of the hostile package has its row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.integration.test_sandbox import ALLOWED, REFUSED

REPOSITORY = Path(__file__).parents[2]
_TEST = re.compile(r"`(test_\w+)(?:\[([^\]`]+)\])?`")
PAGES = {
    name: (REPOSITORY / name).read_text()
    for name in ("SECURITY.md", "docs/sandbox.md", "docs/threats.md", "docs/transactions.md")
}
ATTEMPTS = _TEST.findall(PAGES["docs/sandbox.md"].partition("## Files")[2])


@pytest.fixture(scope="module")
def tests() -> set[str]:
    trees = [ast.parse(path.read_text()) for path in (REPOSITORY / "tests").rglob("test_*.py")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(tests: set[str], page: str) -> None:
    named = {name for name, _ in _TEST.findall(PAGES[page])}
    assert sorted(named - tests) == []
    assert named


def test_the_page_has_every_attempt_and_no_other() -> None:
    assert sorted({case for name, case in ATTEMPTS if name == "test_refused"}) == sorted(REFUSED)
    assert sorted({case for name, case in ATTEMPTS if name == "test_allowed"}) == sorted(ALLOWED)


@pytest.mark.parametrize("page", PAGES)
def test_every_row_of_promises_names_a_test(page: str) -> None:
    """In each table whose last column is for that."""
    rows = [
        row
        for table in re.findall(r"(?:^\|.*\n)+", PAGES[page], re.MULTILINE)
        if table.partition("\n")[0].endswith("| test |")
        for row in table.rstrip("\n").split("\n")[2:]
    ]
    assert [row for row in rows if "`test_" not in row] == []
    assert rows
