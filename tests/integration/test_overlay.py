"""Layers that the kernel's overlayfs wrote: the marks are real, and ``apply`` must make what the mount showed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from apt_ostree.host import mounts
from apt_ostree.layering import overlay

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="overlayfs and trusted xattrs need root")

Facts = dict[str, tuple[int, int, int, str]]
"""Path -> mode, owner, group, content or target; what two equal trees have in common."""


def facts(top: Path) -> Facts:
    found = {}
    for directory, names, files in os.walk(top):
        for name in [*names, *files]:
            path = Path(directory, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            else:
                content = path.read_text() if stat.S_ISREG(status.st_mode) else ""
            found[str(path.relative_to(top))] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def base(top: Path) -> Path:
    for name, content in {
        "usr/bin/a": "a",
        "usr/bin/b": "b",
        "usr/share/doc/x/readme": "x",
        "usr/share/doc/x/sub/deep": "deep",
        "usr/share/doc/y/readme": "y",
        "usr/share/man/m": "m",
    }.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (top / "usr/link").symlink_to("share")
    (top / "usr/share/man").chmod(0o2775)
    os.chown(top / "usr/bin/b", 7, 8)
    return top


def _mounted(area: Path, lower: list[str], number: int, work: Callable[[Path], None], result: Connection) -> None:
    """In a child: nothing may be left mounted in the test's own namespace."""
    mounts.enter_private_namespace()
    with mounts.overlay(area, lower, f"l{number}", f"w{number}", "root") as root:
        work(root)
        result.send(facts(root))


def write_layer(area: Path, lower: list[str], number: int, work: Callable[[Path], None]) -> Facts:
    """Let ``work`` change a mount over ``lower`` (topmost first); returns what the mount showed."""
    for name in (f"l{number}", f"w{number}", "root"):
        (area / name).mkdir(exist_ok=True)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_mounted, args=(area, lower, number, work, sender))
    child.start()
    # Ours closed, the child's end is the only one: its death ends the wait.
    sender.close()
    shown: Facts = receiver.recv()
    child.join()
    assert child.exitcode == 0
    return shown


def add(root: Path) -> None:
    (root / "usr/bin/new").write_text("new")
    (root / "opt").mkdir()
    (root / "opt/tool").write_text("tool")
    (root / "usr/l").symlink_to("../opt")


def remove_new(root: Path) -> None:
    (root / "usr/bin/new").unlink()


def remake_new(root: Path) -> None:
    shutil.rmtree(root / "opt")
    (root / "opt").mkdir()


def add_directories(root: Path) -> None:
    (root / "usr/share/doc/z/sub").mkdir(parents=True)
    (root / "usr/share/doc/z/sub/readme").write_text("z")


def change(root: Path) -> None:
    (root / "usr/bin/a").write_text("changed")
    (root / "usr/bin/b").chmod(0o4755)


def change_link(root: Path) -> None:
    (root / "usr/link").unlink()
    (root / "usr/link").symlink_to("bin")


def remove(root: Path) -> None:
    (root / "usr/bin/a").unlink()


def remove_tree(root: Path) -> None:
    shutil.rmtree(root / "usr/share/doc")


def remake(root: Path) -> None:
    shutil.rmtree(root / "usr/share/doc/x")
    (root / "usr/share/doc/x").mkdir(mode=0o700)
    (root / "usr/share/doc/x/other").write_text("other")


def rename(root: Path) -> None:
    (root / "usr/share/doc/x").rename(root / "usr/share/doc/moved")


def rename_far(root: Path) -> None:
    (root / "usr/share/doc").rename(root / "usr/doc")
    (root / "usr/doc/x/readme").write_text("changed")
    (root / "usr/doc/y/readme").unlink()


def rename_and_replace(root: Path) -> None:
    (root / "usr/share/doc/x").rename(root / "usr/share/doc/old")
    (root / "usr/share/doc/x").mkdir()
    (root / "usr/share/doc/x/readme").write_text("new")


def rename_below_a_renamed_one(root: Path) -> None:
    (root / "usr/share/doc/x").rename(root / "usr/share/doc/moved")
    (root / "usr/share/doc").rename(root / "usr/doc")


def rename_out_of_a_renamed_one(root: Path) -> None:
    (root / "usr/share/doc").rename(root / "usr/doc")
    (root / "usr/doc/x/sub").rename(root / "usr/sub")


def swap(root: Path) -> None:
    (root / "usr/share/doc/x").rename(root / "usr/share/doc/t")
    (root / "usr/share/doc/y").rename(root / "usr/share/doc/x")
    (root / "usr/share/doc/t").rename(root / "usr/share/doc/y")


def file_to_directory(root: Path) -> None:
    (root / "usr/bin/a").unlink()
    (root / "usr/bin/a").mkdir()
    (root / "usr/bin/a/x").write_text("x")


def directory_to_link(root: Path) -> None:
    shutil.rmtree(root / "usr/share/man")
    (root / "usr/share/man").symlink_to("doc")


def made_and_removed(root: Path) -> None:
    (root / "usr/bin/short").write_text("x")
    (root / "usr/bin/short").unlink()
    (root / "usr/bin/new").write_text("new")


