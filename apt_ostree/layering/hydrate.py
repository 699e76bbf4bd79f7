"""Hydrate frozen layers: markers of packages are replaced by links to their objects, and stubs by their programs.

A layer is hydrated after it was unmounted, so that no link into the object store is ever writable by a script.
"""

from __future__ import annotations

import errno
import functools
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import PackageError, ScriptError, TreeError
from ..host.door import Tree
from ..host.files import check_space
from ..host.lookup import shown
from ..sandbox.limits import LIMITS
from ..tools import ostree
from ..tree.view import File
from . import overlay, written
from .cache import Object
from .hollow import MARKER_SIZE, read_marker


@dataclass(frozen=True, slots=True)
class _Copy:
    """One file that gets another content, of ``size`` bytes, and its names in the tree."""

    names: list[str]
    size: int
    content: Callable[[], BinaryIO]


class Hydrator:
    """Hydrates the trees of one assembly. Only the record of the objects that they have by now changes.

    ``objects`` are those that markers may name; ``seconds`` is how long the copies in one tree may take.
    """

    def __init__(self, repo: Path, base: Path, objects: Mapping[str, Object], seconds: float = LIMITS.seconds) -> None:
        self.repo, self.base, self.objects, self.seconds = repo, base, objects, seconds
        self.linked: set[int] = set()
        """The inodes of the objects that a layer has a link to."""

    def hydrate(self, tree: Path, stubs: Mapping[bytes, File], *, link: bool) -> None:
        """Replace the markers in a tree that is not mounted by their objects: by a link where the tree is only read
        from here on (``link``), else by a copy. ``stubs`` maps other contents to the files that they stand for.

        Names that were one file stay one, and no others become one: ``cp a b`` would say "are the same file". Copies
        are made last, when their size is known: a script may have written any number of markers and stubs. Raises
        PackageError, SpaceError, ScriptError.
        """
        sizes = {MARKER_SIZE, *map(len, stubs)}
        done: dict[int, str] = {}
        copies: dict[int, _Copy] = {}
        top = Tree(tree)
        for directory in written.directories(tree):
            here = directory.tree
            for entry in directory.entries:
                if not entry.is_file or (status := entry.status).st_size not in sizes:
                    continue
                if (first := done.get(status.st_ino)) is not None:
                    _name_again(top, first, here, entry.own)
                    continue
                if (copy := copies.get(status.st_ino)) is not None:
                    copy.names.append(entry.name)
                    continue
                content = here.read(entry.own, limit=max(sizes)) or b""
                if (real := stubs.get(content)) is not None:
                    copies[status.st_ino] = _Copy([entry.name], real.size(), real.content)
                elif (named := self._object(content)) is not None:
                    source, stored, found = named
                    # Not where dpkg gave it another owner or mode than the archive has (dpkg-statoverride(1), an
                    # owner's name that has another number here), or where the tree has the object by another name.
                    archived = (stored.mode, stored.uid, stored.gid) == (status.st_mode, status.st_uid, status.st_gid)
                    if link and archived and not _own_xattrs(here, entry.own) and self._take(found):
                        here.remove(entry.own)
                        here.hard_link_ours(source, entry.own)
                        if status.st_nlink > 1:
                            done[status.st_ino] = entry.name
                    else:
                        copies[status.st_ino] = _Copy([entry.name], found.st_size, functools.partial(_open, source))
        self._copy(top, copies.values())

    def _object(self, content: bytes) -> tuple[Path, Object, os.stat_result] | None:
        """The object that a content stands for; None for any other content. Raises PackageError."""
        checksum = read_marker(content)
        # Only what this plan's packages brought: content that merely looks like a marker stays content.
        stored = self.objects.get(checksum) if checksum else None
        if checksum is None or stored is None:
            return None
        source = ostree.object_path(self.repo, checksum)
        try:
            return source, stored, source.stat()
        except FileNotFoundError:
            raise PackageError(
                "the package cache is damaged",
                f"object {checksum} is missing",
                "Run 'apt-ostree cleanup -m'.",
            ) from None

    def _copy(self, top: Tree, copies: Iterable[_Copy]) -> None:
        """Make files of a tree into copies, if that leaves the host its reserve and takes no longer than it may."""
        copies, end = list(copies), time.monotonic() + self.seconds
        check_space(top.top, sum(copy.size for copy in copies), "the packages' files", reserve=True)
        for copy in copies:
            if time.monotonic() > end:
                raise ScriptError(
                    f"putting the packages' files in place took longer than {self.seconds:.0f} s",
                    f"a script may have written markers of its own: there are {len(copies)} in {top.top.name}",
                    "Nothing was changed.",
                )
            first, *others = copy.names
            with copy.content() as file:
                top.replace_content(first, file)
            for name in others:
                _name_again(top, first, top, name)

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


def _name_again(top: Tree, first: str, here: Tree, name: str) -> None:
    """Make a name in one tree a further one of a file in another. Raises TreeError where it has as many as there can
    be (link(2))."""
    here.remove(name)
    try:
        here.hard_link(top, first, name)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        raise TreeError("a package's file has more names than the filesystem can give it", f"/{shown(first)}") from None


def _open(source: Path) -> BinaryIO:
    return source.open("rb")


def _own_xattrs(here: Tree, name: str) -> list[str]:
    """The extended attributes that are not overlayfs's marks."""
    return [key for key in here.attributes(name) if not key.startswith(overlay.PREFIX)]
