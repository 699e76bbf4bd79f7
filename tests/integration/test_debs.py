"""Packages that are not what they say, or that no sane tool made: refused before anything of them is used."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import stat
import tarfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from apt_ostree.errors import Interrupted, PackageError, SpaceError, ToolError
from apt_ostree.host import proc
from apt_ostree.host.files import Room
from apt_ostree.layering import cache, importing
from apt_ostree.layering.cache import Cached
from apt_ostree.model import Package, Solved
from apt_ostree.sandbox import unpacking
from apt_ostree.sandbox.unpacking import Unpacker
from apt_ostree.tools import ostree
from tests.archive import Archive
from tests.integration.system import System, listing, output
from tests.integration.test_hostile import package
from tests.integration.test_unpacking import CONTROL, add, room_of, tar, write_deb

Member = tuple[str, bytes, dict[str, Any]]
"""A member of an archive: its name, its content, and the values of its header that are not the usual ones."""


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


def test_a_package_that_unpacks_to_more_than_the_disk_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deb = Path(package(tmp_path, "large", files={"usr/share/large": "x" * 2_000_000}))
    with Unpacker() as unpacker, deb.open("rb") as file:
        with pytest.raises(SpaceError, match=r"the unpacked files of large_1\.0_all\.deb"):
            unpacker.data(file, deb.name, tmp_path / "data.tar", room_of(2_000_000, monkeypatch))
        assert (tmp_path / "data.tar").stat().st_size <= 1_000_000
        unpacker.data(file, deb.name, tmp_path / "again.tar", room_of(3_000_000, monkeypatch))
    assert (tmp_path / "again.tar").stat().st_size > 2_000_000


def test_all_that_an_import_writes_asks_for_room(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deb = Path(package(tmp_path, "large", files={"usr/share/large": "x" * 1_000_000, "var/large": "y" * 3_000_000}))
    held: dict[str, int] = {}
    hold = Room.hold

    def watch(room: Room, files: Collection[int], what: str) -> AbstractContextManager[None]:
        held[what] = held.get(what, 0) + sum(files)
        return hold(room, files, what)

    monkeypatch.setattr(Room, "hold", watch)
    with Unpacker() as unpacker:
        store.take_in(unpacker, deb)
    cached = held.pop("the package cache's copy of large 1.0")
    assert 3_000_000 < cached < 3_050_000
    assert held == {
        "a copy of large_1.0_all.deb": deb.stat().st_size,
        "the unpacked files of large_1.0_all.deb": 4_000_000,
        "the files of large 1.0": 1_000_000,
    }


def test_a_control_archive_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deb = Path(package(tmp_path, "plain", {"postinst": "true"}))
    with Unpacker() as unpacker, deb.open("rb") as file:
        assert unpacker.control(file, deb.name)
        monkeypatch.setattr(unpacking, "CONTROL_BYTES", 1000)
        with pytest.raises(PackageError) as caught:
            unpacker.control(file, deb.name)
    assert caught.value.detail == "its control archive is larger than 1000 bytes"


# Who owns a file may change it.


@dataclass(frozen=True, slots=True)
class Store:
    """A repository and a work area for imports in this process."""

    repo: Path
    area: Path

    def take_in(self, unpacker: Unpacker, file: Path, planned: Solved | None = None, again: bool = False) -> Cached:
        importer = importing.Importer(self.repo, self.area, unpacker, Room(self.area))
        return importing.import_deb(importer, file, planned, again=again)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    ostree.init(tmp_path / "repo")
    for name in ("tmp", "pkgs"):
        (tmp_path / "area" / name).mkdir(parents=True)
    return Store(tmp_path / "repo", tmp_path / "area")


@pytest.mark.parametrize("step", ["digest", "control", "data", "_commit_objects"])
def test_a_file_that_is_exchanged_between_two_steps_is_what_it_was_at_the_first(
    store: Store, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A user's file: Debian's at first, and then one with the user's own programs."""
    pool = archive.root / "pool/main"
    deb = tmp_path / "mine.deb"
    shutil.copyfile(pool / "greeter_2.0_all.deb", deb)
    honest = importing.digest(deb)
    place: Any = Unpacker if step in {"control", "data"} else importing
    real = getattr(place, step)

    def exchanging(*arguments: Any) -> Any:
        done = real(*arguments)
        shutil.copyfile(pool / "setuid_1.0_all.deb", deb)
        return done

    monkeypatch.setattr(place, step, exchanging)
    with Unpacker() as unpacker:
        found = store.take_in(unpacker, deb)
    monkeypatch.undo()
    shutil.copyfile(pool / "greeter_2.0_all.deb", deb)
    with Unpacker() as unpacker:
        expected = store.take_in(unpacker, deb, again=True)
    assert found.sha256 == honest
    assert found == expected
    assert found.package == Package("greeter", "2.0", "all")
    assert list((store.area / "tmp").iterdir()) == []