UNIONS = (add, add_directories, change, change_link, made_and_removed)
OTHERS = (
    remove, remove_tree, remake, rename, rename_far, rename_and_replace, rename_below_a_renamed_one,
    rename_out_of_a_renamed_one, swap, file_to_directory, directory_to_link,
)  # fmt: skip


@pytest.fixture
def area(tmp_path: Path) -> Path:
    base(tmp_path / "base")
    return tmp_path


@pytest.mark.parametrize("work", [*UNIONS, *OTHERS])
def test_apply_makes_what_the_mount_showed(area: Path, work: Callable[[Path], None]) -> None:
    shown = write_layer(area, ["base"], 0, work)
    overlay.apply(area / "l0", base(area / "tree"))
    assert facts(area / "tree") == shown


@pytest.mark.parametrize("work", [*UNIONS, *OTHERS])
def test_apply_leaves_no_mark_and_nothing_beside_the_tree(area: Path, work: Callable[[Path], None]) -> None:
    write_layer(area, ["base"], 0, work)
    overlay.apply(area / "l0", base(area / "tree"))
    marks = [
        (path, name)
        for path in (area / "tree").rglob("*")
        for name in os.listxattr(path, follow_symlinks=False)
        if name.startswith(overlay.PREFIX)
    ]
    assert marks == []
    assert {path.name for path in area.iterdir()} == {"base", "tree", "l0", "w0", "root"}


@pytest.mark.parametrize(("work", "union"), [*((w, True) for w in UNIONS), *((w, False) for w in OTHERS)])
def test_a_layer_that_removes_hides_or_moves_is_no_union(area: Path, work: Callable[[Path], None], union: bool) -> None:
    write_layer(area, ["base"], 0, work)
    assert overlay.is_union(area / "base", [area / "l0"]) is union


@pytest.mark.parametrize("work", UNIONS)
def test_a_stripped_union_added_to_the_base_is_what_the_mount_showed(area: Path, work: Callable[[Path], None]) -> None:
    shown = write_layer(area, ["base"], 0, work)
    overlay.strip(area / "l0")
    assert not [
        name
        for path in [area / "l0", *(area / "l0").rglob("*")]
        for name in os.listxattr(path, follow_symlinks=False)
        if name.startswith(overlay.PREFIX)
    ]
    # As ostree adds trees: later files over earlier ones, directories joined.
    whole = facts(area / "base") | facts(area / "l0")
    assert whole == shown


@pytest.mark.parametrize("first", [add, add_directories, rename_far, remake])
@pytest.mark.parametrize("second", ["undo", "change", "rename"])
def test_layers_applied_in_turn_make_what_the_stack_showed(
    area: Path, first: Callable[[Path], None], second: str
) -> None:
    def undo(root: Path) -> None:
        for name in ("opt", "usr/doc", "usr/share/doc"):
            shutil.rmtree(root / name, ignore_errors=True)

    def rename_again(root: Path) -> None:
        for name in ("usr/doc", "usr/share/doc"):
            if (root / name).is_dir():
                (root / name / "x").rename(root / name / "w")
                (root / name).rename(root / "usr/again")

    write_layer(area, ["base"], 0, first)
    works = {"undo": undo, "change": change, "rename": rename_again}
    shown = write_layer(area, ["l0", "base"], 1, works[second])
    tree = base(area / "tree")
    overlay.apply(area / "l0", tree)
    overlay.apply(area / "l1", tree)
    assert facts(tree) == shown


def test_a_whiteout_is_a_device_of_number_zero(area: Path) -> None:
    write_layer(area, ["base"], 0, remove)
    assert overlay.is_whiteout((area / "l0/usr/bin/a").lstat())


def test_what_a_later_layer_removes_is_taken_out_of_the_earlier_ones(area: Path) -> None:
    def rename_new(root: Path) -> None:
        (root / "usr/bin/new").rename(root / "usr/bin/newer")

    write_layer(area, ["base"], 0, add)
    shown = write_layer(area, ["l0", "base"], 1, rename_new)
    layers = [area / "l0", area / "l1"]
    overlay.drop_removed(layers)
    assert not (area / "l0/usr/bin/new").exists()
    assert overlay.is_union(area / "base", layers)
    for layer in layers:
        overlay.strip(layer)
    assert facts(area / "base") | facts(area / "l0") | facts(area / "l1") == shown


def test_an_opaque_directory_that_hides_nothing_is_a_union(area: Path) -> None:
    write_layer(area, ["base"], 0, add)
    assert os.getxattr(area / "l0/opt", "trusted.overlay.opaque") == b"y"
    assert overlay.is_union(area / "base", [area / "l0"])


@pytest.mark.parametrize("second", [remove_new, remake_new])
def test_a_layer_that_removes_or_hides_what_an_earlier_one_has_is_no_union(
    area: Path, second: Callable[[Path], None]
) -> None:
    write_layer(area, ["base"], 0, add)
    write_layer(area, ["l0", "base"], 1, second)
    assert not overlay.is_union(area / "base", [area / "l0", area / "l1"])


def test_a_metacopy_is_no_union(area: Path) -> None:
    write_layer(area, ["base"], 0, change)
    os.setxattr(area / "l0/usr/bin/a", "trusted.overlay.metacopy", b"")
    assert not overlay.is_union(area / "base", [area / "l0"])
