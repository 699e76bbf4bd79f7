"""GVariant in its serialized form, as ostree writes it to files: dictionaries of type a{sv}, and tuples.

The form is that of the GVariant Specification 1.0, whose offsets are little-endian everywhere. Only the normal form of
a value is taken: of any other, libglib makes something by rules of its own. Values of other types than those asked for
are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Value = tuple[str, bytes]
"""The type of a value and its bytes."""

_ENTRY = ((1, 0), (8, 0))
"""A key and its variant."""


def dictionary(data: bytes) -> dict[str, Value]:
    """A GVariant of type a{sv}: each key with the type and the bytes of its value. Raises ValueError, IndexError."""
    return dict(entries(data))


def entries(data: bytes) -> Iterator[tuple[str, Value]]:
    """The same one by one: a key may be there twice."""
    for entry in array(data, alignment=8):
        key, value = members(entry, _ENTRY)
        # A variant is its value, a zero, and its type.
        content, _, kind = value.rpartition(b"\0")
        yield text(key), (kind.decode(), content)


def array(data: bytes, alignment: int) -> list[bytes]:
    """The elements of an array of variable size: their ends stand behind the last one. Raises ValueError."""
    if not data:
        return []
    width = width_of(len(data))
    last = int.from_bytes(data[-width:], "little")
    if not 0 <= last <= len(data) - width or (len(data) - last) % width:
        raise ValueError("its offsets lead out of it")
    ends = [int.from_bytes(data[at : at + width], "little") for at in range(last, len(data), width)]
    found, start = [], 0
    for end in ends:
        if not start <= end <= last:
            raise ValueError("its offsets are in disorder")
        found.append(data[start:end])
        start = _aligned(data, end, alignment) if end < last and alignment > 1 else end
    return found


def members(data: bytes, shape: Sequence[tuple[int, int]]) -> list[bytes]:
    """The members of a tuple: ``shape`` has the alignment of each, and its size, 0 where that varies, as the last one's
    does. Raises ValueError."""
    width = width_of(len(data))
    # Where those of variable size end stands behind the last member, the first one's at the very end.
    table = len(data) - width * sum(size == 0 for _, size in shape[:-1])
    found: list[bytes] = []
    offset, end = len(data), 0
    for number, (alignment, size) in enumerate(shape):
        start = _aligned(data, end, alignment)
        if size:
            end = start + size
        elif number == len(shape) - 1:
            end = table
        else:
            offset -= width
            end = int.from_bytes(data[offset : offset + width], "little")
        if not start <= end <= table:
            raise ValueError("its offsets are in disorder")
        found.append(data[start:end])
    return found


def strings(value: Value | None) -> list[str]:
    """The items of an ``as``; none where the value is absent or of another type."""
    if value is None or value[0] != "as":
        return []
    return [element.removesuffix(b"\0").decode(errors="surrogateescape") for element in array(value[1], alignment=1)]


def string(value: Value) -> str:
    """An ``s``. Raises ValueError for a value of another type."""
    if value[0] != "s":
        raise ValueError(f"a string is missing, there is a value of type {value[0]}")
    return text(value[1])


def text(data: bytes) -> str:
    """The text of a string, which ends in the only zero. Raises ValueError."""
    content, zero, rest = data.partition(b"\0")
    if not zero or rest:
        raise ValueError("a string does not end where it should")
    return content.decode()


def boolean(value: Value | None) -> bool:
    """A ``b``; False where the value is absent or of another type. Raises ValueError for any number but 0 and 1."""
    if value is None or value[0] != "b":
        return False
    if value[1] not in {b"\0", b"\1"}:
        raise ValueError("a value is neither true nor false")
    return value[1] == b"\1"


def _aligned(data: bytes, end: int, alignment: int) -> int:
    """Where the value after one that ends at ``end`` begins. Raises ValueError where there is anything between them."""
    start = -(-end // alignment) * alignment
    if any(data[end:start]):
        raise ValueError("there is something between two values")
    return start


def width_of(size: int) -> int:
    """Bytes of an offset in a container of ``size`` bytes."""
    if size < 1 << 16:
        return 1 if size < 1 << 8 else 2
    return 4 if size < 1 << 32 else 8
