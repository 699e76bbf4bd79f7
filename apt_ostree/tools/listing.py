"""The entries of a commit's directories, each asked of ostree once: a commit never changes, and a look takes time."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Mapping
from pathlib import Path

from . import ostree

Entries = Mapping[str, ostree.Listed]
"""By path, which starts with a slash."""


class Listing:
    """The directories of one commit, as far as somebody asked for them."""

    def __init__(self, repo: Path, commit: str) -> None:
        self._repo, self._commit = repo, commit
        self._directories: dict[str, dict[str, ostree.Listed]] = {}

    def inside(self, *directories: str) -> dict[str, ostree.Listed]:
        """The entries in directories of the commit; nothing deeper. Raises proc.ChildError where one does not exist,
        TreeError where entries cannot be told apart."""
        if missing := [path for path in directories if path not in self._directories]:
            found: dict[str, dict[str, ostree.Listed]] = {path: {} for path in missing}
            for entry in ostree.ls(self._repo, self._commit, *missing, recursive=False):
                parent = posixpath.dirname(entry.path)
                # Each directory is listed before what it has, and is perhaps in another that is listed.
                if parent in found and entry.path != "/":
                    found[parent][entry.path] = entry
            self._directories |= found
        return {path: entry for directory in directories for path, entry in self._directories[directory].items()}

    def levels(self, *levels: tuple[str, ...]) -> dict[str, ostree.Listed]:
        """The entries at the top and in those of the directories that exist; those of a level have to be in one of an
        earlier one."""
        found = self.inside("/")
        for level in levels:
            found |= self.inside(*(path for path in level if path in found and found[path].kind == "d"))
        return found


@functools.lru_cache(maxsize=8)
def _kept(repo: Path, commit: str) -> Listing:
    return Listing(repo, commit)


def of(repo: Path, commit: str) -> Listing:
    """The listing of a commit, the same each time where ``commit`` is its checksum and not a ref."""
    return _kept(repo, commit) if ostree.CHECKSUM.fullmatch(commit) else Listing(repo, commit)
