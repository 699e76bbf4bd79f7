"""The package cache's texts and decisions; imports of real packages are in tests/integration."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apt_ostree.errors import PackageError
from apt_ostree.layering import pkgcache
from apt_ostree.layering.pkgcache import Cached, Object, marker, read_marker
from apt_ostree.model import Package, Solved

CHECKSUM = "0123456789abcdef" * 4


def test_a_marker_names_its_object() -> None:
    assert marker(CHECKSUM) == b"apt-ostree object " + CHECKSUM.encode() + b"\n"
    assert len(marker(CHECKSUM)) == pkgcache.MARKER_SIZE == 83
    assert read_marker(marker(CHECKSUM)) == CHECKSUM


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"apt-ostree object \n",
        marker(CHECKSUM)[:-1],
        marker(CHECKSUM) + b"\n",
        marker(CHECKSUM.upper()),
        marker(CHECKSUM[:-1] + "g"),
        marker(CHECKSUM[:-1]) + b"\n",
        b" " + marker(CHECKSUM)[:-1],
        marker(CHECKSUM).replace(b"0", b"\xff", 1),
        bytes(pkgcache.MARKER_SIZE),
    ],
)
def test_other_content_is_no_marker(content: bytes) -> None:
    assert read_marker(content) is None


@given(st.binary(max_size=100))
def test_only_what_marker_writes_is_a_marker(content: bytes) -> None:
    found = read_marker(content)
    assert found is None or marker(found) == content


@pytest.mark.parametrize(
    ("name", "size", "header"),
    [
        ("debian-binary", 4, b"debian-binary   0           0     0     100644  4         `\n"),
        ("control.tar", 10240, b"control.tar     0           0     0     100644  10240     `\n"),
        ("data.tar", 9_999_999_999, b"data.tar        0           0     0     100644  9999999999`\n"),
    ],
)
def test_ar_header(name: str, size: int, header: bytes) -> None:
    assert pkgcache._ar_header(name, size) == header
    assert len(header) == pkgcache._AR_HEADER


def member(name: str, size: int = 10, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, linkname
    return info


CONFFILES = {"/usr/share/x/conf", "/etc/x"}


@pytest.mark.parametrize(
    ("info", "hollowed"),
    [
        (member("./usr/bin/jq"), True),
        (member("usr/bin/jq"), True),
        (member("./bin/sh"), True),
        (member("./sbin/init"), True),
        (member("./lib/x.so"), True),
        (member("./lib64/ld.so"), True),
        (member("./usr/share/x/conf.d"), True),
        (member("./usr/etcetera"), True),
        (member("./usr/share/doc/a b\nc"), True),
        (member("./usr/bin/empty", 0), False),
        (member("./etc/x"), False),
        (member("./etc/other"), False),
        (member("./usr/etc/other"), False),
        (member("./usr/share/x/conf"), False),
        (member("./var/lib/x"), False),
        (member("./opt/x/bin"), False),
        (member("./boot/vmlinuz"), False),
        (member("./srv/usr/x"), False),
        (member("./usr/bin", 0, tarfile.DIRTYPE), False),
        (member("./usr/bin/l", 0, tarfile.SYMTYPE, "jq"), False),
        (member("./usr/bin/h", 0, tarfile.LNKTYPE, "./usr/bin/jq"), False),
    ],
)
def test_what_is_hollowed(info: tarfile.TarInfo, hollowed: bool) -> None:
    assert pkgcache._is_hollowed(info, CONFFILES) is hollowed


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
    assert [info.name for info in pkgcache._members(data, "x.deb")] == [
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
            "./h is a hard link to ./absent, which is no file before it in the package",
        ),
        (
            member("./h", 0, tarfile.LNKTYPE, "/etc/shadow"),
            "./h is a hard link to /etc/shadow, which is no file before it in the package",
        ),
        (
            member("usr/" + "d/" * 1600),
            f"the path usr/{'d/' * 28}… has 3204 bytes; 3072 are allowed",
        ),
        (member("./ostree/", 0, tarfile.DIRTYPE), "./ostree lies in OSTree's own place"),
        (member("./sysroot/x"), "./sysroot/x lies in OSTree's own place"),
        (member("usr/etc/x"), "usr/etc/x is what a deployment has /etc in; a package ships it as /etc"),
        (member("./media/x/y"), "./media/x/y lies where every boot starts with nothing"),
        (member("./run/l", 0, tarfile.SYMTYPE, "x"), "./run/l lies where every boot starts with nothing"),
    ],
)
def test_members_that_a_commit_cannot_hold_are_named(info: tarfile.TarInfo, detail: str) -> None:
    with pytest.raises(PackageError) as caught:
        pkgcache._members(archive(info), "x.deb")
    assert (caught.value.brief, caught.value.detail) == ("x.deb cannot be layered", detail)


def test_directories_may_lie_where_they_do_not_stay() -> None:
    made = [member(name, 0, tarfile.DIRTYPE) for name in ("run/x", "tmp", "media/floppy", "usr/etcetera")]
    assert len(pkgcache._members(archive(*made), "x.deb")) == 4


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
        assert len(pkgcache._members(data, "x.deb")) == 2
        return
    with pytest.raises(PackageError) as caught:
        pkgcache._members(data, "x.deb")
    assert "a deployment has them on different filesystems" in caught.value.detail


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkgcache, "MEMBERS_MAX", 3)
    three = [member(f"./{number}") for number in range(3)]
    assert len(pkgcache._members(archive(*three), "x.deb")) == 3
    with pytest.raises(PackageError) as caught:
        pkgcache._members(archive(*three, member("./3")), "x.deb")
    assert caught.value.detail == "it has more than 3 files and directories"


def test_a_link_to_a_name_that_is_not_utf8_is_shown() -> None:
    with pytest.raises(PackageError, match="cannot be layered"):
        pkgcache._members(archive(member("./l", 0, tarfile.SYMTYPE, "\udcff")), "x.deb")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, set()),
        ("", set()),
        ("/etc/a\n/etc/b\n", {"/etc/a", "/etc/b"}),
        ("\n/etc/a", {"/etc/a"}),
        ("remove-on-upgrade /etc/old\n/etc/a\n", {"/etc/old", "/etc/a"}),
    ],
)
def test_conffiles_are_those_that_the_control_archive_declares(text: str | None, found: set[str]) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(member("./control", 0))
        if text is not None:
            info = member("./conffiles", len(text))
            tar.addfile(info, io.BytesIO(text.encode()))
    assert pkgcache._conffiles(file.getvalue()) == found


def cached(name: str, control: str = "", size: int = 7) -> Cached:
    return Cached(name * 64, Package(name, "1", "all"), size, control, Path(f"/{name}"), {}, frozenset())


def test_packages_file_is_what_apt_solves_with(tmp_path: Path) -> None:
    entries = [
        cached("a", "Package: a\nVersion: 1\nDescription: x\n long\n\n"),
        cached("b", "Package: b\nVersion: 2\nMaintainer: \udcff", 8),
    ]
    target = tmp_path / "Packages"
    assert pkgcache.packages_file(entries, target) == target
    assert target.read_bytes() == (
        b"Package: a\nVersion: 1\nDescription: x\n long\n"
        b"Filename: " + b"a" * 64 + b".deb\nSize: 7\nSHA256: " + b"a" * 64 + b"\n\n"
        b"Package: b\nVersion: 2\nMaintainer: \xff\n"
        b"Filename: " + b"b" * 64 + b".deb\nSize: 8\nSHA256: " + b"b" * 64 + b"\n\n"
    )


@pytest.mark.parametrize(
    ("control", "size"),
    [("Package: a\nInstalled-Size: 12\n", 12 * 1024), ("Package: a\n", 0), ("Package: a\nInstalled-Size: x\n", 0)],
)
def test_a_cached_package_is_solved_with_its_size_in_bytes(control: str, size: int) -> None:
    assert cached("a", control).solved() == Solved(Package("a", "1", "all"), "a" * 64, 7, size, "cache")


INDEX = {
    "importer": pkgcache.IMPORTER,
    "package": ["a", "1:2", "all"],
    "size": 99,
    "control": "Package: a\n",
    "sizes": [6, 11],
    "objects": {CHECKSUM: [0o100755, 0, 42]},
    "control-files": ["control", "postinst"],
}


def store(area: Path, index: str) -> Path:
    place = area / "pkgs/ab"
    place.mkdir(parents=True)
    (place / "hollow.deb").write_text("hollow")
    (place / "paths").write_text("usr/a\0usr\n\0")
    (place / "index.json").write_text(index)
    return place


def test_load_reads_an_imported_package(tmp_path: Path) -> None:
    place = store(tmp_path, json.dumps(INDEX))
    loaded = pkgcache.load(tmp_path, "ab")
    assert loaded is not None
    assert loaded.paths() == ["usr/a", "usr\n"]
    assert loaded == Cached(
        "ab",
        Package("a", "1:2", "all"),
        99,
        "Package: a\n",
        place / "hollow.deb",
        {CHECKSUM: Object(0o100755, 0, 42)},
        frozenset({"control", "postinst"}),
    )


@pytest.mark.parametrize(
    "index",
    [
        json.dumps({**INDEX, "importer": pkgcache.IMPORTER - 1}),
        json.dumps({**INDEX, "sizes": [5, 11]}),
        json.dumps({**INDEX, "sizes": [6, 9]}),
        json.dumps({key: value for key, value in INDEX.items() if key != "control"}),
        json.dumps({**INDEX, "package": ["a"]}),
        json.dumps(INDEX)[:-1],
        "[]",
        "",
    ],
)
def test_load_counts_another_or_a_broken_import_as_none(tmp_path: Path, index: str) -> None:
    store(tmp_path, index)
    assert pkgcache.load(tmp_path, "ab") is None


def test_load_of_an_absent_package_is_none(tmp_path: Path) -> None:
    assert pkgcache.load(tmp_path, "ab") is None
    store(tmp_path, json.dumps(INDEX)).joinpath("hollow.deb").unlink()
    assert pkgcache.load(tmp_path, "ab") is None


def test_digest_is_the_files_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert pkgcache.digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