def test_what_is_fetched_is_what_was_planned(store: Store, archive: Archive) -> None:
    deb = archive.root / "pool/main/greeter_2.0_all.deb"
    with Unpacker() as unpacker:
        planned = store.take_in(unpacker, deb).solved()
        assert store.take_in(unpacker, deb, planned).package == planned.package
        for other in (Package("greeter", "2.1", "all"), Package("libc6", "2.0", "all")):
            for again in (False, True):
                with pytest.raises(PackageError, match="is not the package that was planned"):
                    store.take_in(unpacker, deb, replace(planned, package=other), again)


def test_another_package_in_the_cache_than_was_planned_is_refused(sysroot: System) -> None:
    sysroot.install("-D", "greeter")
    (index,) = (sysroot.area / "pkgs").glob("*/index.json")
    entry = json.loads(index.read_text())
    index.write_text(json.dumps({**entry, "package": ["greeter", "2.0", "amd64"]}))
    with sysroot.unchanged():
        failure = sysroot.run("install", "-C", "greeter", status=1).failure
    assert failure.brief == "greeter is not the package that was planned"
    assert "greeter 2.0 [amd64]" in failure.detail


def test_a_link_that_a_user_names_is_the_file_that_it_leads_to(store: Store, archive: Archive, tmp_path: Path) -> None:
    link = tmp_path / "link.deb"
    link.symlink_to(archive.root / "pool/main/greeter_2.0_all.deb")
    with Unpacker() as unpacker:
        assert store.take_in(unpacker, link).package.version == "2.0"


def test_a_link_in_the_place_of_a_download_is_an_error(store: Store, archive: Archive, tmp_path: Path) -> None:
    deb = archive.root / "pool/main/greeter_2.0_all.deb"
    link = tmp_path / "link.deb"
    link.symlink_to(deb)
    with Unpacker() as unpacker:
        planned = store.take_in(unpacker, deb).solved()
        with pytest.raises(ToolError, match="link"):
            store.take_in(unpacker, link, planned, again=True)


