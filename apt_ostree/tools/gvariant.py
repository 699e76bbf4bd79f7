"""GVariant in its serialized form: dictionaries of type a{sv}, as ostree writes them to files.

The form is that of the GVariant Specification 1.0, whose offsets are little-endian everywhere; values of other types
than those asked for are left alone.
"""

from __future__ import annotations


def dictionary(data: bytes) -> dict[str, tuple[str, bytes]]:
    """A GVariant of type a{sv}: each key with the type and the bytes of its value. Raises ValueError, IndexError."""
    found = {}
    for entry in _elements(data, alignment=8):
        width = _width(len(entry))
        end = int.from_bytes(entry[len(entry) - width :], "little")
        key, value = entry[: end - 1].decode(), entry[-(-end // 8) * 8 : len(entry) - width]
        # A variant is its value, a zero, and its type.
        content, _, kind = value.rpartition(b"\0")
        found[key] = (kind.decode(), content)
    return found


def strings(value: tuple[str, bytes] | None) -> list[str]:
    """The items of an ``as``; none where the value is absent or of another type."""
    if value is None or value[0] != "as":
        return []
    return [
        element.removesuffix(b"\0").decode(errors="surrogateescape") for element in _elements(value[1], alignment=1)
    ]


def string(value: tuple[str, bytes]) -> str:
    """An ``s``. Raises ValueError for a value of another type."""
    if value[0] != "s":
        raise ValueError(f"a string is missing, there is a value of type {value[0]}")
    return value[1].removesuffix(b"\0").decode()


def boolean(value: tuple[str, bytes] | None) -> bool:
    """A ``b``; False where the value is absent or of another type."""
    return value == ("b", b"\1")


def _elements(data: bytes, alignment: int) -> list[bytes]:
    """The elements of an array of variable size: their ends stand behind the last one."""
    if not data:
        return []
    width = _width(len(data))
    last = int.from_bytes(data[-width:], "little")
    if not 0 <= last <= len(data) - width or (len(data) - last) % width:
        raise ValueError("its offsets lead out of it")
    ends = [int.from_bytes(data[at : at + width], "little") for at in range(last, len(data), width)]
    found, start = [], 0
    for end in ends:
        if not start <= end <= last:
            raise ValueError("its offsets are in disorder")
        found.append(data[start:end])
        start = -(-end // alignment) * alignment
    return found


def _width(size: int) -> int:
    """Bytes of an offset in a container of ``size`` bytes."""
    return next(width for width, bits in ((1, 8), (2, 16), (4, 32), (8, 64)) if size < 1 << bits)
