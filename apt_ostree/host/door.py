"""The one door to trees that others wrote: packages, bases, their scripts, a machine's users.

Such a tree may hold a link, a FIFO or an endless file at any name. So the host's own code never joins paths to reach
into one; it asks a ``Tree`` here. The kernel looks each name up with the tree as its limit and follows no link on the
way (openat2(2), RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS): what lies behind a link is not there. ``Tree.find`` tells
what a name with links means where the tree is the root. So nothing outside the tree can be reached, whatever a name
says, and however the tree changes meanwhile. Names are relative to the tree and have no ``..``.

Questions answer None, or nothing, for what is not there. Changes raise TreeError where a link, or something that is not
a directory, is in the way, and OSError as the kernel has it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import TreeError
from . import files, mounts, syscalls

READ_MAX = 64 << 20
"""Bytes of a file that ``read`` takes into memory: the largest real ones, dpkg's status and lists, have some
megabytes."""

NAME_MAX = 255
PATH_MAX = 4096
"""Bytes of one name, and of a path with the NUL at its end (Linux's limits.h)."""

LINKS_MAX = 40
"""Links in a row before a name counts as missing, as for the kernel (path_resolution(7))."""

_RULES = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
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
class Tree:
    """A directory whose content others wrote. ``top`` itself is ours to name, and is opened as it is.

    ``etc`` is another such directory that stands for the tree's /etc: a base has its own in /usr/etc, and a machine's
    is in its deployment.
    """

    top: Path
    etc: Path | None = None

    def at(self, name: str) -> Tree:
        """The tree below one of its directories. Raises TreeError where that is not a directory."""
        if not self.has_directory(name):
            raise TreeError(f"/{_shown(name)} is not a directory", os.fspath(self.top))
        return Tree(self.top / name)

    # Questions

    def status(self, name: str = "") -> os.stat_result | None:
        """The lstat(2) of an entry."""
        try:
            with self._above(name) as (directory, own):
                return os.stat(own, dir_fd=directory, follow_symlinks=False)
        except (OSError, TreeError) as error:
            _unless_missing(error)
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
            _unless_missing(error)
            return None

    def names(self, name: str = "") -> list[str]:
        """The names in a directory, sorted; none where it is not one."""
        try:
            with self._opened(name, _DIRECTORY) as directory:
                return sorted(os.listdir(directory))
        except (OSError, TreeError) as error:
            _unless_missing(error)
            return []

    def open_file(self, name: str) -> BinaryIO | None:
        """A regular file for reading; None for anything else. Never waits for a FIFO's other end."""
        if not is_name(name):
            return None
        try:
            with self._top(name) as (top, inner):
                descriptor = syscalls.openat2(top, inner, _READ, _RULES)
        except OSError as error:
            _unless_missing(error)
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
            raise TreeError(f"/{_shown(name)} is too large", f"it has more than {limit} bytes")
        return content

    def text(self, name: str, *, limit: int = READ_MAX) -> str | None:
        """The same as text, whose line ends are as they are in the file: split it at ``\\n`` alone."""
        content = self.read(name, limit=limit)
        return None if content is None else content.decode(errors="surrogateescape")

    def attributes(self, name: str = "") -> dict[str, bytes]:
        """The extended attributes of an entry; none of one that is not there."""
        try:
            with self._above(name) as (directory, own):
                place = _by_descriptor(directory, own)
                keys = os.listxattr(place, follow_symlinks=False)
                return {key: os.getxattr(place, key, follow_symlinks=False) for key in sorted(keys)}
        except (OSError, TreeError) as error:
            _unless_missing(error)
            return {}

    def has_same_content(self, name: str, other: Tree, to: str) -> bool:
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
            raise TreeError("a directory lies too deep", f"/{_shown(prefix[:80])}…")
        try:
            with self._opened(name, _DIRECTORY) as directory:
                found = [
                    Entry(f"{prefix}{own}", status)
                    for own in sorted(os.listdir(directory))
                    if (status := _status(own, directory)) is not None
                ]
        except (OSError, TreeError) as error:
            if not (readable and isinstance(error, PermissionError)):
                _unless_missing(error)
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

    # Changes

    def make_directory(self, name: str, mode: int = 0o755) -> None:
        """Make a directory and those above it, root's, where they are missing."""
        if name == "":
            return
        _check(name)
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            inner = "/".join(parts[:count])
            with self._above(inner) as (directory, own):
                try:
                    os.mkdir(own, 0o700, dir_fd=directory)
                except FileExistsError:
                    if not stat.S_ISDIR(os.stat(own, dir_fd=directory, follow_symlinks=False).st_mode):
                        raise TreeError(f"/{_shown(inner)} is not a directory", os.fspath(self.top)) from None
                else:
                    with self._opened(inner, _DIRECTORY) as made:
                        os.fchmod(made, mode)

    def write(
        self, name: str, content: bytes | BinaryIO, mode: int = 0o644, owner: tuple[int, int] | None = None
    ) -> None:
        """Put a regular file, ours unless it has another owner, in the place of what is there, if that is not a
        directory; a reader sees either whole."""
        with self._fresh(name) as (file, descriptor):
            _fill(file, content)
            os.fchown(descriptor, *(owner or (os.geteuid(), os.getegid())))
            os.fchmod(descriptor, mode)

    def replace_content(self, name: str, content: bytes | BinaryIO) -> None:
        """Give a file other content, as a file of its own that keeps owner, mode and extended attributes."""
        status = self.status(name)
        if status is None or not stat.S_ISREG(status.st_mode):
            raise TreeError(f"/{_shown(name)} is not a file", os.fspath(self.top))
        attributes = self.attributes(name)
        with self._fresh(name) as (file, descriptor):
            _fill(file, content)
            os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            for key, value in attributes.items():
                os.setxattr(descriptor, key, value)

    def symlink(self, name: str, target: str) -> None:
        """Make a link where nothing is."""
        with self._above(_check(name)) as (directory, own):
            os.symlink(target, own, dir_fd=directory)

    def hard_link(self, source: Path, name: str) -> None:
        """Give a file of ours one more name here, where nothing is; a link at ``source`` is not followed."""
        with self._above(_check(name)) as (directory, own):
            os.link(source, own, dst_dir_fd=directory, follow_symlinks=False)

    def move(self, name: str, other: Tree, to: str) -> None:
        """Move an entry, of this or to another tree of the same filesystem, over what is there (rename(2))."""
        with self._above(_check(name)) as (directory, own), other._above(_check(to)) as (there, theirs):
            os.rename(own, theirs, src_dir_fd=directory, dst_dir_fd=there)

    def remove(self, name: str) -> None:
        """Remove an entry and all below it; nothing where it is not there.

        Raises TreeError where anything is mounted there, before the first file goes.
        """
        try:
            with self._above(_check(name)) as (directory, own):
                status = os.stat(own, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    if mounted := mounts.at_or_below(self.top / name):
                        raise TreeError(f"refusing to remove /{_shown(name)}", f"{mounted[0]} is mounted there")
                    files.remove_directory(own, directory)
                else:
                    os.unlink(own, dir_fd=directory)
        except OSError as error:
            _unless_missing(error)

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory (rmdir(2))."""
        with self._above(_check(name)) as (directory, own):
            os.rmdir(own, dir_fd=directory)

    def set_owner(self, name: str, uid: int, gid: int) -> None:
        with self._above(name) as (directory, own):
            os.chown(own, uid, gid, dir_fd=directory, follow_symlinks=False)

    def set_mode(self, name: str, mode: int) -> None:
        """chmod(2) of a file or directory; a link has no mode of its own."""
        with self._opened(name, _READ) as descriptor:
            os.fchmod(descriptor, mode)

    def set_attribute(self, name: str, key: str, value: bytes) -> None:
        with self._above(name) as (directory, own):
            os.setxattr(_by_descriptor(directory, own), key, value, follow_symlinks=False)

    def remove_attribute(self, name: str, key: str) -> None:
        with self._above(name) as (directory, own):
            os.removexattr(_by_descriptor(directory, own), key, follow_symlinks=False)

    def copy_metadata(self, source: Tree, name: str, to: str) -> None:
        """Give the entry ``to`` here the owner, mode and extended attributes of ``name`` in ``source``.

        Attributes of overlayfs stay behind: they say how a layer lies over others.
        """
        status = source.status(name)
        if status is None:
            raise TreeError(f"/{_shown(name)} is gone", os.fspath(source.top))
        self.set_owner(to, status.st_uid, status.st_gid)
        if not stat.S_ISLNK(status.st_mode):
            self.set_mode(to, stat.S_IMODE(status.st_mode))
        for key, value in source.attributes(name).items():
            if not key.startswith("trusted.overlay."):
                # A filesystem without some namespace (SELinux labels, say) must fail loudly: exactness is the point.
                self.set_attribute(to, key, value)

    def copy(self, source: Tree, name: str, to: str) -> None:
        """Copy one file or link of ``source``, or make one directory, with owner, mode and extended attributes; not
        what is below it. Raises TreeError for a type that an OSTree commit cannot hold."""
        status = source.status(name)
        if status is not None and stat.S_ISDIR(status.st_mode):
            with self._above(_check(to)) as (directory, own):
                if not self.has_directory(to):
                    os.mkdir(own, 0o700, dir_fd=directory)
        elif (target := source.link(name)) is not None:
            self.symlink(to, target)
        elif (file := source.open_file(name)) is not None:
            with file, self._fresh(to) as (fresh, _):
                shutil.copyfileobj(file, fresh, 1 << 20)
        else:
            raise TreeError(f"cannot copy /{_shown(name)}", "it is not a file, directory or link")
        self.copy_metadata(source, name, to)

    # The way in

    @contextmanager
    def _top(self, name: str = "") -> Iterator[tuple[int, str]]:
        """The directory that a name is looked up in, and the name there."""
        place, inner = self.top, name
        if self.etc is not None and name.partition("/")[0] == "etc":
            place, inner = self.etc, name.partition("/")[2]
        descriptor = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor, inner or "."
        finally:
            os.close(descriptor)

    @contextmanager
    def _opened(self, name: str, flags: int) -> Iterator[int]:
        with self._top(_check(name) if name else name) as (top, inner):
            descriptor = syscalls.openat2(top, inner, flags, _RULES)
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
        above, _, own = _check(name).rpartition("/")
        with ExitStack() as held:
            try:
                directory = held.enter_context(self._opened(above, os.O_PATH | os.O_DIRECTORY))
            except OSError as error:
                if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                    raise
                raise TreeError(f"/{_shown(above)} is a link, or not a directory", os.fspath(self.top)) from error
            yield directory, own

    @contextmanager
    def _fresh(self, name: str) -> Iterator[tuple[BinaryIO, int]]:
        """A new file that takes the place of an entry when the block ends well."""
        with self._above(_check(name)) as (directory, own):
            temporary = f".apt-ostree-{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    yield file, descriptor
                os.rename(temporary, own, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(temporary, dir_fd=directory)
                raise


def _check(name: str) -> str:
    if not is_name(name):
        raise TreeError(f"'{_shown(name)}' is not a name below a tree", "it is absolute, or has an empty part or '..'")
    return name


def _fill(file: BinaryIO, content: bytes | BinaryIO) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        shutil.copyfileobj(content, file, 1 << 20)
    # A change of owner takes set-user-ID away, and so does a write after the mode is set (chown(2), inode(7)).
    file.flush()


def _shown(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _unless_missing(error: OSError | TreeError) -> None:
    """Raise a failure again unless it says that nothing is there, or nothing that a name in the tree leads to."""
    if isinstance(error, OSError) and error.errno not in _NOT_THERE:
        raise error


def _status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _by_descriptor(directory: int, name: str) -> str:
    """A path for the calls that take no descriptor; nobody can put a link in its way, and the last name is the
    caller's not to follow."""
    return f"/proc/self/fd/{directory}/{name}"
