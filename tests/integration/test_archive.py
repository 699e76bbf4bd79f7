"""The fixture packages build, and real apt takes their archive exactly when its signature is good."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive import (
    FIXTURES,
    Archive,
    build_archive,
    build_deb,
    fixture_sources,
    public_directory,
    small_base,
    sources_line,
    unpack_base,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="device nodes and apt's own user need root")

APT_DIRECTORIES = tuple(
    f"etc/{name}.d" for name in ("apt.conf", "sources.list", "preferences", "trusted.gpg", "auth.conf")
)
"""apt warns of each directory of its configuration that is missing."""


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with public_directory() as directory:
        yield build_archive(FIXTURES, directory / "archive")


@pytest.fixture
def public() -> Iterator[Path]:
    with public_directory() as directory:
        yield directory


class Apt:
    """apt with nothing of the host's: every directory is below ``root``, the dpkg status is empty."""

    def __init__(self, root: Path, archive: Archive) -> None:
        for name in (*APT_DIRECTORIES, "state/lists/partial", "cache/archives/partial", "log"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "status").touch()
        (root / "etc/sources.list.d/fixtures.sources").write_text(sources_line(archive))
        self.config = root / "apt.conf"
        self.config.write_text(
            f'Dir "{root}";\n'
            'Dir::Etc "etc";\n'
            'Dir::Etc::main "apt.conf";\n'
            'Dir::Etc::parts "apt.conf.d";\n'
            'Dir::Etc::sourcelist "sources.list";\n'
            'Dir::Etc::sourceparts "sources.list.d";\n'
            'Dir::Etc::preferences "preferences";\n'
            'Dir::Etc::preferencesparts "preferences.d";\n'
            'Dir::Etc::trusted "trusted.gpg";\n'
            'Dir::Etc::trustedparts "trusted.gpg.d";\n'
            'Dir::Etc::netrc "auth.conf";\n'
            'Dir::Etc::netrcparts "auth.conf.d";\n'
            'Dir::State "state";\n'
            f'Dir::State::status "{root}/status";\n'
            'Dir::Cache "cache";\n'
            'Dir::Log "log";\n'
        )

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["apt-get", "-q", *arguments],
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "APT_CONFIG": str(self.config)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def simulate(self, *packages: str) -> list[str]:
        """The packages that an installation would unpack, in apt's order."""
        done = self.run("--simulate", "install", *packages)
        assert done.returncode == 0, done.stdout
        return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")]


def contents(deb: Path) -> dict[str, str]:
    """Each member of a package's file archive, as ``dpkg-deb --contents`` prints it, by its path."""
    listing = subprocess.run(
        ["dpkg-deb", "--contents", deb],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=True,
    )
    return {line.split(maxsplit=5)[5]: line for line in listing.stdout.splitlines()}


@pytest.mark.parametrize("source", fixture_sources(), ids=lambda source: source.name)
def test_a_fixture_builds_into_a_package_that_dpkg_deb_reads(source: Path, tmp_path: Path) -> None:
    deb = build_deb(source, tmp_path)
    info = subprocess.run(["dpkg-deb", "--info", deb], capture_output=True, text=True, check=True)
    assert f" Package: {source.name.partition('_')[0]}\n" in info.stdout
    assert contents(deb)["./"].startswith("drwxr-xr-x root/root")


def test_a_package_built_twice_is_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    source = FIXTURES / "odd-names"
    assert build_deb(source, one).read_bytes() == build_deb(source, two).read_bytes()


def test_the_umask_of_the_caller_changes_no_mode(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        deb = build_deb(FIXTURES / "many-files", tmp_path)
    finally:
        os.umask(before)
    members = contents(deb)
    files = [line for line in members.values() if line.startswith("-")]
    assert len(files) == 2000
    assert {line.split()[0] for line in members.values()} == {"drwxr-xr-x", "-rw-r--r--"}


def test_special_members_reach_their_packages(tmp_path: Path) -> None:
    def listed(fixture: str, path: str) -> str:
        return contents(build_deb(FIXTURES / fixture, tmp_path))[path]

    assert listed("setuid", "./usr/bin/mode-4755").startswith("-rwsr-xr-x root/root")
    assert listed("setuid", "./usr/share/setuid/sticky/").startswith("drwxrwxrwt root/root")
    assert listed("has-device", "./usr/lib/has-device/null").startswith("crw-rw-rw- root/root")
    assert listed("has-fifo", "./usr/lib/has-fifo/pipe").startswith("prw-r--r-- root/root")
    hard_links = contents(build_deb(FIXTURES / "hard-links", tmp_path))
    assert sum(" link to " in member for member in hard_links) == 2
    names = contents(build_deb(FIXTURES / "odd-names", tmp_path))
    assert "./usr/share/odd-names/$(touch pwned)" in names
    assert f"./usr/share/odd-names/{'0' * 246}" in names


def test_md5sums_cover_every_file_but_conffiles(tmp_path: Path) -> None:
    def md5sums(fixture: str) -> str:
        deb = build_deb(FIXTURES / fixture, tmp_path)
        argv = ["dpkg-deb", "--info", str(deb), "md5sums"]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    assert md5sums("conf-file").split()[1::2] == ["usr/share/conf-file.txt"]
    assert md5sums("no-md5sums") == ""


def test_the_archive_holds_every_fixture(archive: Archive) -> None:
    assert len(list(archive.root.glob("pool/main/*.deb"))) == len(fixture_sources())


def test_every_file_of_the_archive_is_readable_by_everybody(archive: Archive) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in archive.root.rglob("*") if path.is_file()}
    assert modes == {0o644}


