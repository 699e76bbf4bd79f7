"""How much a commit unfolds to: a directory's object may be the child of many others, and of one by many names.

Five objects with a hundred names each are ten billion paths. So each object is read once, and counted as often as it
has a name.
"""

from __future__ import annotations

import functools
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import ToolError, TreeError
from . import objects, ostree

ENTRIES_MAX = 2_000_000
"""Files and directories of a commit; a desktop with all of its languages has half a million."""

PATH_MAX = 4096
"""Bytes of a path that the kernel takes (path_resolution(7))."""

NAMES_MAX = 10_000
"""Names that one content object has in a tree before it counts as frequent. ext4 gives a file 65,000, which those of
the object, of each deployment and of the base's checkout share; what has no name left is copied, each time."""

LEVELS_MAX = 128
"""Directories in each other. The deepest of real packages have some twenty; libostree holds a descriptor of each while
it makes or removes a deployment, and a process may have 1024 (systemd.exec(5))."""


class Extent(NamedTuple):
    """What is below a directory."""

    entries: int
    directories: int
    longest: int
    """Bytes of the longest path, each name with its slash."""
    levels: int
    """Directories in each other."""
    frequent: tuple[tuple[str, int], ...] = ()
    """Of a commit: the content objects of more than NAMES_MAX names, and their number."""


@functools.lru_cache(maxsize=8)
def of(repo: Path, commit: str) -> Extent:
    """Measure a commit. Raises TreeError for one that unfolds to more than ENTRIES_MAX entries, has a path of more
    than PATH_MAX bytes or more than LEVELS_MAX directories in each other, ToolError for one that cannot be read."""
    root, _ = ostree.root(repo, commit)
    known: dict[str, Extent] = {}
    shapes: dict[str, _Shape] = {}
    begun: dict[str, objects.Directory] = {}
    waiting, read = [root], 0
    while waiting:
        checksum = waiting[-1]
        if checksum in known:
            waiting.pop()
            continue
        if is_first := checksum not in begun:
            begun[checksum] = objects.directory(repo, checksum)
            read += len(begun[checksum].files) + len(begun[checksum].directories)
        inner = [tree for tree, _ in begun[checksum].directories.values() if tree not in known]
        if inner and not is_first:
            raise ToolError(f"cannot read commit {commit}", f"directory {checksum} is inside itself")
        if not inner:
            shapes[checksum] = _shape(begun[checksum])
            known[checksum] = _sum(begun.pop(checksum), known)
        waiting += inner
        if read > ENTRIES_MAX or (checksum in known and known[checksum].entries > ENTRIES_MAX):
            raise _refused(commit, f"it has more than {ENTRIES_MAX} files and directories")
    if known[root].longest > PATH_MAX:
        raise _refused(commit, f"it has a path of {known[root].longest} bytes, more than {PATH_MAX}")
    if known[root].levels > LEVELS_MAX:
        raise _refused(commit, f"it has {known[root].levels} directories in each other, more than {LEVELS_MAX}")
    return known[root]._replace(frequent=tuple(_frequent(repo, root, shapes)))


class _Shape(NamedTuple):
    """What is in a directory, in few bytes: there may be ENTRIES_MAX entries in all."""

    files: array[int]
    """The first 64 bits of their checksums. Where two are equal by design, a tree counts as worse than it is."""
    directories: tuple[str, ...]


def _shape(directory: objects.Directory) -> _Shape:
    return _Shape(
        array("Q", (int(checksum[:16], 16) for checksum in directory.files.values())),
        tuple(tree for tree, _ in directory.directories.values()),
    )


def _frequent(repo: Path, root: str, shapes: dict[str, _Shape]) -> Iterator[tuple[str, int]]:
    """The content objects of more than NAMES_MAX names. ``shapes`` has what is inside a directory before itself."""
    times, names = Counter({root: 1}), Counter[int]()
    for checksum in reversed(shapes):
        for key in shapes[checksum].files:
            names[key] += times[checksum]
        for inner in shapes[checksum].directories:
            times[inner] += times[checksum]
    wanted = {key: count for key, count in names.items() if count > NAMES_MAX}
    for checksum in shapes if wanted else ():
        for file in objects.directory(repo, checksum).files.values():
            if count := wanted.pop(int(file[:16], 16), 0):
                yield file, count


def _sum(directory: objects.Directory, known: dict[str, Extent]) -> Extent:
    inner = {name: known[tree] for name, (tree, _) in directory.directories.items()}
    return Extent(
        len(directory.files) + len(inner) + sum(found.entries for found in inner.values()),
        len(inner) + sum(found.directories for found in inner.values()),
        max(
            (
                *(len(name.encode()) + 1 for name in directory.files),
                *(len(name.encode()) + 1 + found.longest for name, found in inner.items()),
            ),
            default=0,
        ),
        max((1 + found.levels for found in inner.values()), default=0),
    )


def _refused(commit: str, why: str) -> TreeError:
    return TreeError(
        f"commit {commit[:12]} is too large to be checked out", why, "Nothing was published. Use another image."
    )
