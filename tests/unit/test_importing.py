"""What can be imported; imports of real packages are in tests/integration."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from apt_ostree.errors import PackageError
from apt_ostree.layering import importing
from apt_ostree.tools import deb


def member(name: str, size: int = 10, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, linkname
    return info


def archive(*members: tarfile.TarInfo) -> tarfile.TarFile:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    file.seek(0)
    return tarfile.open(fileobj=file, mode="r:", errors="surrogateescape")


def test_members_that_a_commit_can_hold_are_all_taken() -> None:
    data = archive(
        member("./", 0, tarfile.DIRTYPE),
        member("./usr/ü \n"),
        member("./usr/l", 0, tarfile.SYMTYPE, "../../anywhere"),
        member("./usr/h", 0, tarfile.LNKTYPE, "./usr/ü \n"),
        member("./usr/..x"),
    )
    assert [info.name for info in importing._members(data, "x.deb")] == [
        ".",
        "./usr/ü \n",
        "./usr/l",
        "./usr/h",
        "./usr/..x",
    ]


@pytest.mark.parametrize(
    ("info", "detail"),
    [
        (member("./usr/\udcff"), r"the name ./usr/\xff is not UTF-8, which OSTree cannot hold"),
        (member("./pipe", 0, tarfile.FIFOTYPE), "./pipe is a FIFO, which OSTree cannot hold"),
        (member("./disk", 0, tarfile.BLKTYPE), "./disk is a device node, which OSTree cannot hold"),
        (member("./tty", 0, tarfile.CHRTYPE), "./tty is a device node, which OSTree cannot hold"),
        (member("./usr/../../x"), "the path ./usr/../../x leads out of the tree"),
        (member("../x"), "the path ../x leads out of the tree"),
        (member("/etc/x"), "the path /etc/x leads out of the tree"),
        (member("./strange", 0, b"Z"), "./strange is of an unknown type, which OSTree cannot hold"),
        (
            member("./h", 0, tarfile.LNKTYPE, "./absent"),
            "./h is a hard link to ./absent, which is not a file before it in the package",
        ),
        (
            member("./h", 0, tarfile.LNKTYPE, "/etc/shadow"),
            "./h is a hard link to /etc/shadow, which is not a file before it in the package",
        ),
        (member("."), "it has something else in the place of its top directory"),
        (member("./", 0, tarfile.SYMTYPE, "usr"), "it has something else in the place of its top directory"),
        (member(""), "a member has no name"),
        (member("", 0, tarfile.DIRTYPE), "a member has no name"),
        (member("./ostree/", 0, tarfile.DIRTYPE), "./ostree lies in OSTree's own place"),
        (member("./sysroot/x"), "./sysroot/x lies in OSTree's own place"),
        (member("usr/etc/x"), "usr/etc/x is where a deployment keeps /etc; a package must ship it as /etc"),
        (member("./media/x/y"), "./media/x/y would be gone after a boot: a deployment keeps nothing in /media"),
        (
            member("./run/l", 0, tarfile.SYMTYPE, "x"),
            "./run/l would be gone after a boot: a deployment keeps nothing in /run",
        ),
    ],
)
def test_members_that_a_commit_cannot_hold_are_named(info: tarfile.TarInfo, detail: str) -> None:
    with pytest.raises(PackageError) as caught:
        importing._members(archive(info), "x.deb")
    assert (caught.value.brief, caught.value.detail) == ("x.deb cannot be layered", detail)


def test_directories_may_lie_where_they_do_not_stay() -> None:
    made = [member(name, 0, tarfile.DIRTYPE) for name in ("run/x", "tmp", "media/floppy", "usr/etcetera")]
    assert len(importing._members(archive(*made), "x.deb")) == 4


@pytest.mark.parametrize(
    ("name", "target", "refused"),
    [
        ("usr/x", "etc/x", True),
        ("etc/x", "usr/x", True),
        ("opt/x", "usr/x", True),
        ("usr/local/x", "usr/x", True),
        ("boot/x", "usr/x", True),
        ("usr/x", "var/x", True),
        ("bin/x", "usr/x", False),
        ("etc/x", "etc/y", False),
        ("opt/x", "var/x", False),
        ("usr/local/x", "srv/x", False),
    ],
)
def test_a_hard_link_stays_on_one_filesystem(name: str, target: str, refused: bool) -> None:
    data = archive(member(f"./{target}"), member(f"./{name}", 0, tarfile.LNKTYPE, f"./{target}"))
    if not refused:
        assert len(importing._members(data, "x.deb")) == 2
        return
    with pytest.raises(PackageError) as caught:
        importing._members(data, "x.deb")
    assert "a deployment has them on different filesystems" in caught.value.detail


def test_a_link_to_a_name_that_is_not_utf8_is_shown() -> None:
    with pytest.raises(PackageError, match="cannot be layered"):
        importing._members(archive(member("./l", 0, tarfile.SYMTYPE, "\udcff")), "x.deb")


def test_digest_is_the_files_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert importing.digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_hard_link_to_a_file_that_another_member_replaced_is_refused() -> None:
    data = archive(
        member("./usr/x"),
        member("usr/x", 0, tarfile.SYMTYPE, "y"),
        member("./usr/h", 0, tarfile.LNKTYPE, "./usr/x"),
    )
    with pytest.raises(PackageError) as caught:
        importing._members(data, "x.deb")
    assert caught.value.detail == "./usr/h is a hard link to ./usr/x, which is not a file before it in the package"


def test_checksums_are_those_of_the_files_that_links_meant_when_they_were_made() -> None:
    control = io.BytesIO()
    tarfile.open(fileobj=control, mode="w", format=tarfile.GNU_FORMAT).close()
    data = archive(
        member("./usr/x", 1),
        member("./usr/h", 0, tarfile.LNKTYPE, "usr//x"),
        member("./usr/x", 2),
        member("./usr/l", 0, tarfile.SYMTYPE, "x"),
    )
    found = deb.control_files(deb.with_md5sums(control.getvalue(), data, importing._members(data, "x.deb")))
    one, two = (hashlib.md5(bytes(size)).hexdigest() for size in (1, 2))
    assert found["md5sums"].decode() == f"{one}  usr/x\n{one}  usr/h\n{two}  usr/x\n"


@pytest.mark.parametrize(
    ("mode", "stored"), [(0o755, 0o755), (0o4755, 0o755), (0o2755, 0o755), (0o6700, 0o700), (0o1644, 0o1644)]
)
def test_an_object_lends_nobody_its_owners_rights(mode: int, stored: int) -> None:
    info = member("./usr/x")
    info.mode = mode
    assert importing._stored_mode(info) == stored
