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

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import TreeError
from . import files, mounts
from .entries import Directory, Entry, Listed
from .lookup import (
    DIRECTORY,
    READ,
    Looking,
    at_and_above,
    by_descriptor,
    checked,
    is_link_target,
    is_name,
    shown,
    unless_missing,
)

__all__ = ["Directory", "Entry", "Listed", "Tree", "at_and_above", "is_half_written", "is_link_target", "is_name"]

OVERLAY = "trusted.overlay."
"""Extended attributes in which overlayfs notes how a layer lies over others (kernel documentation, overlayfs)."""

_TEMPORARY = ".apt-ostree-"


def is_half_written(name: str) -> bool:
    """True for the name of a file that a killed ``write`` left beside its own."""
    return re.fullmatch(rf"{re.escape(_TEMPORARY)}[0-9a-f]{{16}}", name) is not None


@dataclass(frozen=True, slots=True)
class Tree(Looking):
    """A directory whose content others wrote, to look into (lookup.py) and to change.

    ``top`` itself is ours to name, and is opened as it is; ``etc``, if given, stands for the tree's /etc.
    """

    def make_directory(self, name: str, mode: int = 0o755) -> None:
        """Make a directory and those above it, root's, where they are missing."""
        if name == "":
            return
        checked(name)
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            inner = "/".join(parts[:count])
            with self._above(inner) as (directory, own):
                try:
                    os.mkdir(own, 0o700, dir_fd=directory)
                except FileExistsError:
                    if not stat.S_ISDIR(os.stat(own, dir_fd=directory, follow_symlinks=False).st_mode):
                        raise TreeError(f"/{shown(inner)} is not a directory", os.fspath(self.top)) from None
                else:
                    with self._opened(inner, DIRECTORY) as made:
                        os.fchmod(made, mode)

    def write(
        self,
        name: str,
        content: bytes | BinaryIO,
        mode: int = 0o644,
        owner: tuple[int, int] | None = None,
        *,
        durable: bool = False,
    ) -> None:
        """Put a regular file, ours unless it has another owner, in the place of what is there, if that is not a
        directory; a reader sees either whole. If it is to be ``durable``, it is on disk when this returns."""
        with self._fresh(name) as (file, descriptor):
            _fill(file, content)
            os.fchown(descriptor, *(owner or (os.geteuid(), os.getegid())))
            os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
        if durable:
            self.sync(name.rpartition("/")[0])

    def replace_content(self, name: str, content: bytes | BinaryIO) -> None:
        """Give a file other content, as a file of its own that keeps owner, mode and extended attributes, but not those
        of overlayfs: they are about the content before."""
        status = self.status(name)
        if status is None or not stat.S_ISREG(status.st_mode):
            raise TreeError(f"/{shown(name)} is not a file", os.fspath(self.top))
        attributes = self.attributes(name)
        with self._fresh(name) as (file, descriptor):
            _fill(file, content)
            os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            for key, value in attributes.items():
                if not key.startswith(OVERLAY):
                    os.setxattr(descriptor, key, value)

    def symlink(self, name: str, target: str) -> None:
        """Make a link where nothing is."""
        with self._above(checked(name)) as (directory, own):
            os.symlink(target, own, dir_fd=directory)

    def move(self, name: str, other: Tree, to: str) -> None:
        """Move an entry, of this or to another tree of the same filesystem, over what is there (rename(2))."""
        with self._above(checked(name)) as (directory, own), other._above(checked(to)) as (there, theirs):
            os.rename(own, theirs, src_dir_fd=directory, dst_dir_fd=there)

    def hard_link(self, source: Looking, name: str, to: str) -> None:
        """Make ``to`` another name of a file or link of ``source``, where nothing is; both on one filesystem
        (link(2))."""
        with source._above(checked(name)) as (directory, own), self._above(checked(to)) as (here, ours):
            os.link(own, ours, src_dir_fd=directory, dst_dir_fd=here, follow_symlinks=False)

    def hard_link_ours(self, source: Path, to: str) -> None:
        """Make ``to``, where nothing is, another name of a file that is ours alone, such as an object."""
        with self._above(checked(to)) as (directory, own):
            os.link(source, own, dst_dir_fd=directory, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove an entry and all below it; nothing where it is not there.

        Raises TreeError where anything is mounted there, before the first file goes.
        """
        try:
            with self._above(checked(name)) as (directory, own):
                try:
                    os.unlink(own, dir_fd=directory)
                except IsADirectoryError:
                    if mounted := mounts.at_or_below(self.top / name):
                        raise TreeError(
                            f"refusing to remove /{shown(name)}", f"{mounted[0]} is mounted there"
                        ) from None
                    files.remove_directory(own, directory)
        except OSError as error:
            unless_missing(error)

    def sync(self, name: str = "") -> None:
        """Put the names in a directory on disk (fsync(2) of a file does not)."""
        with self._opened(name, DIRECTORY) as directory:
            os.fsync(directory)

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory (rmdir(2))."""
        with self._above(checked(name)) as (directory, own):
            os.rmdir(own, dir_fd=directory)

    def set_owner(self, name: str, uid: int, gid: int) -> None:
        with self._above(name) as (directory, own):
            os.chown(own, uid, gid, dir_fd=directory, follow_symlinks=False)

    def set_mode(self, name: str, mode: int) -> None:
        """chmod(2) of a file or directory; a link has no mode of its own."""
        with self._opened(name, READ) as descriptor:
            os.fchmod(descriptor, mode)

    def set_attribute(self, name: str, key: str, value: bytes) -> None:
        with self._above(name) as (directory, own):
            os.setxattr(by_descriptor(directory, own), key, value, follow_symlinks=False)

    def remove_attribute(self, name: str, key: str) -> None:
        with self._above(name) as (directory, own):
            os.removexattr(by_descriptor(directory, own), key, follow_symlinks=False)

    def copy_metadata(self, source: Looking, name: str, to: str) -> None:
        """Give the entry ``to`` here the owner, mode and extended attributes of ``name`` in ``source``.

        Attributes of overlayfs stay behind: they say how a layer lies over others.
        """
        status = source.status(name)
        if status is None:
            raise TreeError(f"/{shown(name)} is gone", os.fspath(source.top))
        self.set_owner(to, status.st_uid, status.st_gid)
        if not stat.S_ISLNK(status.st_mode):
            self.set_mode(to, stat.S_IMODE(status.st_mode))
        for key, value in source.attributes(name).items():
            if not key.startswith(OVERLAY):
                # A filesystem without some namespace (SELinux labels, say) must fail loudly: exactness is the point.
                self.set_attribute(to, key, value)

    def copy(self, source: Looking, name: str, to: str) -> None:
        """Copy one file or link of ``source``, or make one directory, with owner, mode and extended attributes; not
        what is below it. Raises TreeError for a type that an OSTree commit cannot hold."""
        status = source.status(name)
        if status is not None and stat.S_ISDIR(status.st_mode):
            with self._above(checked(to)) as (directory, own):
                if not self.has_directory(to):
                    os.mkdir(own, 0o700, dir_fd=directory)
        elif (target := source.link(name)) is not None:
            self.symlink(to, target)
        elif (file := source.open_file(name)) is not None:
            with file, self._fresh(to) as (fresh, _):
                shutil.copyfileobj(file, fresh, 1 << 20)
        else:
            raise TreeError(f"cannot copy /{shown(name)}", "it is not a file, directory or link")
        self.copy_metadata(source, name, to)

    @contextmanager
    def _fresh(self, name: str) -> Iterator[tuple[BinaryIO, int]]:
        """A new file that takes the place of an entry when the block ends well."""
        with self._above(checked(name)) as (directory, own):
            temporary = f"{_TEMPORARY}{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    yield file, descriptor
                os.rename(temporary, own, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(temporary, dir_fd=directory)
                raise


def _fill(file: BinaryIO, content: bytes | BinaryIO) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        shutil.copyfileobj(content, file, 1 << 20)
    # A change of owner takes set-user-ID away, and so does a write after the mode is set (chown(2), inode(7)).
    file.flush()
