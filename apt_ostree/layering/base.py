"""The base of a layer as a tree to read: a checkout of hard links, kept between runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..host.door import Tree
from ..host.files import check_space, sync_filesystem
from ..model import Package
from ..tools import dpkg, ostree
from ..tree import deploying

ETC = "usr/etc"
"""Where a tree has its /etc."""


@dataclass(frozen=True, slots=True)
class BaseTree:
    """A base commit, its checkout, and what its package database says; read once for each operation."""

    checksum: str
    path: Path
    packages: tuple[Package, ...]
    """What is installed, sorted."""
    architectures: tuple[str, ...]
    """The native one, then the foreign ones."""

    @property
    def native(self) -> str:
        return self.architectures[0]


def as_seen(tree: Path) -> Tree:
    """A tree as its own programs see it: with its /etc at /etc, where that is a directory."""
    return Tree(tree, tree / ETC if Tree(tree).has_directory(ETC) else None)


def read(tree: Path, checksum: str) -> BaseTree:
    """The base whose checkout is ``tree``. Raises TreeError for one without packages."""
    packages = tuple(entry.package for entry in dpkg.installed(tree))
    return BaseTree(checksum, tree, packages, dpkg.architectures(tree, packages))


def checkout(repo: Path, area: Path, checksum: str) -> BaseTree:
    """Read a base from its checkout, which is made once and kept; other bases' checkouts are removed.

    OSTree stores equal files once, so two names may be one file there; in the checkout each name is a file of its own,
    or a script's ``cp a b`` fails with "are the same file". Raises TreeError for a base without packages, and as
    ``deploying.check_extent`` does; SpaceError.
    """
    place = Tree(area)
    kept, fresh = f"base/{checksum}", "tmp/base"
    place.make_directory("base", 0o700)
    for other in place.names("base"):
        if other != checksum:
            place.remove(f"base/{other}")
    if not place.has_directory(kept):
        place.remove(fresh)
        deploying.check_extent(repo, checksum)
        ostree.checkout(repo, checksum, area / fresh, hard_links=True)
        _separate_names(area / fresh)
        # It is used for months: a power cut now must not leave empty copies in it.
        sync_filesystem(area / fresh)
        place.move(fresh, place, kept)
    return read(area / kept, checksum)


def _separate_names(tree: Path) -> None:
    """Make each name in a tree a file of its own. Raises SpaceError where there is no room for all."""
    seen: set[int] = set()
    further: list[str] = []
    size = 0
    top = Tree(tree)
    for directory in top.directories():
        for entry in directory.entries:
            if not entry.is_file:
                continue
            if entry.inode in seen:
                further.append(entry.name)
                size += entry.status.st_size
            seen.add(entry.inode)
    check_space(tree, size, "the base's files of equal content", inodes=len(further), reserve=True)
    for name in further:
        if (file := top.open_file(name)) is not None:
            with file:
                top.replace_content(name, file)
