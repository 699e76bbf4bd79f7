"""What a base says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.errors import SpaceError, TreeError
from apt_ostree.layering import base
from apt_ostree.model import Package

STATUS = """\
Package: zlib1g
Status: install ok installed
Version: 1
Architecture: arm64

Package: dpkg
Status: install ok installed
Version: 2
Architecture: arm64
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The package database of a base."""
    place = tmp_path / "usr/lib/sysimage/dpkg"
    place.mkdir(parents=True)
    (place / "arch").write_text("arm64\narmhf\n")
    return place


def test_a_base_is_read_with_its_packages_and_architectures(tmp_path: Path, database: Path) -> None:
    (database / "status").write_text(STATUS)
    found = base.read(tmp_path, "commit")
    assert found == base.BaseTree(
        "commit", tmp_path, (Package("dpkg", "2", "arm64"), Package("zlib1g", "1", "arm64")), ("arm64", "armhf")
    )
    assert found.native == "arm64"


def test_a_base_without_dpkg_is_refused(tmp_path: Path, database: Path) -> None:
    (database / "status").write_text(STATUS.partition("\n\n")[0])
    with pytest.raises(TreeError, match="the base has no dpkg"):
        base.read(tmp_path, "commit")


def test_a_link_in_the_place_of_the_checkouts_empties_nothing_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").write_text("the host's")
    (tmp_path / "area").mkdir()
    (tmp_path / "area/base").symlink_to(tmp_path / "host")
    with pytest.raises(TreeError, match="/base is not a directory"):
        base.checkout(tmp_path / "repo", tmp_path / "area", "c" * 64)
    assert (tmp_path / "host/file").exists()


def test_checkouts_of_other_bases_go_and_that_of_this_one_is_kept(tmp_path: Path) -> None:
    for name in ("old", "new"):
        place = tmp_path / "base" / name / "usr/lib/sysimage/dpkg"
        place.mkdir(parents=True)
        (place / "status").write_text(STATUS)
    assert base.checkout(tmp_path / "repo", tmp_path, "new").path == tmp_path / "base/new"
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["new"]


def test_each_name_becomes_a_file_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch(mode=0o600)
    (tmp_path / "a").write_text("text")
    for name in ("b/c", "d"):
        os.link(tmp_path / "a", tmp_path / name)
    (tmp_path / "e").symlink_to("a")
    base._separate_names(tmp_path)
    same = [tmp_path / name for name in ("a", "b/c", "d")]
    assert len({path.stat().st_ino for path in same}) == 3
    assert {(path.read_text(), path.stat().st_mode & 0o7777) for path in same} == {("text", 0o600)}
    assert (tmp_path / "e").is_symlink()


def test_equal_files_that_do_not_fit_are_refused_before_the_first_is_copied(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    with (tmp_path / "a").open("wb") as file:
        file.truncate(free // 2)
    for name in ("b", "c"):
        os.link(tmp_path / "a", tmp_path / name)
    with pytest.raises(SpaceError, match="the base's files of equal content"):
        base._separate_names(tmp_path)
    assert (tmp_path / "a").stat().st_nlink == 3


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("usr/bin/ischroot", "usr/bin/ischroot"),
        ("etc/passwd", "etc/passwd"),
        ("etc/../usr/bin/ischroot", "usr/bin/ischroot"),
        ("../../usr/bin", "usr/bin"),
        ("usr/up/bin", "usr/bin"),
        ("etc/absolute", "usr/bin/ischroot"),
        ("etc/passwd-link", "etc/passwd"),
        ("etc/loop", None),
        ("etc/outside", None),
        ("usr/bin/absent", None),
        ("proc", None),
    ],
)
def test_a_name_means_what_the_trees_own_programs_would_find(tmp_path: Path, name: str, found: str | None) -> None:
    for file in ("usr/bin/ischroot", "usr/etc/passwd"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    etc = tmp_path / "usr/etc"
    (tmp_path / "usr/up").symlink_to("../../../../usr")
    (etc / "absolute").symlink_to("/usr/bin/ischroot")
    (etc / "passwd-link").symlink_to("passwd")
    (etc / "loop").symlink_to("loop")
    (etc / "outside").symlink_to("/proc/self")
    assert base.as_seen(tmp_path).find(name) == found


def test_a_link_in_the_place_of_etc_shows_nothing_of_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/passwd").touch()
    (tmp_path / "tree/usr").mkdir(parents=True)
    (tmp_path / "tree/usr/etc").symlink_to(tmp_path / "host")
    assert base.as_seen(tmp_path / "tree").find("etc/passwd") is None
