"""What a commit unfolds to, whatever its objects weigh."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import ToolError, TreeError
from apt_ostree.tools import extent, listing
from tests.unit.repository import Repository, dirtree, repository


@pytest.fixture
def made(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


def folded(made: Repository, count: int, levels: int) -> str:
    """A directory that has itself, smaller by a level, by so many names."""
    inner = made.directory({"x": made.store("file", b"x")}, {})
    for _ in range(levels):
        inner = made.directory({}, {f"{number:03}": inner for number in range(count)})
    return inner


def test_each_name_of_an_object_counts(made: Repository) -> None:
    assert extent.of(made.path, made.commit(made.directory({}, {}))) == (0, 0, 0, 0, ())
    # 10 directories, 100 in them, and in each of these a file: /000/000/x.
    assert extent.of(made.path, made.commit(folded(made, 10, 2))) == (210, 110, 10, 2, ())
    with repository(made={"a": None, "a/ü": None, "a/l": "/target", "f": "file"}) as (repo, commits):
        assert extent.of(repo, commits["made"]) == (4, 2, 5, 2, ())


@pytest.mark.parametrize("levels", [5, 300])
def test_a_tree_of_few_objects_and_any_number_of_paths_is_refused(made: Repository, levels: int) -> None:
    with pytest.raises(TreeError) as caught:
        extent.of(made.path, made.commit(folded(made, 100, levels)))
    assert "more than 2000000 files and directories" in caught.value.detail


def test_a_path_longer_than_the_kernel_takes_is_refused(made: Repository) -> None:
    inner = made.directory({}, {})
    for _ in range(16):
        inner = made.directory({}, {"d" * 255: inner})
    assert extent.of(made.path, made.commit(inner)).longest == 4096
    with pytest.raises(TreeError) as caught:
        extent.of(made.path, made.commit(made.directory({}, {"e": inner})))
    assert "a path of 4098 bytes" in caught.value.detail


def test_directories_too_deep_in_each_other_are_refused(made: Repository) -> None:
    inner = made.directory({"x": made.store("file", b"x")}, {})
    for _ in range(extent.LEVELS_MAX):
        inner = made.directory({}, {"d": inner})
    assert extent.of(made.path, made.commit(inner)).levels == 128
    with pytest.raises(TreeError) as caught:
        extent.of(made.path, made.commit(made.directory({}, {"d": inner})))
    assert "129 directories in each other, more than 128" in caught.value.detail


@pytest.mark.parametrize("steps", [1, 3])
def test_a_directory_inside_itself_is_an_error(made: Repository, steps: int) -> None:
    """No object with its right checksum is so; a repository may hold a wrong one."""
    top = "b" * 64
    inner = top
    for _ in range(steps - 1):
        inner = made.directory({}, {"d": inner})
    made.place(top, "dirtree").write_bytes(dirtree([], [(b"d", inner, made.permissions)]))
    with pytest.raises(ToolError) as caught:
        extent.of(made.path, made.commit(top))
    assert "is inside itself" in caught.value.detail


def test_no_more_is_listed_than_any_etc_has(made: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "ENTRIES_MAX", 110)
    wide = made.commit(made.directory({}, {"etc": folded(made, 10, 2)}))
    with pytest.raises(TreeError, match="/etc of a commit is too large"):
        list(listing.of(made.path, wide).below("/etc"))
    assert len(list(listing.of(made.path, wide).below("/etc/000"))) == 20
    monkeypatch.setattr(listing, "ENTRIES_MAX", 9)
    with pytest.raises(TreeError, match="/etc of a commit is too large"):
        listing.of(made.path, wide).inside("/etc")


def test_a_tree_that_is_listed_has_no_endless_paths(made: Repository) -> None:
    inner = made.directory({}, {})
    for _ in range(2100):
        inner = made.directory({}, {"d": inner})
    with pytest.raises(TreeError, match="too large"):
        list(listing.of(made.path, made.commit(inner)).below("/"))


@pytest.mark.parametrize("count", [99, 100])
def test_the_names_of_one_object_are_counted_wherever_they_are(
    made: Repository, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(extent, "NAMES_MAX", 999)
    one, other = made.store("file", b"one"), made.store("file", b"other")
    inner = made.directory({**{f"{number}": one for number in range(9)}, "x": other}, {})
    middle = made.directory({"y": one}, {"a": inner})
    top = made.directory({"z": other}, {f"{number:03}": middle for number in range(count)})
    frequent = extent.of(made.path, made.commit(top)).frequent
    assert frequent == (() if count == 99 else ((one, 1000),))
