"""docs/sandbox.md: each of its rows names a test, and each attempt of the hostile package has its row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.integration.test_sandbox import ALLOWED, REFUSED

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/sandbox.md").read_text()
NAMED = re.findall(r"`(test_\w+)(?:\[([^\]`]+)\])?`", PAGE.partition("## Files")[2])


def test_every_test_that_the_page_names_exists() -> None:
    trees = [ast.parse(path.read_text()) for path in (REPOSITORY / "tests").rglob("test_*.py")]
    tests = {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert sorted({name for name, _ in NAMED} - tests) == []


def test_the_page_has_every_attempt_and_no_other() -> None:
    assert sorted({case for name, case in NAMED if name == "test_refused"}) == sorted(REFUSED)
    assert sorted({case for name, case in NAMED if name == "test_allowed"}) == sorted(ALLOWED)


def test_every_row_of_the_page_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| --- ")]
    heads = [line for line in rows if line.endswith("| test |")]
    assert [line for line in rows if line not in heads and "`test_" not in line] == []
    assert len(rows) > len(heads) > 0
