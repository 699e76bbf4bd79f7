"""Paths in a tree that others wrote: found, made and walked without following a link to somewhere else."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import TreeError

_LINKS_MAX = 40
"""Links in a row before a name counts as missing, as for the kernel (path_resolution(7))."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def beneath(top: Path, name: str | os.PathLike[str]) -> Path | None:
    """The entry ``name`` below ``top``, if it exists and every directory on the way is a real one.

    Trees that scripts wrote may hold links anywhere; a path joined blindly could lead to the host's own
    files. The entry itself may be a link: callers that open it must look. A name that is absolute, or has a ``..``, is
    not below a tree: pathlib's ``top / "/name"`` is "/name".
    """
    parts = _parts(name)
    # One look settles most cases: this is asked for every name of every layer.
    if parts is None or not os.path.lexists(f"{os.fspath(top)}/{os.fspath(name)}"):
        return None
    path = top
    for part in parts:
        if not path.is_dir() or path.is_symlink():
            return None
        path = path / part
    return path if os.path.lexists(path) else None


def resolve(path: str, tree: Path, etc: Path) -> tuple[str, Path] | None:
    """Resolve an absolute path where ``tree`` is the root and ``etc`` its /etc.

    Returns the path in the tree of an entry that is not a link, with no link on the way, and where that entry lies
    here; None where it does not exist. A link never leads to the host's own files.
    """
    for _ in range(_LINKS_MAX):
        parts = Path(os.path.normpath(path)).parts[1:]
        place = tree
        for number, part in enumerate(parts, 1):
            place = etc if parts[:number] == ("etc",) else place / part
            if place.is_symlink():
                path = os.path.join("/", *parts[: number - 1], os.readlink(place), *parts[number:])
                break
            if not os.path.lexists(place):
                return None
        else:
            return os.path.join("/", *parts), place
    return None


@contextmanager
def directory_beneath(top: Path, name: str) -> Iterator[int]:
    """A descriptor of the directory ``name`` below ``top``, for work on its entries by their names alone.

    Raises NotADirectoryError where a link or a file is in the way, or the name is not below ``top``, and
    FileNotFoundError.
    """
    parts = _parts(name)
    if parts is None:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
    descriptor = os.open(top, _DIRECTORY)
    try:
        for part in parts:
            inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def make_beneath(top: Path, name: str | os.PathLike[str]) -> Path | None:
    """The directory ``name`` below ``top``, made with its parents where it is missing; None where a link or a
    file is in the way, since nothing is made through it, and for a name that is absolute or has a ``..``."""
    parts = _parts(name)
    if parts is None:
        return None
    path = top
    for part in parts:
        path = path / part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            return None
        path.mkdir(exist_ok=True)
    return path


def _parts(name: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """The parts of a name below a tree; None for a name that could lead out of it."""
    path = Path(name)
    return None if path.is_absolute() or ".." in path.parts else path.parts


def walk(top: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below ``top``, parents before children, in the order of their names, following no link.

    Raises TreeError where directories lie deeper in each other than a path can name.
    """
    waiting = [iter(_sorted_entries(top))]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        yield entry
        if entry.is_dir(follow_symlinks=False):
            waiting.append(iter(_sorted_entries(entry.path)))


def _sorted_entries(directory: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise TreeError("a directory lies too deep", f"{os.fspath(directory)[:80]}…: no path names it") from error
