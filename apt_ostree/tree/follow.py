"""Files of /var that follow the image: those that packages list, those of /var/cache, and what triggers make.

A tree has lists of them beside those of all its templates (state.py): a line for each path, with the digest of what
the template holds, its mode and its owner. The boot program (seed-var) keeps the lines that a machine was given last.
So it sees what changed without reading a file, and replaces what nobody changed here, as dpkg does with conffiles.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from ..host.door import Tree
from . import shipped, state

CACHE = "cache/"
"""What is below it may be deleted without loss (FHS 3.0, 5.5), so that the image's always counts."""


def listed(stack: Sequence[Path], names: Collection[str]) -> frozenset[str]:
    """Those of the paths ``names`` below /var that packages list, as the trees of ``stack`` show dpkg's database, the
    topmost first.

    A package may list a path by a link at the top that leads into /var, as /srv does: the lowest tree tells.
    """
    return shipped.listed(stack, names, ways={"/var/": "", **dict(_ways(Tree(stack[-1])))})


def _ways(tree: Tree) -> Iterator[tuple[str, str]]:
    """The links at the top, and /usr/local, that lead into /var: how paths through one begin, and the same in /var."""
    for name in (*tree.names(), "usr/local"):
        if (target := tree.link(name)) is not None:
            place = os.path.normpath(os.path.join("/", os.path.dirname(name), target))
            if place.startswith("/var/"):
                yield f"/{name}/", f"{place.removeprefix('/var/')}/"


def digest(tree: Tree, name: str) -> str | None:
    """A file's size and the SHA-256 of its content, or that of where a link leads after a word for it; None for all
    else. With the size, a boot reads no file that is another for sure."""
    if (target := tree.link(name)) is not None:
        return f"link:{hashlib.sha256(os.fsencode(target)).hexdigest()}"
    if (file := tree.open_file(name)) is None:
        return None
    found, size = hashlib.sha256(), 0
    with file:
        while block := file.read(1 << 20):
            found.update(block)
            size += len(block)
    return f"{size}:{found.hexdigest()}"


def paths(tree: Tree) -> frozenset[str]:
    """The paths below /var that the lists of a tree name."""
    lines = (line for name in _lists(tree) for line in (tree.text(name) or "").split("\n"))
    return frozenset(path for line in lines if (path := _path(line)))


def write(captured: state.Captured, var: Tree, target: Tree, name: str, follows: Collection[str]) -> None:
    """Put a list of this name into the tree ``target``: of the files and links captured from ``var``, those that
    ``follows`` has, and those of /var/cache.

    A list may be empty: then all that was captured under its name is a program's own.
    """
    lines = [
        line
        for path in captured.paths
        if path.startswith(CACHE) or path in follows
        if (line := _line(var, path)) is not None
    ]
    if captured.paths:
        state.write_file(target, f"{state.FOLLOW}/{name}", "".join(lines))


def add(var: Tree, target: Tree, name: str, names: Collection[str]) -> None:
    """Put the files and links ``names`` of ``var`` into the list of this name, too, which the tree ``target`` has."""
    place = f"{state.FOLLOW}/{name}"
    lines = [line for path in sorted(names) if (line := _line(var, path)) is not None]
    if lines:
        state.write_file(target, place, (target.text(place) or "") + "".join(lines))


def _line(var: Tree, path: str) -> str | None:
    status, found = var.status(path), digest(var, path)
    if status is None or found is None:
        return None
    mode = stat.S_IMODE(status.st_mode)
    return f"{found} {mode:04o}:{status.st_uid}:{status.st_gid} {state.escape(path)}\n"


def drop(base: Tree, target: Tree, names: Collection[str]) -> None:
    """Put the lists of ``base`` that name any of the paths ``names`` into ``target`` without them."""
    for file in _lists(base):
        lines = (base.text(file) or "").removesuffix("\n").split("\n")
        kept = [line for line in lines if _path(line) not in names]
        if kept != lines:
            state.write_file(target, file, "".join(f"{line}\n" for line in kept))


def is_state(tree: Tree, lists: Iterable[str]) -> frozenset[str]:
    """The paths that those lists of a tree's templates name and that do not follow, of lists that were told apart."""
    told = set(tree.names(state.FOLLOW)).intersection(lists)
    known = (line for name in told for line in (tree.text(f"{state.SEEDS}/{name}") or "").split("\n"))
    return frozenset(state.unescape(line) for line in known) - paths(tree)


def _lists(tree: Tree) -> list[str]:
    return [f"{state.FOLLOW}/{name}" for name in tree.names(state.FOLLOW)]


def _path(line: str) -> str:
    return state.unescape(line.rpartition(" ")[2])
