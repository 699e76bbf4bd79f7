"""Layers that overlayfs wrote: what they say beyond their files, and how they lie over a base.

A layer is plain files except for what overlayfs adds: a 0/0 character device says "gone", a directory with
``trusted.overlay.opaque`` hides all below it, one with ``trusted.overlay.redirect`` continues a directory of
another name (kernel documentation, overlayfs). A commit that dropped those marks would silently bring the
base's files back, so they are looked for before anything is stripped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from ..host.files import copy_metadata, remove_tree
from ..host.paths import beneath, walk

PREFIX = "trusted.overlay."
_OPAQUE = PREFIX + "opaque"
_REDIRECT = PREFIX + "redirect"
_METACOPY = PREFIX + "metacopy"


def is_whiteout(path: str | Path) -> bool:
    """True if an entry says that the name is gone."""
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _mark(path: str, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return None


def drop_removed(layers: Sequence[Path]) -> None:
    """Take out of each layer what a later one says is gone; ``layers`` are lowest first and ours to change.

    dpkg unpacks a conffile under another name and renames it when it configures, so nearly every assembly has such a
    pair. Without it, the union of the layers says what their mount showed.
    """
    # A directory that was moved still shows, under its new name, what lies below at the old one.
    if any(_mark(entry.path, _REDIRECT) is not None for layer in layers for entry in walk(layer)):
        return
    for number, layer in enumerate(layers):
        for entry in walk(layer):
            if is_whiteout(entry.path):
                for below in layers[:number]:
                    if (place := beneath(below, os.path.relpath(entry.path, layer))) is not None:
                        remove_tree(place)


def is_merged(layer: Path, name: str) -> bool:
    """True if what lies below a layer shows through it in the directory of ``name``: no script has put another one
    there."""
    above = [layer / parent for parent in Path(name).parents]
    return not any(_mark(os.fspath(path), mark) is not None for path in above for mark in (_OPAQUE, _REDIRECT))


def is_union(base: Path, layers: Sequence[Path]) -> bool:
    """True if adding the files of each of ``layers`` (lowest first) to ``base`` gives what their mount showed.

    False where one removes, hides or moves something that is below it, or changes a type: ostree's union of
    trees cannot say any of that.
    """
    # What the layers so far have, so that each name is looked for once, however many layers there are.
    known: dict[str, bool] = {}
    for layer in layers:
        for entry in walk(layer):
            name = os.path.relpath(entry.path, layer)
            if name not in known and (place := beneath(base, name)) is not None and not is_whiteout(place):
                known[name] = place.is_dir() and not place.is_symlink()
            if is_whiteout(entry.path):
                if name in known:
                    return False
                continue
            if _mark(entry.path, _REDIRECT) is not None or _mark(entry.path, _METACOPY) is not None:
                return False
            is_directory = entry.is_dir(follow_symlinks=False)
            hides = is_directory and _mark(entry.path, _OPAQUE) is not None
            if name in known and (hides or known[name] != is_directory):
                return False
            known[name] = is_directory
    return True


def strip(layer: Path) -> None:
    """Remove overlayfs's marks, and whiteouts of names that nothing below has."""
    for path in [os.fspath(layer), *(entry.path for entry in walk(layer))]:
        if is_whiteout(path):
            os.unlink(path)
            continue
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith(PREFIX):
                os.removexattr(path, name, follow_symlinks=False)


def apply(layer: Path, tree: Path) -> None:
    """Make ``tree``, a private checkout, into what the mount of ``layer`` over it showed.

    Files are linked, not copied: both sides must be on one filesystem, and neither is written to afterwards.
    Every step looks at names in a directory it has itself checked, so no link is followed.
    """
    moved = _save_redirected(layer, tree)
    _apply_directory(layer, tree, moved)
    for saved in moved.values():
        remove_tree(saved)


def _save_redirected(layer: Path, tree: Path) -> dict[str, Path]:
    """Link away the directories that the layer continues under another name, before that name goes."""
    saved: dict[str, Path] = {}
    origins = {Path(): Path()}

    def origin_of(name: Path) -> Path:
        # Where the trees below have what the mount shows at ``name``.
        return origins[name] if name in origins else origin_of(name.parent) / name.name

    for entry in walk(layer):
        target = _mark(entry.path, _REDIRECT) if entry.is_dir(follow_symlinks=False) else None
        if target is None:
            continue
        # Absolute from the root of the mount, or a name in the same directory, which may itself have moved.
        text = os.fsdecode(target)
        name = Path(entry.path).relative_to(layer)
        origin = Path(text.lstrip("/")) if text.startswith("/") else origin_of(name.parent) / text
        origins[name] = origin
        place = tree.parent / f"{tree.name}.moved-{len(saved)}"
        _link_tree(tree / origin, place)
        saved[entry.path] = place
    return saved


def _link_tree(source: Path, target: Path) -> None:
    target.mkdir()
    copy_metadata(source, target)
    for entry in walk(source):
        place = target / Path(entry.path).relative_to(source)
        if entry.is_dir(follow_symlinks=False):
            place.mkdir()
            copy_metadata(entry.path, place)
        else:
            os.link(entry.path, place, follow_symlinks=False)


def _apply_directory(layer: Path, tree: Path, moved: dict[str, Path]) -> None:
    with os.scandir(layer) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        place = tree / entry.name
        if is_whiteout(entry.path):
            remove_tree(place)
        elif entry.is_dir(follow_symlinks=False):
            if entry.path in moved:
                remove_tree(place)
                moved[entry.path].rename(place)
            elif _mark(entry.path, _OPAQUE) is not None or place.is_symlink() or not place.is_dir():
                remove_tree(place)
                place.mkdir()
            copy_metadata(entry.path, place)
            _apply_directory(Path(entry.path), place, moved)
        else:
            remove_tree(place)
            os.link(entry.path, place, follow_symlinks=False)
            for name in os.listxattr(place, follow_symlinks=False):
                if name.startswith(PREFIX):
                    os.removexattr(place, name, follow_symlinks=False)
