"""Files of packages in /opt and /usr/local: moved to /usr, where they roll back, and linked from where they were.

Both names lead into /var, since an administrator writes there, too (hier(7), policy 9.1.2). A vendor's
/opt/NAME moves to /usr/lib/opt/NAME, a file in /usr/local to /usr/lib/usrlocal; tmpfiles.d(5) lines of type
``L`` link them, which leave alone what an administrator has at that name.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..host.paths import beneath, walk
from . import state

PLACES = {"opt": "usr/lib/opt", "usrlocal": "usr/lib/usrlocal"}
"""Directories of /var, and where what packages put there goes."""

_SHARED = frozenset(
    f"usrlocal/{name}"
    for name in ("bin", "etc", "games", "include", "lib", "man", "sbin", "share", "share/man", "share/doc", "src")
)
"""Directories of many packages and of the administrator: never moved as a whole."""


def move(var: Path, before: state.Snapshot, target: Path) -> list[str]:
    """Move what is in ``var`` beyond ``before`` to the tree ``target``; returns the tmpfiles.d lines that link it."""
    lines: list[str] = []
    for name in PLACES:
        _move_below(var, name, before, target, lines)
    return lines


def _move_below(var: Path, name: str, before: state.Snapshot, target: Path, lines: list[str]) -> None:
    place = beneath(var, name)
    # A script may have put a link here; nothing is followed.
    if place is None or place.is_symlink() or not place.is_dir():
        return
    top, _, inner = name.partition("/")
    for entry in sorted(place.iterdir()):
        below = f"{name}/{entry.name}"
        directory = entry.is_dir() and not entry.is_symlink()
        if directory and (below in before or below in _SHARED):
            _move_below(var, below, before, target, lines)
            continue
        if is_link_of_ours(entry) or before.get(below) == state.facts(entry):
            continue
        # In /usr/local an empty directory is as good in /var.
        if top == "usrlocal" and directory and not _holds_anything(entry):
            continue
        moved = Path(PLACES[top], inner, entry.name)
        state.make_parents(target, target / moved)
        entry.rename(target / moved)
        lines.append(f"L /var/{state.escape(below)} - - - - /{state.escape(os.fspath(moved))}")


def _holds_anything(directory: Path) -> bool:
    """True if a directory has more below it than directories."""
    return any(not entry.is_dir(follow_symlinks=False) for entry in walk(directory))


def is_link_of_ours(path: Path) -> bool:
    """True for one of the links that lead to what was moved."""
    return path.is_symlink() and os.readlink(path).startswith(tuple(f"/{place}/" for place in PLACES.values()))
