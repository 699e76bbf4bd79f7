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
from .entries import CrowdedError, Directory, Entry, listed, own_names

READ_MAX = 64 << 20
"""Bytes of a file that ``read`` takes into memory: the largest real ones, dpkg's status and lists, have some
megabytes."""

_CHUNK = 1 << 16
"""Bytes that are read at a time where a file's size says nothing."""

NAME_MAX = 255
PATH_MAX = 4096
"""Bytes of one name, and of a path with the NUL at its end (Linux's limits.h)."""

ATTRIBUTES_MAX = 64
"""Extended attributes of one entry, of at most 64 KiB each (xattr(7)); real ones have a handful."""

LINKS_MAX = 40
"""Links in a row before a name counts as missing, as for the kernel (path_resolution(7))."""

_RULES = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.ENXIO}
"""How the kernel says that a name leads nowhere in the tree; ENXIO of a socket, which nobody can open."""


def is_name(name: str) -> bool:
    """True for a name that can be below a tree: relative, without ``..``, empty parts or NUL, and not too long."""
    if "/" not in name and name.isascii():
        # Most are of this kind, and a walk asks for each.
        return name not in {"", ".", ".."} and "\0" not in name and len(name) <= NAME_MAX
    parts = name.split("/")
    return is_link_target(name) and all(part not in {"", ".", ".."} and _bytes(part) <= NAME_MAX for part in parts)


def at_and_above(name: str) -> Iterator[str]:
    """A name, and those of the directories above it, the lowest first."""
    while name:
        yield name
        name = name.rpartition("/")[0]


def is_link_target(text: str) -> bool:
    """True for what a symbolic link can hold (symlink(2))."""
    return text != "" and "\0" not in text and _bytes(text) < PATH_MAX


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogateescape"))


