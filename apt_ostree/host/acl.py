"""POSIX access control lists (acl(5)), as extended attributes hold them: they name users and groups by number."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from ..errors import TreeError

ATTRIBUTES = ("system.posix_acl_access", "system.posix_acl_default")

_VERSION_BYTES = 4
_ENTRY = struct.Struct("<HHI")
"""Tag, permissions, id: Linux's include/uapi/linux/posix_acl_xattr.h."""
_USER, _GROUP = 0x02, 0x08
"""Tags of the entries that have an id."""


def moved(attributes: Mapping[str, bytes], users: Mapping[int, int], groups: Mapping[int, int]) -> dict[str, bytes]:
    """The lists among a file's extended attributes that name an id with another number now, with the new one.

    Raises TreeError."""
    found = {}
    for name in ATTRIBUTES:
        if name in attributes and (after := renumber(attributes[name], users, groups)) != attributes[name]:
            found[name] = after
    return found


def renumber(value: bytes, users: Mapping[int, int], groups: Mapping[int, int]) -> bytes:
    """A list with other numbers: old id -> new id. Raises TreeError for bytes that are not a list."""
    if len(value) < _VERSION_BYTES or (len(value) - _VERSION_BYTES) % _ENTRY.size:
        raise TreeError("cannot read an access control list", f"{len(value)} bytes are not a whole number of entries")
    moves = {_USER: users, _GROUP: groups}
    entries = [
        (tag, permissions, moves.get(tag, {}).get(number, number))
        for tag, permissions, number in _ENTRY.iter_unpack(value[_VERSION_BYTES:])
    ]
    return value[:_VERSION_BYTES] + b"".join(_ENTRY.pack(*entry) for entry in entries)