def test_update_takes_the_signed_archive(archive: Archive, public: Path) -> None:
    done = Apt(public, archive).run("update", "--error-on=any")
    assert done.returncode == 0, done.stdout
    assert "W:" not in done.stdout
    assert list((public / "state/lists").glob("*_InRelease"))


def test_update_refuses_another_key(archive: Archive, public: Path) -> None:
    fixtures = public / "fixtures"
    shutil.copytree(FIXTURES / "base-lib", fixtures / "base-lib")
    other = build_archive(fixtures, public / "other")
    done = Apt(public / "apt", dataclasses.replace(archive, keyring=other.keyring)).run("update")
    assert done.returncode == 100
    assert "is not signed" in done.stdout


def test_update_refuses_an_index_changed_after_signing(archive: Archive, public: Path) -> None:
    changed = public / "changed"
    shutil.copytree(archive.root, changed)
    for index in changed.glob("dists/stable/main/binary-*/Packages*"):
        index.write_bytes(b"")
    done = Apt(public / "apt", dataclasses.replace(archive, root=changed)).run("update")
    assert done.returncode == 100


def test_dependencies_resolve_against_an_empty_status(archive: Archive, public: Path) -> None:
    apt = Apt(public, archive)
    assert apt.run("update").returncode == 0
    order = apt.simulate("rec-b")
    assert sorted(order) == ["rec-a", "rec-b", "rec-pre"]
    assert order.index("rec-pre") < order.index("rec-b")


def test_both_versions_of_a_package_are_offered(archive: Archive, public: Path) -> None:
    apt = Apt(public, archive)
    assert apt.run("update").returncode == 0
    for wanted, found in (("greeter=1.0", "greeter_1.0_all.deb"), ("greeter", "greeter_2.0_all.deb")):
        download = public / wanted
        download.mkdir()
        shutil.chown(download, "_apt")
        done = apt.run("download", wanted, cwd=download)
        assert done.returncode == 0, done.stdout
        assert [path.name for path in download.iterdir()] == [found]


@pytest.mark.archive
def test_the_small_base_installs_every_package_made_to_install(archive: Archive, tmp_path: Path) -> None:
    root = tmp_path / "root"
    unpack_base(small_base(FIXTURES.parent / "build"), root)
    assert not list((root / "etc/apt").glob("sources.list*"))
    query = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "base-lib", "passwd"]
    assert subprocess.run(query, stdout=subprocess.DEVNULL, check=False).returncode == 0
    refused = (
        "base-lib",
        "breaks-base",
        "fail-",
        "name-too-long",
        "needs-",
        "slow-",
        "greeter_1.0",
    )
    debs = [deb for deb in archive.root.glob("pool/main/*.deb") if not deb.name.startswith(refused)]
    # What apt would see to: rec-pre is configured before rec-b is unpacked, what is replaced comes first.
    first = ("rec-pre", "conf-file", "repl-old")
    for batch in (
        [deb for deb in debs if deb.name.startswith(first)],
        [deb for deb in debs if not deb.name.startswith(first)],
    ):
        argv = ["dpkg", f"--root={root}", "--install", *map(str, batch)]
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (root / "usr/lib/recorded/rec-b.log").read_text() == (
        "rec-b preinst [install]\nrec-b postinst [configure] []\n"
    )
    assert (root / "usr/share/trig.cache").read_text() == "interest\nuser\n"
    assert (root / "usr/share/conf-file.txt").read_text() == "divert-maker\n"
    assert (root / "usr/share/conf-file.txt.distrib").read_text() == "conf-file\n"
    assert (root / "usr/share/repl/shared.txt").read_text() == "repl-new\n"
    home = (root / "var/lib/user-maker").stat()
    assert stat.S_IMODE(home.st_mode) == 0o750
    assert home.st_uid != 0
