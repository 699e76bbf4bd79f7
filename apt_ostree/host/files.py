"""Files: contents written whole, copied and replaced without following a link; directories removed; free space."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SpaceError, ToolError, UsageError
from . import mounts, syscalls

RESERVE_SHARE = 0.03
"""The share that ostree itself leaves free (min-free-space-percent, ostree.repo-config(5)); of the inodes, too."""

RESERVE = 512 << 20
"""Bytes of the disk that stay free, or a share of a small one: logs and databases of the host need some."""

BLOCK = 4096
"""Bytes of which a file has as many times as it needs, on most filesystems."""

SOURCE_MAX = 256 << 20
"""Bytes of a file that a manifest puts into an image: it is in memory as a whole. What is larger belongs in a
package."""

NAMED_MAX = 1 << 20
"""Bytes of what else the command line names to be read: manifests, files for ``apply``, answers to debconf, keys. All
questions of a desktop, with their answers, have some 300 KB; all keys of Debian's archives 60 KB."""

PIPE_SECONDS = 20
"""The time in which such a file ends, if it is a pipe: a command that prints answers needs a second."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_atomically(path: Path, content: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Replace ``path`` with ``content``; a reader sees the old or the new, whole.

    On disk when this returns, unless it need not be ``durable``: an fsync waits for all that others wrote.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, _NEW_FILE, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Put the names in a directory on disk (fsync(2) of a file does not)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Put everything written to the filesystem of ``path`` on disk (syncfs(2))."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.sync_filesystem(descriptor)
    except OSError as error:
        raise ToolError(f"cannot sync {path}", error.strerror or "") from error
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it, following no link; fine if it is gone.

    Raises ToolError where anything is mounted there, before the first file goes.
    """
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        if mounted := mounts.at_or_below(path):
            raise ToolError(f"refusing to remove {path}", f"something is mounted on {mounted[0]}")
        remove_directory(path)
    else:
        path.unlink()


def remove_directory(name: str | Path, parent: int | None = None) -> None:
    """Remove a directory and all below it, following no link; ``name`` is relative to the directory ``parent``."""
    # rmtree works through directory descriptors here, so a planted link cannot lead it astray.
    assert shutil.rmtree.avoids_symlink_attacks
    try:
        shutil.rmtree(name, dir_fd=parent)
    except (OSError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENAMETOOLONG, errno.EMFILE):
            raise
        _remove_deep(name, parent)


def _remove_deep(name: str | Path, parent: int | None) -> None:
    """Remove directories that lie in each other by the thousand, as a script makes them in a second.

    Each is moved up into the first before it is emptied, so that no level needs a descriptor, a frame or a longer path
    of its own. Not for every tree: overlayfs refuses to move a directory of a lower layer.
    """
    with _opened(name, parent) as top:
        names = (f".{os.urandom(8).hex()}" for _ in itertools.count())
        while waiting := _unlink_all_but_directories(top):
            for inner in waiting:
                with _opened(inner, top) as directory:
                    for below in _unlink_all_but_directories(directory):
                        os.rename(below, next(names), src_dir_fd=directory, dst_dir_fd=top)
                os.rmdir(inner, dir_fd=top)
    os.rmdir(name, dir_fd=parent)


def _unlink_all_but_directories(directory: int) -> list[str]:
    """Empty a directory but for those in it, whose names are returned."""
    with os.scandir(directory) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_directory in entries:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
    return [name for name, is_directory in entries if is_directory]


@contextmanager
def _opened(name: str | Path, parent: int | None = None) -> Iterator[int]:
    """A descriptor of a directory; a link is an error."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def take(source: Path, target: Path, room: Room | None = None) -> None:
    """Copy a file that somebody else may still change or exchange; a link in its place is an error.

    It is copied as long as it was when it was opened, whatever is added meanwhile, and only where that leaves what the
    host needs, in the ``room`` that others share. Raises SpaceError, ToolError.
    """
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise ToolError(f"cannot read {source}", error.strerror or "") from error
    with os.fdopen(descriptor, "rb") as old:
        status = os.fstat(old.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ToolError(f"cannot read {source}", "it is not a regular file")
        with (
            (room or Room(target.parent)).hold([status.st_size], f"a copy of {source.name}"),
            os.fdopen(os.open(target, _NEW_FILE, 0o600), "wb") as new,
        ):
            left = status.st_size
            while left and (content := old.read(min(left, 1 << 20))):
                new.write(content)
                left -= len(content)


def read_regular(path: Path, limit: int = SOURCE_MAX, *, pipe_seconds: float = 0) -> bytes:
    """Read a file of at most ``limit`` bytes that the command line or a manifest names: somebody else may own it.

    So what has no end, or is never written to, is no such file: a device, a directory, a pipe. With ``pipe_seconds``, a
    pipe that ends within that time is one, as a shell's ``<(command)``. Raises UsageError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            until = time.monotonic() + pipe_seconds if pipe_seconds and stat.S_ISFIFO(status.st_mode) else None
            if until is None and not stat.S_ISREG(status.st_mode):
                raise UsageError(f"cannot read {path}", "it is not a regular file")
            content = bytearray()
            # Its size says nothing of a pipe, or of what grows meanwhile.
            while max(len(content), status.st_size) <= limit:
                if until is not None and not _is_ready(descriptor, until):
                    raise UsageError(f"cannot read {path}", f"it is a pipe that did not end within {pipe_seconds:g} s")
                if not (chunk := file.read(min(limit + 1 - len(content), 1 << 20))):
                    return bytes(content)
                content += chunk
    except OSError as error:
        raise UsageError(f"cannot read {path}", error.strerror or "") from error
    raise UsageError(f"cannot read {path}", f"it has more than {limit} bytes")


