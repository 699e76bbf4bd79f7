"""The door (host/door.py) is the only way into a tree that others wrote: elsewhere no path is opened, looked at or
changed by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "apt_ostree"

HELD = ("tree",)
"""The folders whose modules are held to it."""

NOT_HELD = ("cli", "host", "inputs", "layering", "ops", "sandbox", "system", "tools")
"""Those that are not, or not yet: they also have paths of our own, such as the work area's and the user's files."""

ALLOWED = {
    # The directory itself is ours: beside the tree, in the work area.
    "tree.state": {"var.mkdir", "var.chmod"},
    "tree.kernel": {"boot.mkdir", "target.open"},
    # Our own files, in the program.
    "tree.units": {"data / name.read_text"},
    # An object of the repository, which has its checksum's name.
    "tree.changelog": {"gzip.open"},
}
"""Calls that name no path in such a tree, by module."""

OS = frozenset((
    "access", "chdir", "chflags", "chmod", "chown", "chroot", "getxattr", "lchown", "link", "listdir",
    "listxattr", "lstat", "makedirs", "mkdir", "mkfifo", "mknod", "open", "pathconf", "readlink", "remove",
    "removedirs", "removexattr", "rename", "renames", "replace", "rmdir", "scandir", "setxattr", "stat",
    "statvfs", "symlink", "truncate", "unlink", "utime", "walk", "fwalk",
))  # fmt: skip
OS_PATH = frozenset((
    "exists", "lexists", "isfile", "isdir", "islink", "ismount", "getsize", "getmtime", "realpath", "samefile",
))  # fmt: skip
METHODS = frozenset((
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "exists", "is_file", "is_dir", "is_symlink",
    "is_mount", "is_fifo", "is_socket", "stat", "lstat", "iterdir", "glob", "rglob", "mkdir", "rmdir", "unlink",
    "touch", "chmod", "lchmod", "rename", "symlink_to", "hardlink_to", "readlink", "resolve", "samefile",
    "owner", "group",
))  # fmt: skip
"""What a path can do to a file system. ``replace`` is left out, since texts have it too, and ``walk``, which the door
has, and paths only since Python 3.12."""

MODULES = frozenset(("shutil", "filecmp", "glob", "tempfile", "fileinput"))
"""Modules that take paths, whose every function counts."""

OURS = frozenset(("ostree",))
"""Modules of ours whose functions have such names."""


def calls(tree: ast.Module) -> Iterator[str]:
    """The calls that take a path into the file system, as they are written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in {"os", "os.path", *MODULES}:
            yield f"from {node.module} import"
        if isinstance(node, ast.ImportFrom) and node.module and node.module.endswith(("host.files", "host.paths")):
            yield f"from {node.module} import"
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "open":
            yield "open"
        if isinstance(node.func, ast.Attribute):
            name, above = node.func.attr, ast.unparse(node.func.value)
            if above == "os":
                found = name in OS
            elif above == "os.path":
                found = name in OS_PATH
            else:
                found = above in MODULES or (name in METHODS and not is_ours(node.func.value))
            if found:
                yield f"{above}.{name}"


def is_ours(value: ast.expr) -> bool:
    """True for what a call is made on that is a tree of the door, or one of our modules."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "Tree"
    return isinstance(value, ast.Name) and value.id in OURS


def modules(folder: str) -> list[str]:
    return [f"{folder}.{path.stem}" for path in sorted((PACKAGE / folder).glob("*.py"))]


def test_every_folder_is_held_to_it_or_named_as_one_that_is_not() -> None:
    assert sorted((*HELD, *NOT_HELD)) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


@pytest.mark.parametrize("module", [name for folder in HELD for name in modules(folder)])
def test_no_module_takes_another_way_into_a_tree(module: str) -> None:
    source = (PACKAGE / module.replace(".", "/")).with_suffix(".py").read_text()
    assert set(calls(ast.parse(source))) == ALLOWED.get(module, set())


@pytest.mark.parametrize(
    "text",
    [
        "open(path)", "os.open(path, 0)", "os.stat(path)", "os.path.exists(path)", "shutil.move(a, b)", "path.open()",
        "(root / 'etc').read_text()", "Path(top, 'x').unlink()", "for x in place.iterdir(): pass", "a.b.rename(c)",
        "from shutil import copy", "from os import stat", "from ..host.files import remove_tree",
        "from ..host.paths import beneath", "filecmp.cmp(a, b)", "[x for x in top.glob('*')]",
    ],
)  # fmt: skip
def test_another_way_is_seen(text: str) -> None:
    assert list(calls(ast.parse(text)))


@pytest.mark.parametrize("text", ["Tree(root).walk()", "os.path.dirname(name)", "os.fspath(path)", "tree.text(name)"])
def test_the_door_and_names_alone_are_not(text: str) -> None:
    assert list(calls(ast.parse(text))) == []
