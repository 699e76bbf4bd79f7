"""What libostree must not or cannot merge of a machine's /etc into that of a new tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from apt_ostree.errors import SpaceError, TreeError
from apt_ostree.tree import merging
from tests.unit.repository import Tree, repository


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    for top in ("etc", "usr/etc"):
        (tmp_path / top / "foo").mkdir(parents=True)
        (tmp_path / top / "foo/same").write_text("same")
    return tmp_path


def merge(deployment: Path, tree: dict[str, str | None] | None = None) -> str:
    with repository(made={"usr": None, "usr/etc": None, **(tree or {})}) as (repo, commits):
        try:
            merging.check(repo, commits["made"], deployment)
        except TreeError as error:
            return f"{error.brief}\n{error.detail}"
    return ""


def test_an_ordinary_etc_is_merged(deployment: Path) -> None:
    (deployment / "etc/selinux").mkdir()
    (deployment / "etc/foo/new").write_text("new")
    assert merge(deployment, {"usr/etc/x": "/elsewhere", "usr/etc/foo": None}) == ""


def test_an_etc_that_leaves_too_little_of_the_disk_is_not_deployed(deployment: Path) -> None:
    free = os.statvfs(deployment).f_bavail * os.statvfs(deployment).f_frsize
    tree: Tree = {"usr": None, "usr/etc": None, "usr/etc/big": "file"}
    with (
        repository(size=free - 4096, made=tree) as (repo, commits),
        pytest.raises(SpaceError, match="the new deployment's /etc"),
    ):
        merging.check(repo, commits["made"], deployment)


@pytest.mark.parametrize("directory", ["etc/foo", "etc/foo/deep"])
def test_a_link_in_the_place_of_a_directory_that_others_write_is_refused(deployment: Path, directory: str) -> None:
    """They could do so until the shutdown, when OSTree merges /etc."""
    for top in ("etc", "usr/etc"):
        (deployment / top / "foo/deep").mkdir()
    (deployment / directory).chmod(0o777)
    found = merge(deployment, {"usr/etc/foo": "/host/directory"})
    assert "others than root may write into" in found and directory in found


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_a_policy_of_the_machine_is_refused(deployment: Path, kind: str) -> None:
    (deployment / "etc/selinux").mkdir()
    place = deployment / "etc/selinux/config"
    if kind == "file":
        place.touch()
    elif kind == "link":
        place.symlink_to("/dev/zero")
    else:
        place.mkdir()
    assert "selinux" in merge(deployment)


def test_a_link_in_the_place_of_the_policys_directory_is_refused(deployment: Path) -> None:
    (deployment / "etc/selinux").symlink_to("foo")
    assert "etc/selinux is not a directory" in merge(deployment)


@pytest.mark.parametrize("top", ["etc", "usr/etc"])
def test_a_link_in_the_place_of_the_machines_etc_is_refused(deployment: Path, top: str) -> None:
    (deployment / top).rename(deployment / "moved")
    (deployment / top).symlink_to(deployment / "moved")
    assert f"{top} is not a directory" in merge(deployment)


@pytest.mark.parametrize("change", ["added", "changed", "removed", "directory"])
def test_no_change_of_the_machine_goes_through_a_link_of_the_new_tree(deployment: Path, change: str) -> None:
    place = deployment / "etc/foo"
    tree: dict[str, str | None] = {"usr/etc/foo": "/host/directory"}
    assert merge(deployment, tree) == ""
    if change == "added":
        (place / "new").touch()
    elif change == "changed":
        (place / "same").write_text("else")
    elif change == "removed":
        (place / "same").unlink()
    else:
        (place / "new").mkdir()
    assert "/etc/foo is a directory on this machine and a link to /host/directory" in merge(deployment, tree)


def test_all_that_cannot_be_merged_is_named_with_whole_paths(deployment: Path) -> None:
    names = [f"conf.d/{number}" for number in range(7)]
    (deployment / "etc/conf.d").mkdir()
    for name in names:
        (deployment / "etc" / name).write_text("mine")
    tree: Tree = {"usr": None, "usr/etc": None, "usr/etc/conf.d": None, **{f"usr/etc/{name}": None for name in names}}
    with repository(made=tree) as (repo, commits), pytest.raises(TreeError) as caught:
        merging.check(repo, commits["made"], deployment)
    assert caught.value.brief == "/etc/conf.d/0 is a file on this machine and a directory in the new tree"
    assert caught.value.detail.count("cannot merge") == 5
    assert caught.value.detail.endswith("\nand 2 more")
    assert f"Move {deployment}/etc/conf.d/0 and {deployment}/etc/conf.d/1 and" in caught.value.resolution


def test_what_a_layer_made_of_a_file_of_the_base_is_left_to_the_next_layer(deployment: Path) -> None:
    """In the layer that is deployed it is a directory, in which the machine changed something."""
    (deployment / "etc/foo/new").write_text("mine")
    tree: Tree = {"usr": None, "usr/etc": None, "usr/etc/foo": "file"}
    with repository(made=tree, old=tree) as (repo, commits):
        merging.check(repo, commits["made"], deployment, commits["old"])
        with pytest.raises(TreeError):
            merging.check(repo, commits["made"], deployment)


def fifo(place: Path) -> None:
    os.mkfifo(place)


def link(place: Path) -> None:
    place.symlink_to("/tmp")


@pytest.mark.parametrize("make", [Path.touch, link, fifo])
@pytest.mark.parametrize("shipped", [True, False])
def test_a_directory_of_the_new_tree_is_not_merged_with_what_is_none_here(
    deployment: Path, make: Callable[[Path], None], shipped: bool
) -> None:
    """libostree: "Modified config file newly defaults to directory, cannot merge"."""
    if shipped:
        (deployment / "usr/etc/foo/sub").mkdir()
    make(deployment / "etc/foo/sub")
    found = merge(deployment, {"usr/etc/foo": None, "usr/etc/foo/sub": None})
    kind = "a link" if make is link else "a file"
    assert f"/etc/foo/sub is {kind} on this machine and a directory in the new tree" in found


def test_a_file_that_was_not_changed_becomes_the_new_trees_directory(deployment: Path) -> None:
    assert merge(deployment, {"usr/etc/foo": None, "usr/etc/foo/same": None}) == ""


@pytest.mark.parametrize(
    ("change", "merges"), [("none", True), ("added", False), ("removed", False), ("own", True), ("replaced", True)]
)
def test_a_file_of_the_new_tree_is_not_merged_with_a_directory_that_was_changed_here(
    deployment: Path, change: str, merges: bool
) -> None:
    """A directory that is the machine's alone takes the file's place, as libostree has it."""
    if change == "added":
        (deployment / "etc/foo/new").touch()
    elif change == "removed":
        (deployment / "etc/foo/same").unlink()
    elif change == "own":
        (deployment / "etc/own").mkdir()
        (deployment / "etc/own/new").touch()
    elif change == "replaced":
        (deployment / "usr/etc/own").touch()
        (deployment / "etc/own").mkdir()
        (deployment / "etc/own/new").touch()
    found = merge(deployment, {"usr/etc/foo" if change in {"none", "added", "removed"} else "usr/etc/own": "file"})
    assert found == "" if merges else "/etc/foo is a directory on this machine and a file in the new tree" in found


def test_more_than_a_shutdown_can_copy_of_etc_is_refused_whatever_room_there_is(deployment: Path) -> None:
    with (deployment / "etc/foo/holes").open("w") as file:
        file.truncate((1 << 30) + 1)
    assert merge(deployment).startswith("/etc has more than 1073741824 bytes")


def test_a_file_of_holes_in_etc_counts_as_what_ostree_makes_of_it(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_CHANGED_MAX", 1 << 44)
    with (deployment / "etc/foo/holes").open("w") as file:
        file.truncate(1 << 43)
    with (
        repository(made={"usr": None, "usr/etc": None}) as (repo, commits),
        pytest.raises(SpaceError, match=r"the new deployment's /etc, of which /etc/foo/holes has 8796093\.0 MB"),
    ):
        merging.check(repo, commits["made"], deployment)


def test_what_was_not_changed_here_is_not_counted_twice(deployment: Path) -> None:
    for top in ("etc", "usr/etc"):
        with (deployment / top / "foo/holes").open("w") as file:
            file.truncate(1 << 24)
    free = os.statvfs(deployment).f_bavail * os.statvfs(deployment).f_frsize
    assert free > 1 << 25
    assert merge(deployment) == ""


@pytest.mark.parametrize(("name", "count", "merges"), [("d", 127, True), ("d", 128, False), ("d" * 250, 13, False)])
def test_a_path_that_ostree_cannot_merge_is_named(deployment: Path, name: str, count: int, merges: bool) -> None:
    (deployment / "etc/foo" / "/".join([name] * count)).mkdir(parents=True)
    found = merge(deployment)
    assert found == "" if merges else f"too long or too deep for OSTree to merge\nbelow /etc/foo/{name[:40]};" in found


def test_an_etc_of_many_entries_is_refused(deployment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_ENTRIES_MAX", 2)
    assert merge(deployment) == ""
    (deployment / "etc/foo/third").touch()
    assert "/etc has more than 2 entries" in merge(deployment)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK])
def test_what_ostree_cannot_copy_of_etc_is_named(deployment: Path, kind: int) -> None:
    os.mknod(deployment / "etc/foo/odd", kind | 0o600)
    assert merge(deployment).startswith("/etc/foo/odd is a FIFO, a socket or a device\n")


def test_attributes_that_ostree_cannot_copy_are_named(deployment: Path) -> None:
    for number in range(65):
        os.setxattr(deployment / "etc/foo", f"user.{number}", b"")
    # OSTree lists those of all directories, changed or not.
    assert "/etc/foo has more than 64 extended attributes" in merge(deployment)
    for number in range(65):
        os.removexattr(deployment / "etc/foo", f"user.{number}")
    (deployment / "etc/foo/own").touch()
    for number in range(65):
        os.setxattr(deployment / "etc/foo/own", f"user.{number}", b"")
    assert "/etc/foo/own has more than 64 extended attributes" in merge(deployment)