def test_a_signal_while_objects_are_stored_is_told_as_a_signal(
    store: Store, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tarfile.TarFile.addfile

    def ended(tar: tarfile.TarFile, info: tarfile.TarInfo, content: Any = None) -> None:
        real(tar, info, content)
        if info.name == "0000000":
            # As the handler of the signal does it (host/lifetime.py).
            for child in proc._children - before:
                os.kill(child, signal.SIGKILL)
                os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
            raise Interrupted(signal.SIGTERM)

    with Unpacker() as unpacker:
        before = set(proc._children)
        monkeypatch.setattr(tarfile.TarFile, "addfile", ended)
        with pytest.raises(Interrupted):
            store.take_in(unpacker, archive.root / "pool/main/setuid_1.0_all.deb")


# What a package is only looked at for.


def with_rights(repo: Path) -> set[Path]:
    """The objects of a repository that run with their owner's rights."""
    return {path for path in repo.glob("objects/*/*.file") if path.lstat().st_mode & 0o6000}


def test_a_dry_run_of_a_file_stores_nothing(sysroot: System, archive: Archive) -> None:
    def everything() -> dict[str, object]:
        places = (sysroot.repo / "objects", sysroot.area / "pkgs", sysroot.area / "tmp", sysroot.repo / "refs")
        return {os.fspath(place): listing(place) for place in places}

    # The base is checked out once, and kept.
    sysroot.install("-n", "rec-a")
    before = everything()
    done = sysroot.install("-n", os.fspath(archive.root / "pool/main/setuid_1.0_all.deb"), "rec-b")
    assert {"  setuid 1.0 all", "  rec-b 1.0 all"} <= set(done.stdout.splitlines())
    assert everything() == before


def test_the_plan_of_a_dry_run_of_a_file_is_what_the_run_lays(sysroot: System, archive: Archive) -> None:
    deb = os.fspath(archive.root / "pool/main/rec-b_1.0_all.deb")
    plan = sysroot.install("--dry-run", "--json", deb).document
    real = sysroot.install("--json", deb).document
    assert plan["packages"] == real["packages"]
    assert plan["difference"] == real["difference"]


@pytest.mark.parametrize("words", [("-D",), ("fail-postinst",)])
def test_what_is_only_imported_lends_nobody_roots_rights(
    sysroot: System, archive: Archive, words: tuple[str, ...]
) -> None:
    before = with_rights(sysroot.repo)
    deb = os.fspath(archive.root / "pool/main/setuid_1.0_all.deb")
    sysroot.run("install", *words, deb, status=0 if words == ("-D",) else 1)
    (sha256,) = {path.name for path in (sysroot.area / "pkgs").iterdir()} & {importing.digest(Path(deb))}
    cached = cache.load(sysroot.area, sha256)
    assert cached is not None and cached.objects
    assert with_rights(sysroot.repo) == before
    assert not any(stored.mode & 0o6000 for stored in cached.objects.values())
    # And the index says what the objects are, by which hydration decides.
    for checksum, stored in cached.objects.items():
        assert ostree.object_path(sysroot.repo, checksum).stat().st_mode == stored.mode
    sysroot.install(deb)
    programs = sysroot.deployment() / "usr/bin"
    assert stat.S_IMODE((programs / "mode-4755").stat().st_mode) == 0o4755
    assert stat.S_IMODE((programs / "mode-2755").stat().st_mode) == 0o2755


# What no tool makes.


CONTROL_FILE = CONTROL.replace(b"Package: x\n", b"Package: xy\n")

STRANGE: dict[str, tuple[tuple[bytes, bytes], Sequence[Member], Sequence[Member]]] = {
    "FIFO in control": ((b"", b""), [("./pipe", b"", {"type": tarfile.FIFOTYPE})], []),
    "conffiles as a link": ((b"", b""), [("./conffiles", b"", {"type": tarfile.SYMTYPE, "linkname": "control"})], []),
    "top as a file": ((b"", b""), [], [(".", b"x", {})]),
    "no name": ((b"", b""), [], [("", b"x", {})]),
    "hard link to a replaced file": (
        (b"", b""),
        [],
        [
            ("./usr/x", b"x", {}),
            ("./usr/x", b"", {"type": tarfile.SYMTYPE, "linkname": "y"}),
            ("./usr/h", b"", {"type": tarfile.LNKTYPE, "linkname": "./usr/x"}),
        ],
    ),
    "name with a space": ((b"Package: xy", b"Package: a b"), [], []),
    "name that leads out": ((b"Package: xy", b"Package: ../../x"), [], []),
    "name like an option": ((b"Package: xy", b"Package: --x"), [], []),
    "version that leads out": ((b"Version: 1", b"Version: 1/../../x"), [], []),
    "architecture that leads out": ((b"Architecture: all", b"Architecture: ../all"), [], []),
    "second paragraph": ((b"Version: 1", b"Version: 1\n\nPackage: libc6\nVersion: 99"), [], []),
}
"""What is replaced in the control file, and further members of the control archive and of the data archive."""


def filled(members: Sequence[Member]) -> bytes:
    def fill(archive: tarfile.TarFile) -> None:
        for name, content, values in members:
            add(archive, name, content, **values)

    return tar(fill)


@pytest.mark.parametrize(
    ("kind", "brief"),
    [
        ("FIFO in control", "cannot be layered"),
        ("conffiles as a link", "cannot be layered"),
        ("top as a file", "cannot be layered"),
        ("no name", "cannot be layered"),
        ("hard link to a replaced file", "cannot be layered"),
        ("name with a space", "has a broken control file"),
        ("name that leads out", "has a broken control file"),
        ("name like an option", "has a broken control file"),
        ("version that leads out", "has a broken control file"),
        ("architecture that leads out", "has a broken control file"),
        ("second paragraph", "has a broken control file"),
    ],
)
def test_a_package_that_no_tool_makes_is_an_error(machine: System, tmp_path: Path, kind: str, brief: str) -> None:
    fields, controls, datas = STRANGE[kind]
    control = filled([("./control", CONTROL_FILE.replace(*fields), {}), *controls])
    deb = write_deb(tmp_path / "strange.deb", control, gzip.compress(filled([("./usr/y", b"y", {}), *datas])))
    with machine.unchanged():
        failure = machine.run("install", deb, status=1).failure
    assert failure.brief.endswith(brief)
    assert failure.detail and failure.resolution


def test_a_package_without_maintainer_and_description_is_installed(sysroot: System, tmp_path: Path) -> None:
    """dpkg warns of it each time that it reads its database."""
    (tmp_path / "bare/DEBIAN").mkdir(parents=True)
    (tmp_path / "bare/DEBIAN/control").write_text("Package: bare\nVersion: 1\nArchitecture: all\n")
    deb = tmp_path / "bare_1_all.deb"
    output("dpkg-deb", "--root-owner-group", "--build", tmp_path / "bare", deb)
    sysroot.install(os.fspath(deb))
    assert sysroot.dpkg_status()["bare"] == ("1", "install ok installed")


def test_fields_in_another_encoding_are_kept(sysroot: System, tmp_path: Path) -> None:
    control = filled([("./control", CONTROL_FILE + b"Uploaders: J\xfcrgen <j@example.org>\n", {})])
    data = gzip.compress(filled([("./usr/share/old", b"old", {})]))
    deb = os.fspath(write_deb(tmp_path / "old.deb", control, data))
    assert "  xy 1 all" in sysroot.install("-n", deb).stdout.splitlines()
    sysroot.install(deb)
    assert sysroot.dpkg_status()["xy"] == ("1", "install ok installed")
    assert "xy" in sysroot.run("status").stdout
