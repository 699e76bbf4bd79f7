"""Files of packages in /opt and /usr/local: moved to /usr, where they roll back, and linked from where they were.

Both names lead into /var, since an administrator writes there, too (hier(7), policy 9.1.2). A vendor's
/opt/NAME moves to /usr/lib/opt/NAME, a file in /usr/local to /usr/lib/usrlocal; tmpfiles.d(5) lines of type
``L`` link them, which leave alone what an administrator has at that name.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import TreeError
from ..host.door import Tree
from . import state

PLACES = {"opt": "usr/lib/opt", "usrlocal": "usr/lib/usrlocal"}
"""Directories of /var, and where what packages put there goes."""

_SHARED = frozenset(
    f"usrlocal/{name}"
    for name in ("bin", "etc", "games", "include", "lib", "man", "sbin", "share", "share/man", "share/doc", "src")
)
"""Directories of many packages and of the administrator: never moved as a whole."""


def move(var: Path, before: state.Snapshot, target: Path) -> list[str]:
    """Move what is in ``var`` beyond ``before`` to the tree ``target``; returns the tmpfiles.d lines that link it.

    Raises TreeError where the target has something else in the way.
    """
    lines: list[str] = []
    for name in PLACES:
        _move_below(Tree(var), name, before, Tree(target), lines)
    return lines


def _move_below(var: Tree, name: str, before: state.Snapshot, target: Tree, lines: list[str]) -> None:
    top, _, inner = name.partition("/")
    # A script may have put a link here, which has no names: nothing is followed.
    for own in var.names(name):
        below = f"{name}/{own}"
        directory = var.has_directory(below)
        if directory and (below in before or below in _SHARED):
            _move_below(var, below, before, target, lines)
            continue
        if is_link_of_ours(var, below) or before.get(below) == state.facts(var, below):
            continue
        # In /usr/local an empty directory is as good in /var.
        if top == "usrlocal" and directory and not _holds_anything(var, below):
            continue
        above = f"{PLACES[top]}/{inner}".rstrip("/")
        moved = f"{above}/{own}"
        target.make_directory(above)
        if target.has(moved):
            raise TreeError(f"/{moved} exists already", f"/var/{below} cannot take its place")
        var.move(below, target, moved)
        lines.append(f"L /var/{state.escape(below)} - - - - /{state.escape(moved)}")


def _holds_anything(tree: Tree, directory: str) -> bool:
    """True if a directory has more below it than directories."""
    return any(not entry.is_directory for entry in tree.walk(directory))


def is_link_of_ours(tree: Tree, name: str) -> bool:
    """True for one of the links that lead to what was moved."""
    return (tree.link(name) or "").startswith(tuple(f"/{place}/" for place in PLACES.values()))
