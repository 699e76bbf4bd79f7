"""Packages are read by a process that can do nothing: what it meets, and what it may not."""

from __future__ import annotations

import gzip
import io
import os
import resource
import subprocess
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apt_ostree.errors import PackageError, SpaceError
from apt_ostree.host.files import Room
from apt_ostree.sandbox import unpacking
from apt_ostree.sandbox.unpacking import Unpacker


def room_of(size: int, patch: pytest.MonkeyPatch) -> Room:
    """The room of a disk with ``size`` bytes free, of which three hundredths stay free."""
    status = os.statvfs_result((4096, 4096, size >> 12, size >> 12, size >> 12, 100, 100, 100, 0, 255))
    patch.setattr(os, "statvfs", lambda _: status)
    return Room(Path("/"))


def tar(fill: Callable[[tarfile.TarFile], None], form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        fill(archive)
    return out.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **values: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in values.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(content))


CONTROL = b"Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n"


def write_deb(place: Path, control: bytes, data: bytes) -> Path:
    with place.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, content in (("debian-binary", b"2.0\n"), ("control.tar", control), ("data.tar.gz", data)):
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))
    return place


def a_deb(place: Path, fill: Callable[[tarfile.TarFile], None]) -> Path:
    control = tar(lambda archive: add(archive, "./control", CONTROL))
    return write_deb(place, control, gzip.compress(tar(fill), 1))


def members(unpacker: Unpacker, deb: Path, place: Path) -> list[tarfile.TarInfo]:
    with deb.open("rb") as file:
        unpacker.data(file, deb.name, place, Room(place.parent))
    with tarfile.open(place, errors="surrogateescape") as found:
        return found.getmembers()


def test_members_arrive_with_all_that_dpkg_looks_at(tmp_path: Path) -> None:
    def fill(archive: tarfile.TarFile) -> None:
        add(archive, "./usr", type=tarfile.DIRTYPE, mode=0o2755)
        add(archive, "./usr/x", b"content", mode=0o4755, uid=7, gid=8, uname="lp", gname="mail", mtime=1234)
        add(archive, "./usr/l", type=tarfile.SYMTYPE, linkname="x")
        add(archive, "./usr/h", type=tarfile.LNKTYPE, linkname="./usr/x")
        add(archive, f"./usr/{'n' * 200}/{'m' * 200}", b"long")
        add(archive, "./usr/\udcff", b"not UTF-8")

    deb = a_deb(tmp_path / "x.deb", fill)
    with Unpacker() as unpacker:
        found = members(unpacker, deb, tmp_path / "data.tar")
    assert [member.name for member in found] == [
        "./usr", "./usr/x", "./usr/l", "./usr/h", f"./usr/{'n' * 200}/{'m' * 200}", "./usr/\udcff",
    ]  # fmt: skip
    file = found[1]
    assert (file.mode, file.uid, file.gid, file.uname, file.gname, file.mtime) == (0o4755, 7, 8, "lp", "mail", 1234)
    assert [(member.type, member.linkname) for member in found[2:4]] == [(b"2", "x"), (b"1", "./usr/x")]
    assert found[0].isdir() and found[0].mode == 0o2755


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, b"V"])
def test_what_no_deployment_can_hold_stays_something_else(tmp_path: Path, kind: bytes) -> None:
    deb = a_deb(tmp_path / "x.deb", lambda archive: add(archive, "./usr/x", type=kind))
    with Unpacker() as unpacker:
        (found,) = members(unpacker, deb, tmp_path / "data.tar")
    assert not (found.isfile() or found.isdir() or found.issym() or found.islnk())


