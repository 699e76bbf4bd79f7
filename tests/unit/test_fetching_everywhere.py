"""All that fetches is watched."""

from __future__ import annotations

import ast
from pathlib import Path

import apt_ostree

PACKAGE = Path(apt_ostree.__file__).parent
FETCHES = {"pull", "pull-local", "mmdebstrap", "update", "download"}
"""Words of commands that fetch: of ostree(1), apt-get(8), and mmdebstrap(1) itself."""

PROGRAMS = {"ostree", "apt-get", "mmdebstrap"}


def fetches(function: ast.FunctionDef) -> bool:
    """Whether a function has the words of a command that fetches."""
    for node in ast.walk(function):
        words = (
            node.elts if isinstance(node, (ast.List, ast.Tuple)) else node.args if isinstance(node, ast.Call) else []
        )
        texts = {word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)}
        if texts & FETCHES and texts & PROGRAMS:
            return True
    return False


def test_all_that_fetches_is_watched() -> None:
    """mmdebstrap's command is made apart: test_mmdebstrap.py has it watched."""
    found = {
        f"{file.stem}.{node.name}": ast.unparse(node)
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef) and fetches(node)
    }
    assert set(found) >= {
        "apt.download",
        "compose_sysroot._pull",
        "mmdebstrap.arguments",
        "remote.pull",
        "remote._pull",
    }
    del found["mmdebstrap.arguments"]
    assert [name for name, source in found.items() if ".over" not in source] == []
