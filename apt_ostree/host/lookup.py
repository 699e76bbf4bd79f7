"""Looking into a tree that others wrote, from the outside: see door.py, of which this is the half that changes nothing.

Questions answer None, or nothing, for what is not there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from ..errors import TreeError
from . import syscalls

READ_MAX = 64 << 20
"""Bytes of a file that ``read`` takes into memory: the largest real ones, dpkg's status and lists, have some
megabytes."""

NAME_MAX = 255
PATH_MAX = 4096
"""Bytes of one name, and of a path with the NUL at its end (Linux's limits.h)."""

LINKS_MAX = 40
"""Links in a row before a name counts as missing, as for the kernel (path_resolution(7))."""

_RULES = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.ENXIO}
"""How the kernel says that a name leads nowhere in the tree; ENXIO of a socket, which nobody can open."""


def is_name(name: str) -> bool:
    """True for a name that can be below a tree: relative, without ``..``, empty parts or NUL, and not too long."""
    parts = name.split("/")
    return is_link_target(name) and all(part not in {"", ".", ".."} and _bytes(part) <= NAME_MAX for part in parts)


def is_link_target(text: str) -> bool:
    """True for what a symbolic link can hold (symlink(2))."""
    return text != "" and "\0" not in text and _bytes(text) < PATH_MAX


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))


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


