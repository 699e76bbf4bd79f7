"""Hydrate frozen layers: markers of packages are replaced by links to their objects, and stubs by their programs.

A layer is hydrated after it was unmounted, so that no link into the object store is ever writable by a script.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import PackageError
from ..host.files import replace_content
from ..host.paths import walk
from ..tools import ostree
from . import overlay
from .cache import Object
from .hollow import MARKER_SIZE, read_marker


class Hydrator:
    """Hydrates the trees of one assembly. Only the record of the objects that they have by now changes.

    ``objects`` are those that markers may name. ``spare`` is a free name on the repository's filesystem, outside every
    tree that a script wrote.
    """

    def __init__(self, repo: Path, base: Path, spare: Path, objects: Mapping[str, Object]) -> None:
        self.repo, self.base, self.spare, self.objects = repo, base, spare, objects
        self.linked: set[int] = set()
        """The inodes of the objects that a layer has a link to."""

    def hydrate(self, tree: Path, stubs: Mapping[bytes, Path], *, link: bool) -> None:
        """Replace the markers in a tree that is not mounted by their objects: by a link where the tree is only read
        from here on (``link``), else by a copy. ``stubs`` maps other contents to the files that they stand for.

        Names that were one file stay one, and no others become one: ``cp a b`` would say "are the same file".
        """
        sizes = {MARKER_SIZE, *map(len, stubs)}
        done: dict[int, str] = {}
        for entry in walk(tree):
            if not entry.is_file(follow_symlinks=False):
                continue
            status = entry.stat(follow_symlinks=False)
            if status.st_size not in sizes:
                continue
            if (first := done.get(status.st_ino)) is not None:
                os.unlink(entry.path)
                os.link(first, entry.path)
                continue
            with open(entry.path, "rb") as file:
                content = file.read()
            if (real := stubs.get(content)) is not None:
                replace_content(Path(entry.path), real, self.spare)
            elif not self._hydrate_marker(entry.path, content, status, link=link):
                continue
            if status.st_nlink > 1:
                done[status.st_ino] = entry.path

    def _hydrate_marker(self, path: str, content: bytes, status: os.stat_result, *, link: bool) -> bool:
        checksum = read_marker(content)
        # Only what this plan's packages brought: content that merely looks like a marker stays content.
        stored = self.objects.get(checksum) if checksum else None
        if checksum is None or stored is None:
            return False
        source = ostree.object_path(self.repo, checksum)
        if not source.exists():
            raise PackageError(
                "the package cache is damaged",
                f"object {checksum} is missing",
                "Run 'apt-ostree cleanup -m'.",
            )
        archived = (stored.mode, stored.uid, stored.gid) == (status.st_mode, status.st_uid, status.st_gid)
        if link and archived and not _own_xattrs(path) and self._take(source):
            os.unlink(path)
            os.link(source, path)
        else:
            # dpkg gave it another owner or mode than the archive has (dpkg-statoverride(1), an owner's name that
            # has another number here), or the tree has the object by another name: a file of its own.
            replace_content(Path(path), source, self.spare)
        return True

    def _take(self, source: Path) -> bool:
        """True if no name of the tree was this object so far; from now on one is."""
        status = source.stat()
        # An object of one name is in no checkout.
        if status.st_ino in self.linked or (status.st_nlink > 1 and status.st_ino in self._of_base):
            return False
        self.linked.add(status.st_ino)
        return True

    @functools.cached_property
    def _of_base(self) -> set[int]:
        return {entry.inode() for entry in walk(self.base) if entry.is_file(follow_symlinks=False)}


def _own_xattrs(path: str) -> list[str]:
    """The extended attributes that are not overlayfs's marks."""
    return [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith(overlay.PREFIX)]
