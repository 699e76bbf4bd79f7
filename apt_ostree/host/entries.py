"""What a walk through a tree that others wrote meets: see lookup.py."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import TreeError

T = TypeVar("T")

NAMES_MAX = 500_000
"""Names of one directory that are taken into memory: as many as a package may have files."""


class CrowdedError(TreeError):
    """A directory has more than NAMES_MAX names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry met on a walk: its name below the tree, and its stat(2)."""

    name: str
    status: os.stat_result

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def is_special(self) -> bool:
        """True for a FIFO, a socket or a device."""
        return not (self.is_file or self.is_directory or self.is_link)


class Listed:
    """An entry of an open directory: its name below the tree, and its own in the directory.

    Of what type it is, the directory says by itself; its stat(2) is read when it is asked for, while that is open.
    """

    __slots__ = ("_found", "_prefix", "own")

    def __init__(self, prefix: str, found: os.DirEntry[str]) -> None:
        self._prefix, self.own, self._found = prefix, found.name, found

    @property
    def name(self) -> str:
        # Not kept: a path may have thousands of bytes, and a directory any number of entries.
        return f"{self._prefix}{self.own}"

    @property
    def status(self) -> os.stat_result:
        return self._found.stat(follow_symlinks=False)

    @property
    def inode(self) -> int:
        return self._found.inode()

    @property
    def is_file(self) -> bool:
        return self._found.is_file(follow_symlinks=False)

    @property
    def is_directory(self) -> bool:
        return self._found.is_dir(follow_symlinks=False)

    @property
    def is_link(self) -> bool:
        return self._found.is_symlink()

    @property
    def is_special(self) -> bool:
        """True for a FIFO, a socket or a device."""
        return not (self.is_file or self.is_directory or self.is_link)


@dataclass(frozen=True, slots=True)
class Directory(Generic[T]):
    """A directory that a walk is at: its name below the tree, itself as a tree that is held open, and its entries in
    the order of their names."""

    name: str
    tree: T
    entries: list[Listed]


def own_names(directory: int) -> list[str]:
    """The names in an open directory, sorted. Raises CrowdedError."""
    with os.scandir(directory) as found:
        return sorted(entry.name for entry in _counted(found))


def listed(directory: int, prefix: str) -> list[Listed]:
    """The entries of an open directory, in the order of their names; ``prefix`` is its own, with a slash at its end.
    Raises CrowdedError."""
    with os.scandir(directory) as found:
        return sorted((Listed(prefix, entry) for entry in _counted(found)), key=lambda entry: entry.own)


def _counted(found: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    for count, entry in enumerate(found, 1):
        if count > NAMES_MAX:
            raise CrowdedError(
                f"a directory has more than {NAMES_MAX} entries", f"one of them is {ascii(entry.name)[:80]}"
            )
        yield entry