@dataclass(frozen=True, slots=True)
class Looking:
    """A directory whose content others wrote. ``top`` itself is ours to name, and is opened as it is.

    ``etc`` is another such directory that stands for the tree's /etc: a base has its own in /usr/etc, and a machine's
    is in its deployment.
    """

    top: Path
    etc: Path | None = None

    def at(self, name: str) -> Self:
        """The tree below one of its directories. Raises TreeError where that is not a directory."""
        if not self.has_directory(name):
            raise TreeError(f"/{shown(name)} is not a directory", os.fspath(self.top))
        return type(self)(self.top / name)

    def status(self, name: str = "") -> os.stat_result | None:
        """The lstat(2) of an entry."""
        try:
            with self._above(name) as (directory, own):
                return os.stat(own, dir_fd=directory, follow_symlinks=False)
        except (OSError, TreeError) as error:
            unless_missing(error)
            return None

    def has(self, name: str) -> bool:
        return self.status(name) is not None

    def has_file(self, name: str) -> bool:
        status = self.status(name)
        return status is not None and stat.S_ISREG(status.st_mode)

    def has_directory(self, name: str = "") -> bool:
        status = self.status(name)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def has_link(self, name: str) -> bool:
        status = self.status(name)
        return status is not None and stat.S_ISLNK(status.st_mode)

    def link(self, name: str) -> str | None:
        """Where a symbolic link points; None for anything else."""
        try:
            with self._above(name) as (directory, own):
                return os.readlink(own, dir_fd=directory)
        except (OSError, TreeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EINVAL:
                return None
            unless_missing(error)
            return None

    def names(self, name: str = "") -> list[str]:
        """The names in a directory, sorted; none where it is not one."""
        try:
            with self._opened(name, DIRECTORY) as directory:
                return sorted(os.listdir(directory))
        except (OSError, TreeError) as error:
            unless_missing(error)
            return []

    def open_file(self, name: str) -> BinaryIO | None:
        """A regular file for reading; None for anything else. Never waits for a FIFO's other end."""
        if not is_name(name):
            return None
        try:
            descriptor = self._reach(name, READ)
        except OSError as error:
            unless_missing(error)
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return os.fdopen(descriptor, "rb")

    def read(self, name: str, *, limit: int = READ_MAX) -> bytes | None:
        """The content of a regular file. Raises TreeError for one of more than ``limit`` bytes."""
        file = self.open_file(name)
        if file is None:
            return None
        with file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise TreeError(f"/{shown(name)} is too large", f"it has more than {limit} bytes")
        return content

    def text(self, name: str, *, limit: int = READ_MAX) -> str | None:
        """The same as text, whose line ends are as they are in the file: split it at ``\\n`` alone."""
        content = self.read(name, limit=limit)
        return None if content is None else content.decode(errors="surrogateescape")

    def attributes(self, name: str = "") -> dict[str, bytes]:
        """The extended attributes of an entry; none of one that is not there."""
        try:
            with self._above(name) as (directory, own):
                place = by_descriptor(directory, own)
                keys = os.listxattr(place, follow_symlinks=False)
                return {key: os.getxattr(place, key, follow_symlinks=False) for key in sorted(keys)}
        except (OSError, TreeError) as error:
            unless_missing(error)
            return {}

    def has_same_content(self, name: str, other: Looking, to: str) -> bool:
        """True if two names are regular files of the same content."""
        with ExitStack() as held:
            files = [tree.open_file(inner) for tree, inner in ((self, name), (other, to))]
            opened = [held.enter_context(file) for file in files if file is not None]
            if len(opened) < len(files):
                return False
            while True:
                one, two = (file.read(1 << 20) for file in opened)
                if one != two or not one:
                    return one == two

    def walk(self, name: str = "", *, readable: bool = False) -> Iterator[Entry]:
        """Every entry below a directory, parents before children, in the order of their names.

        What is removed meanwhile is left out, and with ``readable``, what lies below a directory that the caller may
        not read. Raises TreeError where directories lie deeper in each other than a path
        can name (PATH_MAX).
        """
        waiting = [self._entries(name, readable)]
        while waiting:
            entry = next(waiting[-1], None)
            if entry is None:
                waiting.pop()
                continue
            yield entry
            if entry.is_directory:
                waiting.append(self._entries(entry.name, readable))

    def _entries(self, name: str, readable: bool) -> Iterator[Entry]:
        prefix = f"{name}/" if name else ""
        if len(os.fsencode(prefix)) >= PATH_MAX - NAME_MAX - 1:
            raise TreeError("a directory lies too deep", f"/{shown(prefix[:80])}…")
        try:
            with self._opened(name, DIRECTORY) as directory:
                found = [
                    Entry(f"{prefix}{own}", status)
                    for own in sorted(os.listdir(directory))
                    if (status := _status(own, directory)) is not None
                ]
        except (OSError, TreeError) as error:
            if not (readable and isinstance(error, PermissionError)):
                unless_missing(error)
            found = []
        return iter(found)

    def find(self, name: str) -> str | None:
        """The name without any link on the way or at its end, as the tree's own root would find it; None where that
        leads to nothing."""
        parts, done = name.split("/")[::-1], list[str]()
        for _ in range(LINKS_MAX):
            while parts:
                part = parts.pop()
                if part in {"", "."}:
                    continue
                if part == "..":
                    done = done[:-1]
                    continue
                here = "/".join([*done, part])
                target = self.link(here)
                if target is not None:
                    done = [] if target.startswith("/") else done
                    parts += target.split("/")[::-1]
                    break
                if not self.has(here):
                    return None
                done.append(part)
            else:
                return "/".join(done)
        return None

    # The way in

    @contextmanager
    def _top(self, name: str = "") -> Iterator[tuple[int, str]]:
        """The directory that a name is looked up in, and the name there."""
        place, inner = self._place(name)
        descriptor = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor, inner or "."
        finally:
            os.close(descriptor)

    def _place(self, name: str) -> tuple[Path, str]:
        if self.etc is not None and name.partition("/")[0] == "etc":
            return self.etc, name.partition("/")[2]
        return self.top, name

    def _reach(self, name: str, flags: int) -> int:
        """A descriptor of an entry; an error names it by its path here."""
        with self._top(name) as (top, inner):
            try:
                return syscalls.openat2(top, inner, flags, _RULES)
            except OSError as error:
                error.filename = os.path.join(*self._place(name))
                raise

    @contextmanager
    def _opened(self, name: str, flags: int) -> Iterator[int]:
        descriptor = self._reach(checked(name) if name else name, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _above(self, name: str) -> Iterator[tuple[int, str]]:
        """The directory above an entry, and the entry's own name in it."""
        if name == "" or (self.etc is not None and name == "etc"):
            with self._top(name) as (top, own):
                yield top, own
            return
        above, _, own = checked(name).rpartition("/")
        with ExitStack() as held:
            try:
                directory = held.enter_context(self._opened(above, os.O_PATH | os.O_DIRECTORY))
            except OSError as error:
                if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                    raise
                raise TreeError(f"/{shown(above)} is a link, or not a directory", os.fspath(self.top)) from error
            yield directory, own


def checked(name: str) -> str:
    if not is_name(name):
        raise TreeError(f"'{shown(name)}' is not a name below a tree", "it is absolute, or has an empty part or '..'")
    return name


def shown(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def unless_missing(error: OSError | TreeError) -> None:
    """Raise a failure again unless it says that nothing is there, or nothing that a name in the tree leads to."""
    if isinstance(error, OSError) and error.errno not in _NOT_THERE:
        raise error


def _status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def by_descriptor(directory: int, name: str) -> str:
    """A path for the calls that take no descriptor; nobody can put a link in its way, and the last name is the
    caller's not to follow."""
    return f"/proc/self/fd/{directory}/{name}"
