"""Directories that packages bring at the top of a tree, such as /data or /snap.

A booted machine may write to /etc and /var alone. One that packages have no file in is there to be written to: it
becomes a link into /var, with what scripts have put there. One that has files of packages is a part of the commit: it
stays where it is, and is read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ..host.door import OVERLAY, Entry, Tree, at_and_above

Shipped = Callable[[Collection[str]], Collection[str]]
"""Those of some paths that are a package's."""

_OPAQUE = f"{OVERLAY}opaque"


def link_writable(trees: Sequence[Path], known: frozenset[str], shipped: Shipped, var: Path, target: Path) -> None:
    """Move directories that ``trees`` (lowest first) have at the top, and in which nothing is ``shipped``, to ``var``,
    and link them in ``target``; names in ``known`` have their places already."""
    stack = [Tree(tree) for tree in trees]
    for name in sorted({name for tree in stack for name in tree.names()} - known):
        place = _free(Tree(var), name)
        if place is None or not all(_is_ours(tree, name, shipped) for tree in stack if tree.has(name)):
            continue
        _copy_union(stack, name, Tree(var), place)
        for tree in stack:
            tree.remove(name)
        Tree(target).symlink(name, f"var/{place}")


def _is_ours(tree: Tree, name: str, shipped: Shipped) -> bool:
    return tree.has_directory(name) and not shipped([e.name for e in tree.walk(name) if not e.is_directory])


def _free(var: Tree, name: str) -> str | None:
    """A name in /var that nothing has: snapd has both a /snap and a /var/snap."""
    return next((place for place in (name, f"top-{name}") if not var.has(place)), None)


def _copy_union(stack: Sequence[Tree], name: str, var: Tree, place: str) -> None:
    """Copy what a mount of the trees (lowest first) shows in a directory."""
    hiding = set[str]()
    """Names of higher trees that let nothing below them through."""
    for tree in reversed(stack):
        here = set[str]()
        top = tree.status(name)
        for entry in [*([] if top is None else [Entry(name, top)]), *tree.walk(name)]:
            if any(above in hiding for above in at_and_above(entry.name)):
                continue
            target = f"{place}{entry.name.removeprefix(name)}"
            if not var.has(target) and (entry.is_directory or entry.is_file or entry.is_link):
                var.copy(tree, entry.name, target)
            # A whiteout as well: a device that says that a name is gone (kernel documentation, overlayfs).
            if not entry.is_directory or _OPAQUE in tree.attributes(entry.name):
                here.add(entry.name)
        hiding |= here
