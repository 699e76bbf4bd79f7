"""Hydrate frozen layers: markers of packages are replaced by links to their objects, and stubs by their programs.

A layer is hydrated after it was unmounted, so that no link into the object store is ever writable by a script.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import PackageError
from ..host.door import Tree
from ..tools import ostree
from ..tree.view import File
from . import overlay
from .cache import Object
from .hollow import MARKER_SIZE, read_marker


class Hydrator:
    """Hydrates the trees of one assembly. Only the record of the objects that they have by now changes.

    ``objects`` are those that markers may name.
    """

    def __init__(self, repo: Path, base: Path, objects: Mapping[str, Object]) -> None:
        self.repo, self.base, self.objects = repo, base, objects
        self.linked: set[int] = set()
        """The inodes of the objects that a layer has a link to."""

    def hydrate(self, tree: Path, stubs: Mapping[bytes, File], *, link: bool) -> None:
        """Replace the markers in a tree that is not mounted by their objects: by a link where the tree is only read
        from here on (``link``), else by a copy. ``stubs`` maps other contents to the files that they stand for.

        Names that were one file stay one, and no others become one: ``cp a b`` would say "are the same file".
        """
        sizes = {MARKER_SIZE, *map(len, stubs)}
        done: dict[int, str] = {}
        top = Tree(tree)
        for directory in top.directories():
            here = directory.tree
            for entry in directory.entries:
                if not entry.is_file or (status := entry.status).st_size not in sizes:
                    continue
                if (first := done.get(status.st_ino)) is not None:
                    here.remove(entry.own)
                    here.hard_link(top, first, entry.own)
                    continue
                content = here.read(entry.own, limit=max(sizes)) or b""
                if (real := stubs.get(content)) is not None:
                    with real.content() as file:
                        here.replace_content(entry.own, file)
                elif not self._hydrate_marker(here, entry.own, content, status, link=link):
                    continue
                if status.st_nlink > 1:
                    done[status.st_ino] = entry.name

    def _hydrate_marker(self, here: Tree, name: str, content: bytes, status: os.stat_result, *, link: bool) -> bool:
        checksum = read_marker(content)
        # Only what this plan's packages brought: content that merely looks like a marker stays content.
        stored = self.objects.get(checksum) if checksum else None
        if checksum is None or stored is None:
            return False
        source = ostree.object_path(self.repo, checksum)
        try:
            found = source.stat()
        except FileNotFoundError:
            raise PackageError(
                "the package cache is damaged",
                f"object {checksum} is missing",
                "Run 'apt-ostree cleanup -m'.",
            ) from None
        archived = (stored.mode, stored.uid, stored.gid) == (status.st_mode, status.st_uid, status.st_gid)
        if link and archived and not _own_xattrs(here, name) and self._take(found):
            here.remove(name)
            here.hard_link_ours(source, name)
        else:
            # dpkg gave it another owner or mode than the archive has (dpkg-statoverride(1), an owner's name that
            # has another number here), or the tree has the object by another name: a file of its own.
            with source.open("rb") as file:
                here.replace_content(name, file)
        return True

    def _take(self, status: os.stat_result) -> bool:
        """True if no name of the tree was the object with this status so far; from now on one is."""
        # An object of one name is in no checkout.
        if status.st_ino in self.linked or (status.st_nlink > 1 and status.st_ino in self._of_base):
            return False
        self.linked.add(status.st_ino)
        return True

    @functools.cached_property
    def _of_base(self) -> set[int]:
        directories = Tree(self.base).directories()
        return {entry.inode for directory in directories for entry in directory.entries if entry.is_file}


def _own_xattrs(here: Tree, name: str) -> list[str]:
    """The extended attributes that are not overlayfs's marks."""
    return [key for key in here.attributes(name) if not key.startswith(overlay.PREFIX)]
