"""A commit as ostree stores it: a GVariant of type (a{sv}aya(say)sstayay), in a file that is not compressed.

``ostree show --raw`` prints each byte of a value as a word, a hundred times as long.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ToolError
from ..model import CommitInfo
from ..numbers import decimal
from . import gvariant

_MEMBERS = ((8, 0), (1, 0), (1, 0), (1, 0), (1, 0), (8, 8), (1, 0), (1, 0))
"""Metadata, parent, related objects, subject, body, time, and the two checksums of the tree."""

_CHECKSUM_BYTES = 32


def parse(checksum: str, data: bytes) -> CommitInfo:
    """Read a commit object. Raises ToolError.

    Values of its metadata other than strings and booleans are left out: nobody needs them here. One that is not in the
    one form that ostree writes is refused: libostree could read another thing out of it than this does.
    """
    try:
        fields, parent, _, subject, _, time, *trees = gvariant.members(data, _MEMBERS)
        metadata: dict[str, str] = {}
        keys = set[str]()
        for key, value in gvariant.entries(fields):
            if key in keys:
                # libostree takes the first: what was judged would not be what it writes into the boot menu.
                raise ValueError("its metadata has a key twice")
            keys.add(key)
            if value[0] == "s":
                metadata[key] = gvariant.string(value)
            elif value[0] == "b":
                metadata[key] = "true" if gvariant.boolean(value) else "false"
        if len(parent) not in {0, _CHECKSUM_BYTES} or {len(tree) for tree in trees} != {_CHECKSUM_BYTES}:
            raise ValueError("one of its checksums has another length")
        # The bytes of a number are in network order, whatever the machine's is.
        timestamp = int.from_bytes(time, "big")
        return CommitInfo(checksum, parent.hex() or None, timestamp, gvariant.text(subject), join_pieces(metadata))
    except (ValueError, IndexError) as error:
        raise ToolError(f"cannot read commit {checksum}", str(error)) from error


def root(checksum: str, data: bytes) -> tuple[str, str]:
    """The checksums of the root directory of a commit object: of what it has, and of its permissions. Raises
    ToolError."""
    try:
        *_, tree, meta = gvariant.members(data, _MEMBERS)
    except ValueError as error:
        raise ToolError(f"cannot read commit {checksum}", str(error)) from error
    if {len(tree), len(meta)} != {_CHECKSUM_BYTES}:
        raise ToolError(f"cannot read commit {checksum}", "one of its checksums has another length")
    return tree.hex(), meta.hex()


def join_pieces(metadata: Mapping[str, str]) -> dict[str, str]:
    """Put values together again that were too long for one argument: KEY, KEY.1, KEY.2 and so on."""
    joined: dict[str, str] = {}
    for key in sorted(metadata, key=lambda key: (len(key), key)):
        stem, _, number = key.rpartition(".")
        if decimal(number) is not None and stem in joined:
            joined[stem] += metadata[key]
        else:
            joined[key] = metadata[key]
    return joined
