"""Layers that overlayfs wrote: what they say beyond their files, and how they lie over a base.

A layer is plain files except for what overlayfs adds: a 0/0 character device says "gone", a directory with
``trusted.overlay.opaque`` hides all below it, one with ``trusted.overlay.redirect`` continues a directory of
another name (kernel documentation, overlayfs). A commit that dropped those marks would silently bring the
base's files back, so they are looked for before anything is stripped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ..host.door import OVERLAY, Directory, Tree

PREFIX = OVERLAY
_OPAQUE = PREFIX + "opaque"
_REDIRECT = PREFIX + "redirect"
_METACOPY = PREFIX + "metacopy"


def is_whiteout(status: os.stat_result) -> bool:
    """True if an entry says that the name is gone."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def drop_removed(layers: Sequence[Path]) -> None:
    """Take out of each layer what a later one says is gone; ``layers`` are lowest first and ours to change.

    dpkg unpacks a conffile under another name and renames it when it configures, so nearly every assembly has such a
    pair. Without it, the union of the layers says what their mount showed.
    """
    gone: dict[str, int] = {}
    """Name -> the topmost layer that says so."""
    for number, layer in enumerate(layers):
        for directory in Tree(layer).directories():
            for entry in directory.entries:
                # A directory that was moved still shows, under its new name, what lies below at the old one.
                if _REDIRECT in directory.tree.attributes(entry.own):
                    return
                if entry.is_special and is_whiteout(entry.status):
                    gone[entry.name] = number
    for number, layer in enumerate(layers):
        for directory in Tree(layer).directories():
            for entry in directory.entries:
                if gone.get(entry.name, 0) > number:
                    directory.tree.remove(entry.own)


def is_merged(layer: Tree, name: str) -> bool:
    """True if what lies below a layer shows through it in the directory of ``name``: no script has put another one
    there."""
    above = ["" if parent == Path() else parent.as_posix() for parent in Path(name).parents]
    return not any({_OPAQUE, _REDIRECT} & layer.attributes(directory).keys() for directory in above)


def is_union(base: Path, layers: Sequence[Path]) -> bool:
    """True if adding the files of each of ``layers`` (lowest first) to ``base`` gives what their mount showed.

    False where one removes, hides or moves something that is below it, or changes a type: ostree's union of
    trees cannot say any of that.
    """
    # What the layers so far have, so that each name is looked for once, however many layers there are.
    known: dict[str, bool] = {}
    tree = Tree(base)
    for layer in layers:
        for directory in Tree(layer).directories():
            with ExitStack() as held:
                there = tree.has_directory(directory.name)
                if not _is_united(directory, held.enter_context(tree.opened(directory.name)) if there else None, known):
                    return False
    return True


def _is_united(directory: Directory[Tree], below: Tree | None, known: dict[str, bool]) -> bool:
    """The same of one directory of a layer over the base's, if that has it; ``known`` gets its entries: name -> whether
    it is a directory."""
    for entry in directory.entries:
        name = entry.name
        status = below.status(entry.own) if below is not None and name not in known else None
        if status is not None and not is_whiteout(status):
            known[name] = stat.S_ISDIR(status.st_mode)
        if entry.is_special and is_whiteout(entry.status):
            if name in known:
                return False
            continue
        marks = directory.tree.attributes(entry.own).keys()
        if _REDIRECT in marks or _METACOPY in marks:
            return False
        hides = entry.is_directory and _OPAQUE in marks
        if name in known and (hides or known[name] != entry.is_directory):
            return False
        known[name] = entry.is_directory
    return True


def strip(layer: Path) -> None:
    """Remove overlayfs's marks, and whiteouts of names that nothing below has."""
    tree = Tree(layer)
    _strip_marks(tree, "")
    for directory in tree.directories():
        for entry in directory.entries:
            if entry.is_special and is_whiteout(entry.status):
                directory.tree.remove(entry.own)
            else:
                _strip_marks(directory.tree, entry.own)


def _strip_marks(tree: Tree, name: str) -> None:
    for key in tree.attributes(name):
        if key.startswith(PREFIX):
            tree.remove_attribute(name, key)


def apply(layer: Path, tree: Path) -> None:
    """Make ``tree``, a private checkout, into what the mount of ``layer`` over it showed.

    Files are linked, not copied: both sides must be on one filesystem, and neither is written to afterwards. Raises
    TreeError.
    """
    beside = Tree(tree.parent)
    moved = _save_redirected(Tree(layer), Tree(tree), beside)
    for directory in Tree(layer).directories():
        # It is there: what is right above it was applied before.
        with Tree(tree).opened(directory.name) as place:
            _apply_entries(directory, place, moved, beside)
    for saved in moved.values():
        beside.remove(saved)


def _save_redirected(layer: Tree, tree: Tree, beside: Tree) -> dict[str, str]:
    """Link away the directories that the layer continues under another name, before that name goes: name -> where it
    is ``beside`` the tree."""
    saved: dict[str, str] = {}
    origins = {"": ""}

    def origin_of(name: str) -> str:
        # Where the trees below have what the mount shows at ``name``.
        inner: list[str] = []
        while name not in origins:
            name, own = os.path.split(name)
            inner.insert(0, own)
        return os.path.join(origins[name], *inner)

    for directory in layer.directories():
        for entry in directory.entries:
            target = directory.tree.attributes(entry.own).get(_REDIRECT) if entry.is_directory else None
            if target is None:
                continue
            # Absolute from the root of the mount, or a name in the same directory, which may itself have moved.
            text = os.fsdecode(target)
            origin = text.lstrip("/") if text.startswith("/") else os.path.join(origin_of(directory.name), text)
            origins[entry.name] = origin
            place = f"{tree.top.name}.moved-{len(saved)}"
            beside.make_directory(place)
            _link_tree(tree.at(origin), beside.at(place))
            saved[entry.name] = place
    return saved


def _link_tree(source: Tree, target: Tree) -> None:
    target.copy_metadata(source, "", "")
    for directory in source.directories():
        with target.opened(directory.name) as place:
            for entry in directory.entries:
                if entry.is_directory:
                    place.make_directory(entry.own)
                    place.copy_metadata(directory.tree, entry.own, entry.own)
                else:
                    place.hard_link(directory.tree, entry.own, entry.own)


def _apply_entries(directory: Directory[Tree], place: Tree, moved: Mapping[str, str], beside: Tree) -> None:
    """Apply one directory of a layer, without what lies deeper, to the directory ``place``."""
    layer = directory.tree
    for entry in directory.entries:
        own = entry.own
        if entry.is_special and is_whiteout(entry.status):
            place.remove(own)
        elif entry.is_directory:
            if entry.name in moved:
                place.remove(own)
                beside.move(moved[entry.name], place, own)
            elif _OPAQUE in layer.attributes(own) or not place.has_directory(own):
                place.remove(own)
                place.make_directory(own)
            place.copy_metadata(layer, own, own)
        else:
            place.remove(own)
            place.hard_link(layer, own, own)
            _strip_marks(place, own)
