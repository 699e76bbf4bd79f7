"""The base of a layer as a tree to read: a checkout of hard links, kept between runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..host.files import remove_tree, replace_content, sync_filesystem
from ..host.paths import walk
from ..model import Package
from ..tools import dpkg, ostree


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


def read(tree: Path, checksum: str) -> BaseTree:
    """The base whose checkout is ``tree``. Raises TreeError for one without packages."""
    packages = tuple(entry.package for entry in dpkg.installed(tree))
    return BaseTree(checksum, tree, packages, dpkg.architectures(tree, packages))


def checkout(repo: Path, area: Path, checksum: str) -> BaseTree:
    """Read a base from its checkout, which is made once and kept; other bases' checkouts are removed.

    OSTree stores equal files once, so two names may be one file there; in the checkout each name is a file of its own,
    or a script's ``cp a b`` fails with "are the same file". Raises TreeError for a base without packages.
    """
    tree = area / "base" / checksum
    tree.parent.mkdir(mode=0o700, exist_ok=True)
    for other in tree.parent.iterdir():
        if other != tree:
            remove_tree(other)
    if not tree.is_dir():
        fresh = area / "tmp" / "base"
        remove_tree(fresh)
        ostree.checkout(repo, checksum, fresh, hard_links=True)
        _separate_names(fresh, fresh.with_name(f"{fresh.name}.spare"))
        # It is used for months: a power cut now must not leave empty copies in it.
        sync_filesystem(fresh)
        fresh.rename(tree)
    return read(tree, checksum)


def _separate_names(tree: Path, spare: Path) -> None:
    """Make each name in a tree a file of its own; ``spare``: see files.replace_content."""
    seen: set[int] = set()
    for entry in walk(tree):
        if not entry.is_file(follow_symlinks=False):
            continue
        if entry.inode() in seen:
            replace_content(Path(entry.path), Path(entry.path), spare)
        seen.add(entry.inode())