def _is_ready(pipe: int, until: float) -> bool:
    """Wait until a pipe can be read, or has ended, but not beyond a time (of time.monotonic)."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(max(0, until - time.monotonic()) * 1000))


@contextmanager
def own_copy(path: Path | None) -> Iterator[Path | None]:
    """A copy that nobody else can change of a small file that the command line names, for a program that opens it by
    its name; None for None. Raises UsageError."""
    if path is None:
        yield None
        return
    content = read_regular(path, NAMED_MAX, pipe_seconds=PIPE_SECONDS)
    with tempfile.TemporaryDirectory(prefix="apt-ostree-") as scratch:
        copy = Path(scratch) / "copy"
        copy.write_bytes(content)
        yield copy


def check_space(path: Path, needed: int, what: str, *, inodes: int = 0, reserve: bool = False) -> None:
    """Refuse early when the filesystem of ``path`` lacks ``needed`` bytes or ``inodes``, which not every one counts;
    with a ``reserve``, beside what is to stay free, or half of what is free where that is less. Raises SpaceError."""
    status = os.statvfs(path)
    if lack := _lack(path, status, reserves(status) if reserve else (0, 0), (needed, inodes), what):
        raise lack


class Room:
    """The free part of a filesystem, for all that an operation itself writes there, in any number of threads.

    The reserve is that of its beginning: half of what is free, where that is less, would be less each time.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._reserves = reserves(os.statvfs(place))
        self._held: list[tuple[int, int]] = []
        """The bytes and inodes that others are about to write, or have written already in part."""
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, files: Collection[int], what: str) -> Iterator[None]:
        """Keep the room for new ``files``, by their sizes, while they are written. Raises SpaceError.

        Where it is others that hold what is missing, they are waited for; so a thread holds room once at a time.
        """
        mine = sum(map(on_disk, files)), len(files)
        with self._changed:
            while lack := self._lack(mine, what):
                if not self._held:
                    raise lack
                self._changed.wait()
            self._held.append(mine)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(mine)
                self._changed.notify_all()

    def _lack(self, mine: tuple[int, int], what: str) -> SpaceError | None:
        size, inodes = (sum(numbers) for numbers in zip(mine, *self._held, strict=True))
        return _lack(self.place, os.statvfs(self.place), self._reserves, (size, inodes), what)


def on_disk(size: int) -> int:
    """Bytes on disk of a file of that many."""
    return -(-size // BLOCK) * BLOCK


def free(place: Path) -> tuple[int, int]:
    """The free bytes and inodes of a filesystem."""
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize, status.f_favail


def reserves(status: os.statvfs_result, most: int = RESERVE) -> tuple[int, int]:
    """The bytes, ``most`` of them at most, and the inodes of a filesystem that stay free.

    Half of what is free now where that is less than its share: an uninstall must work on a disk that is nearly full.
    """
    free = status.f_bavail * status.f_frsize
    return (
        min(most, int(status.f_blocks * status.f_frsize * RESERVE_SHARE), free // 2),
        min(int(status.f_files * RESERVE_SHARE), status.f_favail // 2),
    )


def _lack(
    path: Path, status: os.statvfs_result, reserves: tuple[int, int], needed: tuple[int, int], what: str
) -> SpaceError | None:
    """The error of a filesystem that lacks bytes or inodes, beside the ``reserves`` of each; None where it has both."""
    free, spare = status.f_bavail * status.f_frsize - reserves[0], status.f_favail - reserves[1]
    for_it = " for it" if any(reserves) else ""
    if free < needed[0]:
        return SpaceError(
            f"too little space for {what}",
            f"{path} has {max(free, 0) / 1e6:.1f} MB free{for_it}; {needed[0] / 1e6:.1f} MB are needed",
            "Free some space and run the command again: apt-ostree cleanup",
        )
    if needed[1] and status.f_files and spare < needed[1]:
        return SpaceError(
            f"too few inodes for {what}",
            f"{path} has {max(spare, 0)} free{for_it}; {needed[1]} are needed",
            "Remove some files and run the command again: apt-ostree cleanup",
        )
    return None


@contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """An empty directory that exists as long as the block, in the place of whatever was there.

    An error while removing it after a failure is dropped.
    """
    remove_tree(path)
    path.mkdir(mode=0o700, parents=True)
    try:
        yield path
    except BaseException:
        with contextlib.suppress(OSError, ToolError):
            remove_tree(path)
        raise
    remove_tree(path)
