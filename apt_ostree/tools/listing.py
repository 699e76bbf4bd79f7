"""The entries of a commit, each directory read once: a commit never changes."""

from __future__ import annotations

import functools
import posixpath
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..errors import ToolError, TreeError
from . import extent, objects, ostree

ENTRIES_MAX = 100_000
"""Of a directory or a tree that is listed, each of which takes a kilobyte: Debian's /etc has 5,000, the device trees of
a kernel are 3,000. Objects that many names share unfold to any number (extent.py)."""

TEXT_MAX = 16 << 20
"""Bytes of a file that is read as a text. dpkg's status of 10,000 packages has ten million."""


class Listed(NamedTuple):
    """An entry of a commit: its kind is ``-``, ``d`` or ``l``; numbers as in stat(2), ``mode`` without the kind;
    ``checksum`` is the content object's or the dirtree's; the path begins with a slash; ``target`` is a link's."""

    kind: str
    mode: int
    uid: int
    gid: int
    checksum: str
    path: str
    target: str
    size: int = 0
    """Bytes of a file's content."""


Entries = Mapping[str, Listed]
"""By path, which starts with a slash."""

_Place = tuple[str, str]
"""The checksums of a directory: of what it has, and of its permissions."""


class Listing:
    """The entries of one commit, as far as somebody asks for them. Each method raises ToolError where the repository
    lacks an object of the commit, or has a damaged one."""

    def __init__(self, repo: Path, commit: str) -> None:
        self._repo = repo
        self._mode = objects.repository_mode(repo)
        self._root = ostree.root(repo, commit)
        self._read: dict[_Place, objects.Directory] = {}
        self._inside: dict[str, dict[str, Listed]] = {}

    def find(self, path: str) -> Listed | None:
        """What a commit has at ``path``, which begins with a slash; no link is followed. None for nothing."""
        if path == "/":
            return self._directory(path, self._root)
        above, name = posixpath.split(path)
        if (parent := self._open(above)) is None:
            return None
        if (place := parent.directories.get(name)) is not None:
            return self._directory(path, place)
        checksum = parent.files.get(name)
        return self._file(path, checksum) if checksum is not None else None

    def read(self, path: str) -> str | None:
        """The text of a file; None where there is none. Raises ToolError for more than TEXT_MAX bytes, and for what is
        not a file."""
        if (entry := self.find(path)) is None:
            return None
        if entry.kind != "-":
            raise ToolError(f"cannot read {path} of a commit", "it is not a file")
        return objects.content(self._repo, self._mode, entry.checksum, TEXT_MAX).decode(errors="surrogateescape")

    def inside(self, *directories: str) -> dict[str, Listed]:
        """The entries in directories of the commit; nothing deeper, and nothing of one that does not exist.
        Raises TreeError for a directory of more than ENTRIES_MAX entries."""
        for path in directories:
            if path not in self._inside:
                found = self._open(path)
                self._inside[path] = dict(self._entries(path, found)) if found is not None else {}
        return {path: entry for directory in directories for path, entry in self._inside[directory].items()}

    def levels(self, *levels: tuple[str, ...]) -> dict[str, Listed]:
        """The entries at the top and in those of the directories that exist; those of a level have to be in one of an
        earlier one."""
        found = self.inside("/")
        for level in levels:
            found |= self.inside(*(path for path in level if path in found and found[path].kind == "d"))
        return found

    def below(self, path: str) -> Iterator[Listed]:
        """All that is below a directory, one by one; each directory before what it has. Raises TreeError for more than
        ENTRIES_MAX entries, and for a path of more than extent.PATH_MAX bytes."""
        count = 0
        top = self._open(path)
        waiting = [(path, top)] if top is not None else []
        while waiting:
            place, directory = waiting.pop()
            for name, entry in self._entries(place, directory):
                count += 1
                if count > ENTRIES_MAX or len(name) > extent.PATH_MAX:
                    raise _too_large(path)
                yield entry
                if entry.kind == "d":
                    waiting.append((name, objects.directory(self._repo, entry.checksum)))

    def _open(self, path: str) -> objects.Directory | None:
        """A directory; None where there is none."""
        found = self._directory_object(self._root)
        for name in path.split("/"):
            if name:
                if (place := found.directories.get(name)) is None:
                    return None
                found = self._directory_object(place)
        return found

    def _directory_object(self, place: _Place) -> objects.Directory:
        if place not in self._read:
            self._read[place] = objects.directory(self._repo, place[0])
        return self._read[place]

    def _entries(self, path: str, directory: objects.Directory) -> Iterator[tuple[str, Listed]]:
        if len(directory.files) + len(directory.directories) > ENTRIES_MAX:
            raise _too_large(path)
        prefix = path.rstrip("/")
        for name, checksum in directory.files.items():
            yield f"{prefix}/{name}", self._file(f"{prefix}/{name}", checksum)
        for name, place in directory.directories.items():
            yield f"{prefix}/{name}", self._directory(f"{prefix}/{name}", place)

    def _file(self, path: str, checksum: str) -> Listed:
        (mode, uid, gid), size, target = objects.file(self._repo, self._mode, checksum)
        return Listed("l" if stat.S_ISLNK(mode) else "-", stat.S_IMODE(mode), uid, gid, checksum, path, target, size)

    def _directory(self, path: str, place: _Place) -> Listed:
        mode, uid, gid = _permissions(self._repo, place[1])
        return Listed("d", stat.S_IMODE(mode), uid, gid, place[0], path, "")


def _too_large(path: str) -> TreeError:
    return TreeError(
        f"{path} of a commit is too large",
        f"it has more than {ENTRIES_MAX} entries, or a path of more than {extent.PATH_MAX} bytes",
        "Nothing was published. Use another image.",
    )


@functools.lru_cache(maxsize=1024)
def _permissions(repo: Path, checksum: str) -> objects.Permissions:
    return objects.permissions(repo, checksum)


@functools.lru_cache(maxsize=8)
def _kept(repo: Path, commit: str) -> Listing:
    return Listing(repo, commit)


def of(repo: Path, revision: str) -> Listing:
    """The listing of a commit, the same each time for its checksum. Raises ToolError for a revision that is not here,
    and for a commit that cannot be read."""
    if objects.CHECKSUM.fullmatch(revision):
        return _kept(repo, revision)
    if (commit := ostree.resolve(repo, revision)) is None:
        raise ToolError(f"{repo} does not have a commit {revision}")
    return _kept(repo, commit)
