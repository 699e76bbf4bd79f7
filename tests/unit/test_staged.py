"""The note of a staged deployment: bytes as libglib itself lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import SysrootError
from apt_ostree.system import staged
from apt_ostree.system.staged import Staged
from tests.unit import fake

TARGET = "'target': <{'name': <'abc.0'>, 'osname': <'debian'>, 'bootcsum': <'def'>}>"


def note(*kargs: str, locked: bool = False) -> Staged:
    return Staged("debian", "abc.0", kargs, locked)


def serialized(text: str) -> bytes:
    return fake.variant("a{sv}", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{{{TARGET}}}", note()),
        (f"{{{TARGET}, 'kargs': <['rw', 'console=tty0', 'console=ttyS0']>}}",
         note("rw", "console=tty0", "console=ttyS0")),
        (f"{{'kargs': <['foo=\"a b\"']>, {TARGET}, 'locked': <true>}}", note('foo="a b"', locked=True)),
        (f"{{'locked': <false>, 'kargs': <@as []>, {TARGET}}}", note()),
        # Long enough for offsets of two bytes, in the array and around it.
        (f"{{'kargs': <[{', '.join(repr(f'key{n}=value') for n in range(60))}]>, {TARGET}}}",
         note(*(f"key{n}=value" for n in range(60)))),
    ],
)  # fmt: skip
def test_a_note_is_read_as_glib_writes_it(tmp_path: Path, text: str, expected: Staged) -> None:
    (tmp_path / "note").write_bytes(serialized(text))
    assert staged.read(tmp_path / "note", tmp_path / "lock") == expected


def test_an_older_ostree_locks_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(serialized(f"{{{TARGET}}}"))
    (tmp_path / "lock").touch()
    assert staged.read(tmp_path / "note", tmp_path / "lock") == note(locked=True)


def test_nothing_is_staged_where_there_is_no_note(tmp_path: Path) -> None:
    assert staged.read(tmp_path / "note", tmp_path / "lock") is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"abc\xf0",
        b"\0" * 9 + b"\x05\x03",
        serialized("{'kargs': <['rw']>}"),
        serialized("{'target': <{'name': <1>, 'osname': <'debian'>}>}"),
    ],
)
def test_a_damaged_note_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "note").write_bytes(data)
    with pytest.raises(SysrootError, match="cannot read"):
        staged.read(tmp_path / "note", tmp_path / "lock")


ROOTS = [
    ("{'backing-root-device-inode': <(uint64 5, uint64 1234567890123)>, 'composefs': <true>}", (5, 1234567890123)),
    ("{'composefs': <false>}", None),
    ("{}", None),
]


@pytest.mark.parametrize(("text", "expected"), ROOTS)
def test_the_running_deployment_is_the_one_behind_the_root(
    tmp_path: Path, text: str, expected: tuple[int, int] | None
) -> None:
    (tmp_path / "booted").write_bytes(serialized(text))
    status = tmp_path.stat()
    assert staged.booted_root(tmp_path / "booted", tmp_path) == (expected or (status.st_dev, status.st_ino))


def test_no_deployment_runs_where_there_is_no_note(tmp_path: Path) -> None:
    assert staged.booted_root(tmp_path / "booted", tmp_path) is None


UNLOCKED = [
    ({}, None, "none"),
    ({"origin": {"refspec": "d:x"}}, None, "none"),
    # It outlasts a boot, so it stands in the origin.
    ({"origin": {"unlocked": "hotfix"}}, None, "hotfix"),
    ({}, "development", "development"),
    ({}, "transient", "transient"),
    ({"origin": {"unlocked": "hotfix"}}, "development", "development"),
]


@pytest.mark.parametrize(("origin", "state", "expected"), UNLOCKED)
def test_how_usr_was_made_writable_is_read_where_ostree_notes_it(
    tmp_path: Path, origin: dict[str, dict[str, str]], state: str | None, expected: str
) -> None:
    (tmp_path / "abc.0").mkdir()
    if state is not None:
        (tmp_path / f"abc.0/unlocked-{state}").touch()
    # That of another deployment says nothing.
    (tmp_path / "abc.1").mkdir()
    (tmp_path / "abc.1/unlocked-development").touch()
    assert staged.unlocked("abc.0", origin, tmp_path) == expected


def test_a_note_that_is_damaged_tells_no_running_deployment(tmp_path: Path) -> None:
    (tmp_path / "booted").write_bytes(b"\xff")
    with pytest.raises(SysrootError, match="cannot read"):
        staged.booted_root(tmp_path / "booted", tmp_path)