@dataclass(frozen=True, slots=True)
class Looking:
    """A directory whose content others wrote. ``top`` itself is ours to name, and is opened as it is.

    ``etc`` is another such directory that stands for the tree's /etc: a base has its own in /usr/etc, and a machine's
    is in its deployment. ``held`` is a descriptor of ``top``, see ``opened``.
    """

    top: Path
    etc: Path | None = None
    held: int | None = None

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
                return own_names(directory)
        except (OSError, TreeError) as error:
            unless_missing(error)
            return []

    def open_file(self, name: str) -> BinaryIO | None:
        """A regular file for reading; None for anything else. Never waits for a FIFO's other end."""
        found = self._file(name)
        return None if found is None else os.fdopen(found[0], "rb")

    def read(self, name: str, *, limit: int = READ_MAX) -> bytes | None:
        """The content of a regular file. Raises TreeError for one of more than ``limit`` bytes."""
        found = self._file(name)
        if found is None:
            return None
        descriptor, size = found
        content = bytearray()
        try:
            while chunk := os.read(descriptor, max(min(size, limit) + 1 - len(content), _CHUNK)):
                content += chunk
                if len(content) > limit:
                    raise TreeError(f"/{shown(name)} is too large", f"it has more than {limit} bytes")
                if len(content) == size:
                    break
        finally:
            os.close(descriptor)
        return bytes(content)

    def text(self, name: str, *, limit: int = READ_MAX) -> str | None:
        """The same as text, whose line ends are as they are in the file: split it at ``\\n`` alone."""
        content = self.read(name, limit=limit)
        return None if content is None else content.decode(errors="surrogateescape")

    def attributes(self, name: str = "") -> dict[str, bytes]:
        """The extended attributes of an entry; none of one that is not there. Raises TreeError for too many."""
        try:
            with self._above(name) as (directory, own):
                place = by_descriptor(directory, own)
                if len(keys := os.listxattr(place, follow_symlinks=False)) <= ATTRIBUTES_MAX:
                    return {key: os.getxattr(place, key, follow_symlinks=False) for key in sorted(keys)}
        except (OSError, TreeError) as error:
            # Names of more than 64 KiB: the filesystem holds them, but nobody can list them.
            if not isinstance(error, OSError) or error.errno != errno.E2BIG:
                unless_missing(error)
                return {}
        raise TreeError(f"/{shown(name)} has more than {ATTRIBUTES_MAX} extended attributes", os.fspath(self.top))

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

    @contextmanager
    def opened(self, name: str = "") -> Iterator[Self]:
        """The tree below one of its directories, held open: however deep that lies, an entry right in it is found at
        once. Raises TreeError where it is not a directory."""
        descriptor = self._directory(name)
        if descriptor is None:
            raise TreeError(f"/{shown(name)} is not a directory", os.fspath(self.top))
        try:
            yield type(self)(Path(*self._place(name)), held=descriptor)
        finally:
            os.close(descriptor)

    def directories(self) -> Iterator[Directory[Self]]:
        """Every directory of the tree, itself the first and parents before children, each held open while the caller
        is at it: for trees of many files, of which ``walk`` would look up each by its whole path.

        What is removed meanwhile is left out. Raises TreeError where directories lie deeper in each other than a path
        can name (PATH_MAX).
        """
        waiting = [""]
        while waiting:
            name = waiting.pop()
            prefix = _prefix(name)
            descriptor = self._directory(name)
            if descriptor is None:
                continue
            try:
                entries = listed(descriptor, prefix)
                yield Directory(name, type(self)(self.top / name, held=descriptor), entries)
            finally:
                os.close(descriptor)
            waiting += [entry.name for entry in reversed(entries) if entry.is_directory]

    def walk(self, name: str = "", *, readable: bool = False) -> Iterator[Entry]:
        """Every entry below a directory, parents before children, in the order of their names.

        What is removed meanwhile is left out, and with ``readable``, what lies below a directory that the caller may
        not read. Raises TreeError where directories lie deeper in each other than a path can name (PATH_MAX).
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
        prefix = _prefix(name)
        try:
            with self._opened(name, DIRECTORY) as directory:
                found = [
                    (own, status) for own in own_names(directory) if (status := _status(own, directory)) is not None
                ]
        except (OSError, TreeError) as error:
            if not (readable and isinstance(error, PermissionError)):
                unless_missing(error)
            found = []
        return (Entry(f"{prefix}{own}", status) for own, status in found)

    def find(self, name: str) -> str | None:
        """The name without any link on the way or at its end, as the tree's own root would find it; None where that
        leads to nothing."""
        if (status := self.status(name)) is not None and not stat.S_ISLNK(status.st_mode):
            return name
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

    def _top(self, name: str = "") -> _Held:
        """The directory that a name is looked up in, and the name there."""
        place, inner = self._place(name)
        if self.held is not None and place is self.top:
            return _Held(self.held, inner or ".", close=False)
        return _Held(os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), inner or ".", close=True)

    def _place(self, name: str) -> tuple[Path, str]:
        if self.etc is not None and name.partition("/")[0] == "etc":
            return self.etc, name.partition("/")[2]
        return self.top, name

    def _reach(self, name: str, flags: int) -> int:
        """A descriptor of an entry; an error names it by its path here."""
        with self._top(name) as (top, inner):
            try:
                if "/" not in inner and inner != ".":
                    # The same, and faster: there is no way to it, and nothing but a link could lead elsewhere.
                    return os.open(inner, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
                return syscalls.openat2(top, inner, flags, _RULES)
            except OSError as error:
                error.filename = os.path.join(*self._place(name))
                raise

    def _file(self, name: str) -> tuple[int, int] | None:
        """A descriptor and the size of a regular file; None for anything else."""
        if not is_name(name):
            return None
        try:
            descriptor = self._reach(name, READ)
        except OSError as error:
            unless_missing(error)
            return None
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return descriptor, status.st_size
        os.close(descriptor)
        return None

    def _directory(self, name: str) -> int | None:
        """A descriptor of a directory; None where it is not one."""
        try:
            return self._reach(checked(name) if name else name, DIRECTORY)
        except (OSError, TreeError) as error:
            unless_missing(error)
            return None

    @contextmanager
    def _opened(self, name: str, flags: int) -> Iterator[int]:
        descriptor = self._reach(checked(name) if name else name, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _above(self, name: str) -> _Held:
        """The directory above an entry, and the entry's own name in it."""
        if name == "" or (self.etc is not None and name == "etc"):
            return self._top(name)
        above, _, own = checked(name).rpartition("/")
        if above == "":
            return self._top(own)
        try:
            return _Held(self._reach(above, os.O_PATH | os.O_DIRECTORY), own, close=True)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
            raise TreeError(f"/{shown(above)} is a link, or not a directory", os.fspath(self.top)) from error


class _Held:
    """A directory, and a name in it, for the length of a block: its descriptor is closed then, if it is ours to
    ``close``."""

    __slots__ = ("_close", "_directory", "_name")

    def __init__(self, directory: int, name: str, *, close: bool) -> None:
        self._directory, self._name, self._close = directory, name, close

    def __enter__(self) -> tuple[int, str]:
        return self._directory, self._name

    def __exit__(self, *_: object) -> None:
        if self._close:
            os.close(self._directory)


def _prefix(directory: str) -> str:
    """What the names of a directory's entries begin with. Raises TreeError where no path could name them all."""
    prefix = f"{directory}/" if directory else ""
    if len(os.fsencode(prefix)) >= PATH_MAX - NAME_MAX - 1:
        raise TreeError("a directory lies too deep", f"/{shown(prefix[:80])}…")
    return prefix


def checked(name: str) -> str:
    if not is_name(name):
        raise TreeError(f"'{shown(name)}' is not a name below a tree", "it is absolute, or has an empty part or '..'")
    return name


def shown(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def unless_missing(error: OSError | TreeError) -> None:
    """Raise a failure again unless it says that nothing is there, or nothing that a name in the tree leads to."""
    if isinstance(error, CrowdedError) or (isinstance(error, OSError) and error.errno not in _NOT_THERE):
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
