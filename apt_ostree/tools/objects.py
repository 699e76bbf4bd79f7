"""The objects of a commit's tree, read from the repository's files: directories, their permissions, and files.

The forms are those of libostree's ostree-core.h and ostree-core-private.h, and of its manual ("Repository"). What an
object holds was written by others: one that is not as ostree makes it is an error, never something to guess at.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import ToolError
from ..text import text_of
from . import gvariant

CHECKSUM = re.compile(r"[0-9a-f]{64}")

DIRECTORY_MAX = 64 << 20
"""Bytes of a dirtree object: a directory of a million names. (libostree takes 128 MiB.)"""

HEADER_MAX = 1 << 20
"""Bytes of permissions and extended attributes; Linux keeps 64 KiB of them for a file (xattr(7))."""

_PIECE = 1 << 16
"""Bytes that are unpacked at once."""

_BINARY = 32
"""Bytes of a checksum."""

_ALL_PERMISSIONS = 0o7777

_COMPRESSED = ("archive", "archive-z2")
_MODES = ("bare", "bare-user", "bare-user-only", *_COMPRESSED)
"""Of repositories (ostree.repo-config(5)); bare-split-xattrs is not said to be stable."""

_STRINGS = (1, 0)
"""Alignment and size of a string and of an array of bytes or of tuples of them (gvariant.members)."""

_META = ((4, 4), (4, 4), (4, 4), _STRINGS)
"""User, group and mode in network order, and extended attributes."""

_HEADER = ((8, 8), (4, 4), (4, 4), (4, 4), (4, 4), _STRINGS, _STRINGS)
"""Of a compressed file: size, user, group, mode, device, target, extended attributes."""


class Directory(NamedTuple):
    """What a directory has, by name."""

    files: dict[str, str]
    """Files and links: the checksum of each."""
    directories: dict[str, tuple[str, str]]
    """The checksums of what each has, and of its permissions."""


class Permissions(NamedTuple):
    """Numbers as in stat(2); the mode is whole."""

    mode: int
    uid: int
    gid: int


class File(NamedTuple):
    """A file, or a link to ``target``, whose size is 0."""

    permissions: Permissions
    size: int
    target: str

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.permissions.mode)


def path(repo: Path, checksum: str, kind: str) -> Path:
    """Where an object lies. Raises ValueError for what is no checksum."""
    if not CHECKSUM.fullmatch(checksum):
        raise ValueError(f"{checksum!r} is not a checksum")
    return repo / "objects" / checksum[:2] / f"{checksum[2:]}.{kind}"


def directory(repo: Path, checksum: str) -> Directory:
    """A dirtree object. Raises ToolError."""
    place = path(repo, checksum, "dirtree")
    try:
        return parse_directory(_read(place, DIRECTORY_MAX))
    except (OSError, ValueError) as error:
        raise _unreadable(place, error) from error


def permissions(repo: Path, checksum: str) -> Permissions:
    """A dirmeta object. Raises ToolError."""
    place = path(repo, checksum, "dirmeta")
    try:
        return parse_permissions(_read(place, HEADER_MAX), (stat.S_IFDIR,))
    except (OSError, ValueError) as error:
        raise _unreadable(place, error) from error


def file(repo: Path, mode: str, checksum: str) -> File:
    """A content object without its content, in a repository of that mode. Raises ToolError."""
    place = _content_path(repo, mode, checksum)
    try:
        if mode in _COMPRESSED:
            with _open(place) as stored:
                return parse_header(_header(stored))
        if mode == "bare-user":
            return _of_a_user(place)
        status = place.lstat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            raise ValueError("it is neither a file nor a link")
        owner = (0, 0) if mode == "bare-user-only" else (status.st_uid, status.st_gid)
        found = Permissions(status.st_mode, *owner)
        if stat.S_ISLNK(status.st_mode):
            return File(found, 0, os.readlink(place))
        return File(found, status.st_size, "")
    except (OSError, ValueError) as error:
        raise _unreadable(place, error) from error


def content(repo: Path, mode: str, checksum: str, limit: int) -> bytes:
    """The bytes of a file, for which ``file`` says that it is no link. Raises ToolError, also for more than ``limit``
    of them."""
    place = _content_path(repo, mode, checksum)
    try:
        if mode not in _COMPRESSED:
            return _read(place, limit)
        with _open(place) as stored:
            _header(stored)
            unpacked = zlib.decompressobj(-zlib.MAX_WBITS)
            found = b""
            while not unpacked.eof and len(found) <= limit:
                if not (piece := unpacked.unconsumed_tail or stored.read(_PIECE)):
                    raise ValueError("it ends too early")
                found += unpacked.decompress(piece, limit + 1 - len(found))
        if len(found) > limit:
            raise ValueError(f"it has more than {limit} bytes")
        return found
    except (OSError, ValueError, zlib.error) as error:
        raise _unreadable(place, error) from error


def repository_mode(repo: Path) -> str:
    """How a repository keeps files. Raises ToolError for one whose files cannot be read here."""
    try:
        text = text_of(repo / "config")
    except OSError as error:
        raise _unreadable(repo / "config", error) from error
    core = re.search(r"^\[core\]\n((?:(?!\[).*\n?)*)", text, re.MULTILINE)
    modes = re.findall(r"^mode *= *(.*?) *$", core[1] if core is not None else "", re.MULTILINE)
    if not modes or modes[-1] not in _MODES:
        raise ToolError(
            "cannot read the repository", f"its mode is {modes[-1] if modes else 'not set'}, not {', '.join(_MODES)}"
        )
    return str(modes[-1])


def parse_directory(data: bytes) -> Directory:
    """Read a dirtree object, a GVariant of type (a(say)a(sayay)). Raises ValueError.

    Names have to be sorted, each once: libostree finds a name by halving, and makes a checkout of all of them.
    """
    files, directories = gvariant.members(data, (_STRINGS, _STRINGS))
    found = Directory(
        {name: sums[0] for name, *sums in _entries(files, 1)},
        {name: (tree, meta) for name, tree, meta in _entries(directories, 2)},
    )
    if not found.files.keys().isdisjoint(found.directories):
        raise ValueError("a name is a file's and a directory's")
    return found


def _entries(data: bytes, checksums: int) -> Iterator[tuple[str, ...]]:
    """The elements of a(say) or a(sayay). There is one way to lay each out, so that its size says where its parts end;
    gvariant.members, which knows all tuples, takes five times as long."""
    before = b""
    for element in gvariant.array(data, alignment=1):
        width = gvariant.width_of(len(element))
        end = len(element) - checksums * (_BINARY + width)
        if end < 1:
            raise ValueError("one of its checksums has another length")
        # The first end stands last.
        table = end.to_bytes(width, "little")
        if checksums == 2:
            table = (end + _BINARY).to_bytes(width, "little") + table
        if not element.endswith(table):
            raise ValueError("one of its checksums has another length")
        name = element[: end - 1]
        if not name or element[end - 1] or b"\0" in name or b"/" in name or name in {b".", b".."}:
            raise ValueError("an entry has a name that no file can have")
        if name <= before:
            raise ValueError("its names are not sorted")
        before = name
        first = element[end : end + _BINARY].hex()
        yield (
            (name.decode(), first)
            if checksums == 1
            else (name.decode(), first, element[end + _BINARY : end + 2 * _BINARY].hex())
        )


def parse_permissions(data: bytes, kinds: tuple[int, ...]) -> Permissions:
    """Read a dirmeta object or a bare-user file's attribute, a GVariant of type (uuua(ayay)), of something that is one
    of ``kinds`` (stat.S_IFMT). Raises ValueError."""
    uid, gid, mode, _ = gvariant.members(data, _META)
    return _permissions(mode, uid, gid, kinds)


def parse_header(data: bytes) -> File:
    """Read the header of a compressed file, a GVariant of type (tuuuusa(ayay)). Raises ValueError."""
    size, uid, gid, mode, _, target, _ = gvariant.members(data, _HEADER)
    found = _permissions(mode, uid, gid, (stat.S_IFREG, stat.S_IFLNK))
    leads = gvariant.text(target)
    if stat.S_ISLNK(found.mode) != bool(leads):
        raise ValueError("it is a file with a target, or a link without one")
    return File(found, 0 if leads else int.from_bytes(size, "big"), leads)


def _permissions(mode: bytes, uid: bytes, gid: bytes, kinds: tuple[int, ...]) -> Permissions:
    number = int.from_bytes(mode, "big")
    if stat.S_IFMT(number) not in kinds or number & ~(stat.S_IFMT(number) | _ALL_PERMISSIONS):
        raise ValueError(f"its mode is {number:o}")
    return Permissions(number, int.from_bytes(uid, "big"), int.from_bytes(gid, "big"))


def _content_path(repo: Path, mode: str, checksum: str) -> Path:
    return path(repo, checksum, "filez" if mode in _COMPRESSED else "file")


def _of_a_user(place: Path) -> File:
    """A content object of a bare-user repository: links are files there, too."""
    attribute = os.getxattr(place, "user.ostreemeta", follow_symlinks=False)
    found = parse_permissions(attribute, (stat.S_IFREG, stat.S_IFLNK))
    if stat.S_ISLNK(found.mode):
        # Some of them end in a zero.
        return File(found, 0, os.fsdecode(_read(place, HEADER_MAX).partition(b"\0")[0]))
    return File(found, place.lstat().st_size, "")


def _header(stored: BinaryIO) -> bytes:
    """The header of a compressed file, which is read up to its end: a size, four bytes that mean nothing, and as many
    as the size says."""
    size = int.from_bytes(stored.read(8)[:4], "big")
    if size > HEADER_MAX:
        raise ValueError(f"its header has {size} bytes, more than {HEADER_MAX}")
    return stored.read(size)


def _read(place: Path, limit: int) -> bytes:
    """All of a file. Raises OSError, and ValueError for more than ``limit`` bytes."""
    with _open(place) as stored:
        size = os.fstat(stored.fileno()).st_size
        if size > limit:
            raise ValueError(f"it has {size} bytes, more than {limit}")
        return stored.read(limit + 1)


def _open(place: Path) -> BinaryIO:
    """An object that is a file: a FIFO would never answer, and a link leads anywhere. Raises OSError, ValueError."""
    stored = os.fdopen(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(stored.fileno()).st_mode):
        stored.close()
        raise ValueError("it is not a file")
    return stored


def _unreadable(place: Path, error: Exception) -> ToolError:
    why = (error.strerror or "") if isinstance(error, OSError) else str(error)
    return ToolError(
        "cannot read an object of the repository",
        f"{place}: {why}",
        "It is missing or damaged: 'ostree fsck' checks a repository, 'apt-ostree status' shows the deployments.",
    )
