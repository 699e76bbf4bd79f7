"""Hollow packages: each file's content below /usr is a marker that names its object.

dpkg unpacks a hollow package in a fraction of the time and still decides by itself what goes where; afterwards each
marker is replaced by a hard link to its object (hydrate.py).

What keeps its content: conffiles and whatever else lies outside /usr, and empty files.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO

from ..host.files import Room
from ..tools import deb, ostree
from .cache import Cached

MARKER = b"apt-ostree object "
MARKER_SIZE = len(MARKER) + 64 + 1

_OBJECT_DIRECTORIES = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"}


def marker(checksum: str) -> bytes:
    """The content that stands for an object in a hollow package."""
    return MARKER + checksum.encode() + b"\n"


def read_marker(content: bytes) -> str | None:
    """The object that a file's content stands for, or None for any other content."""
    if len(content) != MARKER_SIZE or not content.startswith(MARKER):
        return None
    checksum = content[len(MARKER) : -1].decode("ascii", "replace")
    return checksum if ostree.CHECKSUM.fullmatch(checksum) else None


def is_hollowed(member: tarfile.TarInfo, conffiles: set[str]) -> bool:
    parts = Path(member.name).parts
    return (
        member.isfile()
        and member.size > 0
        and parts[0] in _OBJECT_DIRECTORIES
        # Debian has no /usr/etc, but ours is where /etc lives.
        and parts[:2] != ("usr", "etc")
        and "/" + "/".join(parts) not in conffiles
    )


def refill(repo: Path, cached: Cached, target: Path, room: Room) -> None:
    """Write the whole package again from its hollow twin and its objects, where there is ``room``. Raises SpaceError.

    For packages whose files dpkg itself compares or runs before hydration. The archives in
    it are not compressed; what dpkg unpacks from it is what it would from the original.
    """
    unpacked = target.with_suffix(".tar")
    size = cached.hollow.stat().st_size
    with room.hold([size], f"the files of {cached.package}"):
        deb.unpack_tar(cached.hollow, unpacked)
    with tarfile.open(unpacked, "r:", encoding="utf-8") as data:
        sources = {
            id(member): source for member in data.getmembers() if (source := _source(repo, cached, data, member))
        }
        # Each object as often as the package has it.
        whole = [size, *(source.stat().st_size for source in sources.values())]

        def refilled(member: tarfile.TarInfo) -> IO[bytes] | None:
            source = sources.get(id(member))
            return source.open("rb") if source else None

        with room.hold(whole, f"the files of {cached.package}"):
            deb.write(target, deb.control_archive(cached.hollow), data, refilled)
    unpacked.unlink()


def _source(repo: Path, cached: Cached, data: tarfile.TarFile, member: tarfile.TarInfo) -> Path | None:
    """The object that a member's marker names; None where it has a content of its own."""
    if not member.isfile() or member.size != MARKER_SIZE:
        return None
    file = data.extractfile(member)
    assert file is not None
    checksum = read_marker(file.read())
    return ostree.object_path(repo, checksum) if checksum and checksum in cached.objects else None
