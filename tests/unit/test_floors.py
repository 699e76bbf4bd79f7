"""The floors of the code (docs/design.md): who may import whom, and what only one place may do."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "apt_ostree"

FLOORS = ("host", "tools", "sandbox", "inputs", "tree", "system", "layering", "ops", "cli")
"""The folders, the lowest first. Below all of them lie the modules of no folder, on the ground; __main__ starts all."""

GROUND = -1

MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if "data" not in path.relative_to(PACKAGE).parts
)
TREES = {name: ast.parse((PACKAGE / name.replace(".", "/")).with_suffix(".py").read_text()) for name in MODULES}


def floor_of(module: str) -> int:
    folder, _, inner = module.partition(".")
    if folder == "__main__":
        return len(FLOORS)
    return FLOORS.index(folder) if inner else GROUND


def is_module(name: str) -> bool:
    return name in MODULES or f"{name}.__init__" in MODULES


def in_package(module: str, node: ast.ImportFrom) -> list[str] | None:
    """The name of what ``from ... import`` reads inside our package, in parts; None for other packages."""
    words = node.module.split(".") if node.module else []
    if node.level == 0:
        return words[1:] if words[0] == "apt_ostree" else None
    # A module's own package is its first level; a package's __init__ is named here like any other module.
    parts = module.split(".")
    return parts[: len(parts) - node.level] + words


def imports(module: str) -> Iterator[str]:
    """The modules of ours that one imports anywhere in it, also in functions and for type checking."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "apt_ostree":
                    yield alias.name.partition(".")[2] or "__init__"
        elif isinstance(node, ast.ImportFrom) and (parts := in_package(module, node)) is not None:
            for alias in node.names:
                inner = ".".join([*parts, alias.name])
                yield inner if is_module(inner) else ".".join(parts) or "__init__"


def outside_imports(module: str) -> set[str]:
    """The top names of other packages that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def graph() -> dict[str, set[str]]:
    def whole(name: str) -> str:
        return f"{name}.__init__" if f"{name}.__init__" in MODULES else name

    return {module: {whole(name) for name in imports(module)} - {module} for module in MODULES}


def test_the_walk_sees_imports_of_every_form() -> None:
    found = graph()
