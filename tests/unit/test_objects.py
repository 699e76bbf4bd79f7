"""The objects of a tree, in bytes: what libostree writes is read, and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.tools import objects
from tests.unit import fake
from tests.unit.repository import Repository, dirtree, filez, numbers

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def array(checksum: str) -> str:
    """In GVariant's text."""
    return f"[{', '.join(f'byte 0x{checksum[at : at + 2]}' for at in range(0, 64, 2))}]"


@pytest.mark.parametrize("count", [0, 1, 7, 300, 3000])
def test_a_directory_is_read_as_libglib_lays_it_out(count: int) -> None:
    """With offsets of one, two and four bytes."""
    files = {f"{number:04}": A for number in range(count)}
    directories = {"d" * 250: (A, B), "ü\n": (B, C)}
    first = "@a(say) [{}]".format(", ".join(f"('{name}', {array(checksum)})" for name, checksum in files.items()))
    second = f"[('{'d' * 250}', {array(A)}, {array(B)}), ('ü\\n', {array(B)}, {array(C)})]"
    data = fake.variant("(a(say)a(sayay))", f"({first}, {second})")
    assert objects.parse_directory(data) == (files, directories)
    assert data == dirtree(
        [(name.encode(), checksum) for name, checksum in files.items()],
        [(name.encode(), *sums) for name, sums in directories.items()],
    )


@pytest.mark.parametrize(
    ("files", "directories"),
    [
        pytest.param([(b"", A)], [], id="no name"),
        pytest.param([(b".", A)], [], id="the directory itself"),
        pytest.param([], [(b"..", A, A)], id="the one above"),
        pytest.param([(b"a/b", A)], [], id="a path"),
        pytest.param([(b"a\0b", A)], [], id="a NUL in it"),
        pytest.param([(b"\xff", A)], [], id="no UTF-8"),
        pytest.param([(b"b", A), (b"a", A)], [], id="in disorder"),
        pytest.param([(b"a", A), (b"a", B)], [], id="twice"),
        pytest.param([(b"a", A)], [(b"a", A, B)], id="a file and a directory"),
        pytest.param([(b"a", A[:62])], [], id="a short checksum"),
        pytest.param([], [(b"a", A, f"{B}00")], id="a long checksum"),
    ],
)
def test_no_other_directory_is_read(files: list[tuple[bytes, str]], directories: list[tuple[bytes, str, str]]) -> None:
    with pytest.raises(ValueError):
        objects.parse_directory(dirtree(files, directories))


@pytest.mark.parametrize("data", [b"", b"\x05", b"\0\0", b"\0" * 9, b"\xff" * 40])
def test_what_is_no_directory_is_not_read(data: bytes) -> None:
    with pytest.raises(ValueError):
        objects.parse_directory(data)


def test_permissions_are_read_as_libglib_lays_them_out() -> None:
    swapped = [int.from_bytes(number.to_bytes(4, "big"), "little") for number in (1000, 42, stat.S_IFDIR | 0o1777)]
    text = "(uint32 {}, uint32 {}, uint32 {}, [(b'user.a', [byte 7]), (b'user.b', b'x')])".format(*swapped)
    data = fake.variant("(uuua(ayay))", text)
    assert objects.parse_permissions(data, (stat.S_IFDIR,)) == (stat.S_IFDIR | 0o1777, 1000, 42)


@pytest.mark.parametrize("mode", [0o755, stat.S_IFREG | 0o755, stat.S_IFLNK, stat.S_IFDIR | 0o200000, 1 << 31])
def test_the_permissions_of_anything_else_are_not_a_directorys(mode: int) -> None:
    with pytest.raises(ValueError, match="its mode is"):
        objects.parse_permissions(numbers(mode), (stat.S_IFDIR,))


@pytest.mark.parametrize("mode", ["bare", "bare-user-only", "archive", "archive-z2"])
def test_a_file_and_a_link_are_read_in_each_kind_of_repository(tmp_path: Path, mode: str) -> None:
    made = Repository(tmp_path / "repo", mode)
    if mode.startswith("archive"):
        file = made.store("filez", filez(b"text" * 9, stat.S_IFREG | 0o640))
        link = made.store("filez", filez(b"", stat.S_IFLNK | 0o777, "a\nb"))
        owner = (0, 0)
    else:
        file, link = made.store("file", b"text" * 9), made.link("a\nb")
        made.place(file, "file").chmod(0o640)
        owner = (0, 0) if mode == "bare-user-only" else (os.getuid(), os.getgid())
    assert objects.file(made.path, mode, file) == ((stat.S_IFREG | 0o640, *owner), 36, "")
    assert objects.file(made.path, mode, link) == ((stat.S_IFLNK | 0o777, *owner), 0, "a\nb")
    assert objects.content(made.path, mode, file, 36) == b"text" * 9
    with pytest.raises(ToolError, match="cannot read an object"):
        objects.content(made.path, mode, file, 35)


def test_a_file_that_unpacks_to_more_than_its_limit_is_not_unpacked(tmp_path: Path) -> None:
    made = Repository(tmp_path / "repo", "archive")
    bomb = made.store("filez", filez(bytes(8 << 20), stat.S_IFREG | 0o644, size=1))
    with pytest.raises(ToolError) as caught:
        objects.content(made.path, "archive", bomb, 1 << 20)
    assert "more than 1048576 bytes" in caught.value.detail
    cut = made.store("filez", filez(os.urandom(4000), stat.S_IFREG | 0o644)[:3000])
    with pytest.raises(ToolError) as caught:
        objects.content(made.path, "archive", cut, 1 << 20)
    assert "it ends too early" in caught.value.detail


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff\xff" + bytes(9),
        filez(b"", stat.S_IFDIR | 0o755),
        filez(b"", stat.S_IFREG | 0o644, "target"),
        filez(b"", stat.S_IFLNK | 0o777),
        filez(b"x", stat.S_IFREG | 0o644)[:30],
    ],
)
def test_a_damaged_compressed_file_is_an_error(tmp_path: Path, data: bytes) -> None:
    made = Repository(tmp_path / "repo", "archive")
    with pytest.raises(ToolError, match="cannot read an object"):
        objects.file(made.path, "archive", made.store("filez", data))


@pytest.mark.parametrize("kind", ["directory", "socket"])
def test_what_is_neither_a_file_nor_a_link_is_no_content(tmp_path: Path, kind: str) -> None:
    made = Repository(tmp_path / "repo")
    place = made.place(A, "file")
    if kind == "directory":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(ToolError, match="cannot read an object"):
        objects.file(made.path, "bare", A)
    with pytest.raises(ToolError, match="cannot read an object"):
        objects.content(made.path, "bare", A, 9)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("[core]\nrepo_version=1\nmode=bare\n", "bare"),
        ('[remote "x"]\nmode=bare\n[core]\n# mode=bare-user\nmode = archive-z2 \n\n[x]\nmode=bare\n', "archive-z2"),
        ("[core]\nmode=bare-split-xattrs\n", ""),
        ("[core]\nrepo_version=1\n[other]\nmode=bare\n", ""),
        ("", ""),
    ],
)
def test_the_mode_of_a_repository_is_that_of_its_core(tmp_path: Path, text: str, mode: str) -> None:
    (tmp_path / "config").write_text(text)
    if mode:
        assert objects.repository_mode(tmp_path) == mode
        return
    with pytest.raises(ToolError, match="cannot read the repository"):
        objects.repository_mode(tmp_path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_only_a_checksum_names_an_object(name: str) -> None:
    with pytest.raises(ValueError, match="is not a checksum"):
        objects.path(Path("/repo"), name, "file")