def test_a_name_of_two_gigabytes_is_an_error_and_takes_no_memory_of_ours(tmp_path: Path) -> None:
    size = 2 << 30
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, size
    with gzip.open(tmp_path / "data.tar.gz", "wb", compresslevel=1) as data:
        data.write(name.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size >> 20):
            data.write(b"a" * (1 << 20))
        data.write(tarfile.TarInfo("x").tobuf() + bytes(1024))
    control = tar(lambda archive: add(archive, "./control", CONTROL))
    deb = write_deb(tmp_path / "x.deb", control, (tmp_path / "data.tar.gz").read_bytes())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Unpacker() as unpacker, pytest.raises(PackageError, match="damaged"):
        members(unpacker, deb, tmp_path / "data.tar")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_control_archive_has_files_alone(tmp_path: Path, kind: bytes) -> None:
    def fill(archive: tarfile.TarFile) -> None:
        add(archive, "./control", CONTROL)
        add(archive, "./conffiles", type=kind, linkname="./control")

    deb = write_deb(tmp_path / "x.deb", tar(fill), gzip.compress(tar(lambda archive: None)))
    with Unpacker() as unpacker, deb.open("rb") as file, pytest.raises(PackageError, match="cannot be layered"):
        unpacker.control(file, "x.deb")


def test_more_than_the_disk_may_take_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deb = a_deb(tmp_path / "x.deb", lambda archive: add(archive, "./usr/x", bytes(1 << 20)))
    with Unpacker() as unpacker, deb.open("rb") as file:
        with pytest.raises(SpaceError):
            unpacker.data(file, "x.deb", tmp_path / "data.tar", room_of(1 << 20, monkeypatch))
        # And the next is read as if nothing had been.
        unpacker.data(file, "x.deb", tmp_path / "again.tar", room_of(2 << 20, monkeypatch))


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"no package", bytes(100_000)])
def test_what_is_no_package_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.deb").write_bytes(content)
    with Unpacker() as unpacker, (tmp_path / "x.deb").open("rb") as file:
        with pytest.raises(PackageError, match="damaged"):
            unpacker.control(file, "x.deb")
        with pytest.raises(PackageError, match="damaged"):
            unpacker.data(file, "x.deb", tmp_path / "data.tar", Room(tmp_path))


def test_a_package_that_is_cut_short_is_damaged(tmp_path: Path) -> None:
    deb = a_deb(tmp_path / "x.deb", lambda archive: add(archive, "./usr/x", os.urandom(1 << 20)))
    whole = deb.read_bytes()
    deb.write_bytes(whole[: len(whole) // 2])
    with Unpacker() as unpacker, pytest.raises(PackageError, match="damaged"):
        members(unpacker, deb, tmp_path / "data.tar")


def test_several_threads_read_at_once(tmp_path: Path) -> None:
    debs = [
        a_deb(tmp_path / f"{n}.deb", lambda archive, n=n: add(archive, f"./usr/{n}", bytes([n]) * 300_000))  # type: ignore[misc]
        for n in range(8)
    ]
    with Unpacker() as unpacker, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda deb: members(unpacker, deb, deb.with_suffix(".tar")), debs))
    assert [[member.name for member in each] for each in found] == [[f"./usr/{n}"] for n in range(8)]


PROBE = r"""
import os, socket
def tried(name, action):
    try:
        action()
    except Exception as error:
        return
    print(name)
print("uid", os.getuid(), os.getgid(), os.getgroups())
for name in ("/etc/passwd", "/proc/1/environ", "/root", "/home", "/var", "/run", "/sys", "/tmp"):
    tried(name, lambda: os.stat(name))
tried("write", lambda: open("/usr/x", "w"))
tried("make", lambda: open("/x", "w"))
tried("network", lambda: socket.create_connection(("127.0.0.1", 22), 1))
tried("root", lambda: os.setuid(0))
for line in open("/usr/lib/os-release"):
    break
print("done")
"""


def test_who_reads_is_a_user_of_its_own_and_sees_nothing_of_the_machine() -> None:
    users = set()
    for _ in range(2):
        argv = unpacking._argv([], 0)
        argv[argv.index("-c") + 1 :] = [PROBE]
        found = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        _, user, group, groups = found[0].split(" ")
        assert (group, groups, found[1:]) == (user, "[]", ["done"])
        assert int(user) >= 1 << 31, "a number that some program may have, which could take over the reader"
        users.add(user)
    assert len(users) == 2
