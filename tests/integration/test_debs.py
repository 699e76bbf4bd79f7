"""Packages that are not what they say, or that no sane tool made: refused before anything of them is used."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from apt_ostree.errors import PackageError, SpaceError
from apt_ostree.tools import deb as deb_format
from tests.archive import Archive
from tests.integration.system import System, output
from tests.integration.test_hostile import package


@pytest.fixture(scope="module")
def machine(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One sysroot for all: no command here may change it."""
    system = template.clone(tmp_path_factory.mktemp("machine") / "sysroot")
    yield system
    system.remove()


def with_data(deb: Path, place: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """The package ``deb`` with further members in its data archive, as only a hand can make them."""
    place.mkdir()
    output("dpkg-deb", "--raw-extract", deb, place / "tree")
    data = place / "data.tar"
    output("tar", "--create", "--file", data, "--directory", place / "tree", "--exclude", "./DEBIAN", ".")
    with tarfile.open(data, "a:") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    output("tar", "--create", "--file", place / "control.tar", "--directory", place / "tree/DEBIAN", ".")
    (place / "debian-binary").write_text("2.0\n")
    made = place / deb.name
    output("ar", "rc", made, place / "debian-binary", place / "control.tar", data)
    return made


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def test_a_flipped_bit_is_found(machine: System, archive: Archive, tmp_path: Path) -> None:
    whole = (archive.root / "pool/main/many-files_1.0_all.deb").read_bytes()
    deb = tmp_path / "many-files_1.0_all.deb"
    for place in (10, len(whole) // 2, len(whole) - 200):
        content = bytearray(whole)
        content[place] ^= 0x10
        deb.write_bytes(content)
        with machine.unchanged():
            failure = machine.run("install", deb, status=1).failure
        assert "damaged" in failure.brief
        assert failure.resolution


def test_another_package_in_its_place_is_refused(sysroot: System, own_archive: Archive) -> None:
    pool = own_archive.root / "pool/main"
    shutil.copyfile(pool / "setuid_1.0_all.deb", pool / "greeter_2.0_all.deb")
    sysroot.use_archive(own_archive)
    with sysroot.unchanged():
        failure = sysroot.run("install", "greeter", status=1).failure
    assert failure.brief == "cannot download packages"
    assert "size" in failure.detail.lower() or "hash" in failure.detail.lower()


def test_another_package_in_the_downloads_is_fetched_again(sysroot: System, archive: Archive) -> None:
    """What the unprivileged fetcher left is judged by the signed index, not by its name."""
    archives = sysroot.area / "apt/archives"
    shutil.copyfile(archive.root / "pool/main/setuid_1.0_all.deb", archives / "greeter_2.0_all.deb")
    sysroot.install("greeter")
    assert sysroot.dpkg_status()["greeter"] == ("2.0", "install ok installed")


def test_a_file_through_a_packages_own_link_stays_in_the_tree(sysroot: System, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    plain = Path(package(tmp_path, "through", files={"usr/share/through/file": "x"}))
    deb = with_data(
        plain, tmp_path / "made",
        (link("./usr/share/through/way", str(outside)), b""),
        (tarfile.TarInfo("./usr/share/through/way/evil"), b"evil"),
        (link("./usr/share/through/up", "../../../../../../../../../.." + str(outside)), b""),
        (tarfile.TarInfo("./usr/share/through/up/evil"), b"evil"),
    )  # fmt: skip
    sysroot.run("install", deb, status=None)
    assert list(outside.iterdir()) == []
    sysroot.fsck()


def test_a_package_that_unpacks_to_more_than_the_disk_holds_is_refused(tmp_path: Path) -> None:
    deb = Path(package(tmp_path, "large", files={"usr/share/large": "x" * 2_000_000}))
    with pytest.raises(SpaceError, match=r"too little space to unpack large_1\.0_all\.deb"):
        deb_format.unpack_tar(deb, tmp_path / "data.tar", 1_000_000)
    assert (tmp_path / "data.tar").stat().st_size <= 1_000_000
    deb_format.unpack_tar(deb, tmp_path / "data.tar", 3_000_000)
    assert (tmp_path / "data.tar").stat().st_size > 2_000_000


def test_a_control_archive_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deb = Path(package(tmp_path, "plain", {"postinst": "true"}))
    assert deb_format.control_archive(deb)
    monkeypatch.setattr(deb_format, "CONTROL_BYTES", 1000)
    with pytest.raises(PackageError) as caught:
        deb_format.control_archive(deb)
    assert caught.value.detail == "its control archive is larger than 1000 bytes"
