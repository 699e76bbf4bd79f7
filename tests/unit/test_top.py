"""Directories that a layer's packages bring at the top."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from apt_ostree.tree.top import link_writable

SHIPPED = frozenset({"data", "data/file"}).intersection


@pytest.fixture
def trees(tmp_path: Path) -> list[Path]:
    """Two layers, the lowest first, and where the link goes."""
    for name in ("l0", "l1", "top", "var"):
        (tmp_path / name).mkdir()
    return [tmp_path / "l0", tmp_path / "l1"]


def test_what_holds_directories_alone_becomes_a_link(trees: list[Path], tmp_path: Path) -> None:
    (trees[0] / "data/inner").mkdir(parents=True)
    (trees[1] / "data").mkdir(0o700)
    os.chown(trees[1] / "data", 7, 8)
    link_writable(trees, frozenset(), SHIPPED, tmp_path / "var", tmp_path / "top")
    assert (tmp_path / "top/data").readlink() == Path("var/data")
    assert not any((tree / "data").exists() for tree in trees)
    status = (tmp_path / "var/data").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o700, 7, 8)
    assert (tmp_path / "var/data/inner").is_dir()


def test_what_scripts_put_there_comes_along(trees: list[Path], tmp_path: Path) -> None:
    (trees[0] / "data").mkdir()
    (trees[1] / "data").mkdir()
    (trees[1] / "data/made").write_text("made")
    (trees[1] / "data/link").symlink_to("made")
    os.mkfifo(trees[1] / "data/pipe")
    link_writable(trees, frozenset(), SHIPPED, tmp_path / "var", tmp_path / "top")
    assert (tmp_path / "var/data/link").read_text() == "made"
    assert sorted(os.listdir(tmp_path / "var/data")) == ["link", "made"]


def test_what_comes_along_is_what_a_mount_of_the_layers_shows(trees: list[Path], tmp_path: Path) -> None:
    low, high = (tree / "data" for tree in trees)
    for directory in (low / "becomes-file", low / "kept", low / "emptied", high / "kept", high / "emptied"):
        directory.mkdir(parents=True)
    for file in ("becomes-file/x", "becomes-link", "gone", "kept/low", "emptied/low"):
        (low / file).write_text("low")
    (low / "link").symlink_to("a")
    (high / "link").symlink_to("b")
    (high / "becomes-file").write_text("high")
    (high / "becomes-link").symlink_to("kept")
    (high / "kept/high").write_text("high")
    os.mknod(high / "gone", stat.S_IFCHR, os.makedev(0, 0))
    os.setxattr(high / "emptied", "trusted.overlay.opaque", b"y")
    link_writable(trees, frozenset(), SHIPPED, tmp_path / "var", tmp_path / "top")
    data = tmp_path / "var/data"
    assert sorted(os.listdir(data)) == ["becomes-file", "becomes-link", "emptied", "kept", "link"]
    assert ((data / "link").readlink(), (data / "becomes-link").readlink()) == (Path("b"), Path("kept"))
    assert (data / "becomes-file").read_text() == "high"
    assert (sorted(os.listdir(data / "kept")), os.listdir(data / "emptied")) == (["high", "low"], [])


@pytest.mark.parametrize("layer", [0, 1])
def test_what_any_layer_has_a_package_s_file_in_stays(trees: list[Path], tmp_path: Path, layer: int) -> None:
    for tree in trees:
        (tree / "data").mkdir()
    (trees[layer] / "data/file").touch()
    link_writable(trees, frozenset(), SHIPPED, tmp_path / "var", tmp_path / "top")
    assert all((tree / "data").is_dir() for tree in trees)
    assert list((tmp_path / "top").iterdir()) == []


def test_files_links_and_what_has_its_place_stay(trees: list[Path], tmp_path: Path) -> None:
    (trees[0] / "file").touch()
    (trees[0] / "link").symlink_to("usr")
    (trees[0] / "usr").mkdir()
    link_writable(trees, frozenset({"usr"}), SHIPPED, tmp_path / "var", tmp_path / "top")
    assert sorted(os.listdir(trees[0])) == ["file", "link", "usr"]
    assert list((tmp_path / "top").iterdir()) == []


def test_a_name_that_var_has_is_not_shared(trees: list[Path], tmp_path: Path) -> None:
    for name in ("l0/snap", "var/snap", "l0/other", "var/other", "var/top-other"):
        (tmp_path / name).mkdir()
    link_writable(trees, frozenset(), SHIPPED, tmp_path / "var", tmp_path / "top")
    assert (tmp_path / "top/snap").readlink() == Path("var/top-snap")
    assert (trees[0] / "other").is_dir()
