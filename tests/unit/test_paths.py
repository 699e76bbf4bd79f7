"""A path in a tree whose links a script made never leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.host import paths


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a directory, a file, and links to a directory outside."""
    top = tmp_path / "tree"
    (top / "usr/lib").mkdir(parents=True)
    (top / "usr/lib/file").touch()
    (tmp_path / "outside/lib").mkdir(parents=True)
    (tmp_path / "outside/lib/file").touch()
    (top / "link").symlink_to(tmp_path / "outside")
    (top / "usr/link").symlink_to("../../outside/lib")
    return top


@pytest.mark.parametrize("name", ["usr", "usr/lib", "usr/lib/file", "link", "usr/link"])
def test_an_entry_behind_real_directories_is_found_also_a_link(tree: Path, name: str) -> None:
    assert paths.beneath(tree, name) == tree / name


@pytest.mark.parametrize("name", ["link/lib", "link/lib/file", "usr/link/file", "../outside", "usr/../usr", "missing"])
def test_an_entry_behind_a_link_or_a_parent_s_name_is_not_found(tree: Path, name: str) -> None:
    assert paths.beneath(tree, name) is None


def test_missing_directories_are_made_with_their_parents(tree: Path) -> None:
    assert paths.make_beneath(tree, "usr/lib/a/b") == tree / "usr/lib/a/b"
    assert (tree / "usr/lib/a/b").is_dir()


@pytest.mark.parametrize("name", ["link/new", "usr/link/new", "link", "usr/lib/file", "usr/lib/file/new", "../new"])
def test_nothing_is_made_through_a_link_or_a_file(tree: Path, name: str) -> None:
    before = sorted(tree.parent.rglob("*"))
    assert paths.make_beneath(tree, name) is None
    assert sorted(tree.parent.rglob("*")) == before


@pytest.mark.parametrize("form", ["{}/outside/lib", "/{}/outside/lib", "//{}/outside/new", "usr/../../outside/lib"])
def test_an_absolute_name_or_one_that_goes_up_is_not_below_a_tree(tree: Path, form: str) -> None:
    name, before = form.format(tree.parent), sorted(tree.parent.rglob("*"))
    assert paths.beneath(tree, name) is None
    assert paths.make_beneath(tree, name) is None
    with pytest.raises(NotADirectoryError), paths.directory_beneath(tree, name):
        pass
    assert sorted(tree.parent.rglob("*")) == before


def test_nothing_is_made_through_a_link_that_leads_nowhere(tree: Path) -> None:
    (tree / "nowhere").symlink_to(tree.parent / "new")
    assert paths.make_beneath(tree, "nowhere/inner") is None
    assert not (tree.parent / "new").exists()


def test_a_directory_is_opened_behind_real_directories_only(tree: Path) -> None:
    with paths.directory_beneath(tree, "usr/lib") as descriptor:
        assert os.listdir(descriptor) == ["file"]
    for name in ("link", "link/lib", "usr/link", "usr/lib/file"):
        with pytest.raises(NotADirectoryError), paths.directory_beneath(tree, name):
            pass


def test_a_walk_names_parents_first_in_order_and_goes_through_no_link(tree: Path) -> None:
    names = [os.path.relpath(entry.path, tree) for entry in paths.walk(tree)]
    assert names == ["link", "usr", "usr/lib", "usr/lib/file", "usr/link"]
