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
    assert {"tools.ostree", "system.origin", "host.proc", "errors"} <= found["system.publication"]
    assert {"layering.cache", "ops.finish", "ops.transaction"} <= found["ops.deployments"]  # from .., from .
    assert "ops.packages" in found["cli.packages"]  # inside a function
    assert "sh" in outside_imports("host.proc")


def test_every_folder_of_code_is_a_floor() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(FLOORS)


@pytest.mark.parametrize("folder", FLOORS)
def test_a_folder_says_what_belongs_in_it(folder: str) -> None:
    assert ast.get_docstring(TREES[f"{folder}.__init__"])


def test_the_design_shows_the_same_picture() -> None:
    text = (PACKAGE.parent / "docs/design.md").read_text()
    assert re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE) == list(reversed(FLOORS))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_its_own_floor_or_lower_ones(module: str) -> None:
    own = floor_of(module)
    assert {name: floor_of(name) for name in imports(module) if floor_of(name) > own} == {}


def test_no_imports_go_in_a_circle() -> None:
    try:
        graphlib.TopologicalSorter(graph()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("sh", {"host.proc"}),
        ("ctypes", {"host.syscalls", "sandbox.seccomp"}),
        ("typer", {"cli"}),
        ("click", {"cli"}),
        ("rich", {"cli"}),
    ],
)
def test_a_library_is_imported_where_it_belongs(package: str, allowed: set[str]) -> None:
    users = {module for module in MODULES if package in outside_imports(module)}
    assert {module for module in users if not {module, module.partition(".")[0]} & allowed} == set()


def ends_or_prints(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        name = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        if name in {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit", "sys.stdout", "sys.stderr"}:
            yield name
        if isinstance(node, ast.ImportFrom) and node.module == "sys":
            yield from (alias.name for alias in node.names if alias.name in {"exit", "stdout", "stderr"})


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("cli.")])
def test_only_the_command_line_prints_and_exits(module: str) -> None:
    # The process that waits for the working one has nothing of its own to say or to clean up.
    # Nor has the program that reads packages for us.
    allowed = {"os._exit"} if module in {"host.lifetime", "sandbox.reader"} else set()
    assert set(ends_or_prints(TREES[module])) <= allowed


@pytest.mark.parametrize(
    "text",
    ["print(1)", "import sys\nsys.exit(1)", "from sys import exit", "raise SystemExit(1)", "sys.stdout.write('')"],
)
def test_what_prints_or_exits_is_seen(text: str) -> None:
    assert list(ends_or_prints(ast.parse(text)))


# The reader of packages is a program of its own, which has nothing of this package.
@pytest.mark.parametrize("module", [name for name in MODULES if name not in {"host.proc", "sandbox.reader"}])
def test_only_proc_starts_children(module: str) -> None:
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    if module == "host.lifetime":
        # It divides the command itself in two, and starts no other program.
        calls -= {"os.fork"}
    forbidden = {"subprocess.run", "subprocess.Popen", "subprocess.check_output", "os.system", "os.popen", "os.fork"}
    assert calls & forbidden == set()
