"""Hydration: which files of a layer become links to objects, which copies, and which stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.errors import PackageError, ScriptError, SpaceError
from apt_ostree.host import door
from apt_ostree.host.door import Tree
from apt_ostree.layering import overlay
from apt_ostree.layering.cache import Object
from apt_ostree.layering.hollow import marker
from apt_ostree.layering.hydrate import Hydrator
from apt_ostree.tools import ostree
from apt_ostree.tree.view import File

A, B = ("0123456789abcdef" * 4, "fedcba9876543210" * 4)


@pytest.fixture
def hydrator(tmp_path: Path) -> Hydrator:
    """A repository with two objects, of which the base has one."""
    repo, objects = tmp_path / "repo", {}
    for checksum in (A, B):
        place = ostree.object_path(repo, checksum)
        place.parent.mkdir(parents=True)
        place.write_text(f"content of {checksum}")
        place.chmod(0o644)
        status = place.stat()
        objects[checksum] = Object(status.st_mode, status.st_uid, status.st_gid)
    (tmp_path / "base").mkdir()
    os.link(ostree.object_path(repo, B), tmp_path / "base/b")
    (tmp_path / "layer").mkdir()
    return Hydrator(repo, tmp_path / "base", objects)


def put(layer: Path, name: str, checksum: str) -> Path:
    (layer / name).write_bytes(marker(checksum))
    (layer / name).chmod(0o644)
    return layer / name


def test_an_object_is_linked_once_and_other_names_are_files_of_their_own(hydrator: Hydrator, tmp_path: Path) -> None:
    names = [put(tmp_path / "layer", name, A) for name in ("x", "y", "z")]
    hydrator.hydrate(tmp_path / "layer", {}, link=True)
    assert {path.read_text() for path in names} == {f"content of {A}"}
    assert len({path.stat().st_ino for path in names}) == 3
    assert names[0].samefile(ostree.object_path(hydrator.repo, A))


def test_what_the_base_has_by_another_name_is_a_file_of_its_own(hydrator: Hydrator, tmp_path: Path) -> None:
    path = put(tmp_path / "layer", "x", B)
    hydrator.hydrate(tmp_path / "layer", {}, link=True)
    assert path.read_text() == f"content of {B}"
    assert not path.samefile(hydrator.base / "b")


@pytest.mark.parametrize("mode", [0o644, 0o4755])
def test_names_of_one_file_stay_one_whatever_its_mode(hydrator: Hydrator, tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "layer", "x", A)
    path.chmod(mode)
    os.link(path, tmp_path / "layer/y")
    hydrator.hydrate(tmp_path / "layer", {}, link=True)
    assert path.samefile(tmp_path / "layer/y")
    assert path.stat().st_mode & 0o7777 == mode
    assert path.read_text() == f"content of {A}"
    assert path.samefile(ostree.object_path(hydrator.repo, A)) is (mode == 0o644)


def test_what_stands_for_a_program_gets_its_content_and_keeps_its_mode(hydrator: Hydrator, tmp_path: Path) -> None:
    (tmp_path / "program").write_text("the real one")
    (tmp_path / "layer/moved").write_text("a stub")
    (tmp_path / "layer/moved").chmod(0o711)
    hydrator.hydrate(tmp_path / "layer", {b"a stub": File(Tree(tmp_path), "program")}, link=True)
    assert (tmp_path / "layer/moved").read_text() == "the real one"
    assert (tmp_path / "layer/moved").stat().st_mode & 0o7777 == 0o711


def test_nothing_is_linked_where_it_may_be_written(hydrator: Hydrator, tmp_path: Path) -> None:
    path = put(tmp_path / "layer", "x", A)
    hydrator.hydrate(tmp_path / "layer", {}, link=False)
    assert path.read_text() == f"content of {A}"
    assert path.stat().st_nlink == 1


def test_a_file_with_xattrs_of_its_own_becomes_a_copy_that_keeps_them(hydrator: Hydrator, tmp_path: Path) -> None:
    path = put(tmp_path / "layer", "x", A)
    os.setxattr(path, "user.capability", b"given by a script")
    hydrator.hydrate(tmp_path / "layer", {}, link=True)
    assert path.read_text() == f"content of {A}"
    assert not path.samefile(ostree.object_path(hydrator.repo, A))
    assert os.getxattr(path, "user.capability") == b"given by a script"
    assert os.listxattr(ostree.object_path(hydrator.repo, A)) == []


def test_marks_of_overlayfs_are_not_a_files_own_xattrs(
    hydrator: Hydrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "layer", "x", A)
    # Only root may set the real ones.
    monkeypatch.setattr(overlay, "PREFIX", "user.overlay.")
    os.setxattr(path, "user.overlay.origin", b"")
    hydrator.hydrate(tmp_path / "layer", {}, link=True)
    assert path.samefile(ostree.object_path(hydrator.repo, A))


def test_a_marker_of_an_object_that_no_package_brought_stays_content(hydrator: Hydrator, tmp_path: Path) -> None:
    foreign = "a" * 64
    place = ostree.object_path(hydrator.repo, foreign)
    place.parent.mkdir(parents=True)
    place.write_text("of the repository, and of nobody's package")
    path = put(tmp_path / "layer", "x", foreign)
    hydrator.hydrate(tmp_path / "layer", {}, link=True)
    assert path.read_bytes() == marker(foreign)


def test_an_object_that_is_missing_is_an_error_of_the_cache(hydrator: Hydrator, tmp_path: Path) -> None:
    put(tmp_path / "layer", "x", A)
    ostree.object_path(hydrator.repo, A).unlink()
    with pytest.raises(PackageError, match="the package cache is damaged"):
        hydrator.hydrate(tmp_path / "layer", {}, link=True)


def test_an_object_whose_directory_is_missing_is_the_same_error(hydrator: Hydrator, tmp_path: Path) -> None:
    put(tmp_path / "layer", "x", A)
    place = ostree.object_path(hydrator.repo, A)
    place.unlink()
    place.parent.rmdir()
    with pytest.raises(PackageError, match="the package cache is damaged"):
        hydrator.hydrate(tmp_path / "layer", {}, link=True)


def test_nothing_behind_a_link_is_hydrated(hydrator: Hydrator, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    outside = put(tmp_path / "host", "x", A)
    (tmp_path / "layer/directory").symlink_to(tmp_path / "host")
    (tmp_path / "layer/file").symlink_to(outside)
    hydrator.hydrate(tmp_path / "layer", {}, link=True)
    assert outside.read_bytes() == marker(A)


def test_a_copy_has_no_mark_of_overlayfs(hydrator: Hydrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "layer", "x", A)
    # Only root may set the real ones.
    monkeypatch.setattr(door, "OVERLAY", "user.overlay.")
    os.setxattr(path, "user.overlay.origin", b"")
    os.setxattr(path, "user.note", b"kept")
    hydrator.hydrate(tmp_path / "layer", {}, link=False)
    assert os.listxattr(path) == ["user.note"]


def test_markers_that_a_script_wrote_fill_no_disk(hydrator: Hydrator, tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    os.truncate(ostree.object_path(hydrator.repo, A), status.f_bavail * status.f_frsize // 4)
    names = [put(tmp_path / "layer", name, A) for name in "abcdef"]
    with pytest.raises(SpaceError, match="too little space for the packages' files"):
        hydrator.hydrate(tmp_path / "layer", {}, link=True)
    # One is a link, which takes no room; of the others, not even the first was written.
    assert sorted(path.stat().st_size for path in names)[:5] == [len(marker(A))] * 5


def test_stubs_that_a_script_copied_fill_no_disk(hydrator: Hydrator, tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    (tmp_path / "program").touch()
    os.truncate(tmp_path / "program", status.f_bavail * status.f_frsize // 2)
    for name in "abc":
        (tmp_path / "layer" / name).write_text("a stub")
    with pytest.raises(SpaceError):
        hydrator.hydrate(tmp_path / "layer", {b"a stub": File(Tree(tmp_path), "program")}, link=True)


def test_markers_that_a_script_wrote_take_no_more_time_than_a_script_may(hydrator: Hydrator, tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path / "layer", name, A)
    slow = Hydrator(hydrator.repo, hydrator.base, hydrator.objects, seconds=0)
    with pytest.raises(ScriptError, match="took longer than 0 s"):
        slow.hydrate(tmp_path / "layer", {}, link=False)


def test_the_names_of_one_file_are_one_file_where_it_is_copied(hydrator: Hydrator, tmp_path: Path) -> None:
    path = put(tmp_path / "layer", "x", A)
    (tmp_path / "layer/d").mkdir()
    os.link(path, tmp_path / "layer/d/y")
    hydrator.hydrate(tmp_path / "layer", {}, link=False)
    assert path.samefile(tmp_path / "layer/d/y")
    assert path.read_text() == f"content of {A}"
