"""The note of a staged deployment: bytes as libglib itself lays them out."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from apt_ostree import staged
from apt_ostree.errors import SysrootError
from apt_ostree.staged import Staged

TARGET = "'target': <{'name': <'abc.0'>, 'osname': <'debian'>}>"


def serialized(text: str) -> bytes:
    """A GVariant in bytes: what libostree writes with the same library."""
    glib = ctypes.CDLL("libglib-2.0.so.0")
    for name in ("g_variant_parse", "g_variant_get_data", "g_variant_type_new"):
        getattr(glib, name).restype = ctypes.c_void_p
    glib.g_variant_get_size.restype = ctypes.c_size_t
    kind = ctypes.c_void_p(glib.g_variant_type_new(b"a{sv}"))
    value = ctypes.c_void_p(glib.g_variant_parse(kind, text.encode(), None, None, None))
    assert value.value
    return ctypes.string_at(ctypes.c_void_p(glib.g_variant_get_data(value)), glib.g_variant_get_size(value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Staged((), locked=False)),
        (f"{{{TARGET}}}", Staged((), locked=False)),
        (f"{{{TARGET}, 'kargs': <['rw', 'console=tty0', 'console=ttyS0']>}}",
         Staged(("rw", "console=tty0", "console=ttyS0"), locked=False)),
        (f"{{'kargs': <['foo=\"a b\"']>, {TARGET}, 'locked': <true>}}", Staged(('foo="a b"',), locked=True)),
        ("{'locked': <false>, 'kargs': <@as []>}", Staged((), locked=False)),
        # Long enough for offsets of two bytes, in the array and around it.
        (f"{{'kargs': <[{', '.join(repr(f'key{n}=value') for n in range(60))}]>, {TARGET}}}",
         Staged(tuple(f"key{n}=value" for n in range(60)), locked=False)),
    ],
)  # fmt: skip
def test_a_note_is_read_as_glib_writes_it(tmp_path: Path, text: str, expected: Staged) -> None:
    (tmp_path / "note").write_bytes(serialized(text))
    assert staged.read(tmp_path / "note", tmp_path / "lock") == expected


def test_an_older_ostree_locks_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(serialized(f"{{{TARGET}}}"))
    (tmp_path / "lock").touch()
    assert staged.read(tmp_path / "note", tmp_path / "lock") == Staged((), locked=True)


def test_nothing_is_staged_where_there_is_no_note(tmp_path: Path) -> None:
    assert staged.read(tmp_path / "note", tmp_path / "lock") is None


@pytest.mark.parametrize("data", [b"\xff", b"abc\xf0", b"\0" * 9 + b"\x05\x03"])
def test_a_damaged_note_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "note").write_bytes(data)
    with pytest.raises(SysrootError, match="cannot read"):
        staged.read(tmp_path / "note", tmp_path / "lock")
