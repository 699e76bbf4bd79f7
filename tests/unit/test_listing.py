"""The entries of a commit: what is there, each object read once, and what is damaged."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.tools import listing, objects
from tests.unit.repository import Repository, Tree, numbers, repository

TREE: Tree = {
    **dict.fromkeys(("usr", "usr/lib", "usr/lib/deep", "boot", "usr/odd\nl00777 0 0      0 opt -> x")),
    **{"usr/lib/deep/file": "file", "usr/lib/x": "file", "etc": "usr/etc", "usr/a\n": "b\nc -> d", "usr/ü": "file"},
}


@pytest.fixture
def found() -> Iterator[listing.Listing]:
    with repository(made=TREE) as (repo, commits):
        yield listing.of(repo, commits["made"])


def test_names_and_targets_with_line_breaks_are_read_as_they_are(found: listing.Listing) -> None:
    below = {entry.path.removeprefix("/"): entry for entry in found.below("/")}
    kinds = {None: "d", "file": "-"}
    assert {path: (entry.kind, entry.target) for path, entry in below.items()} == {
        path: (kinds.get(target, "l"), "" if target in kinds else target) for path, target in TREE.items()
    }


def test_only_what_is_in_the_directories_is_returned(found: listing.Listing) -> None:
    assert found.inside("/").keys() == {"/usr", "/etc", "/boot"}
    assert found.inside("/boot", "/absent", "/etc").keys() == set()
    assert found.inside("/usr/lib").keys() == {"/usr/lib/deep", "/usr/lib/x"}
    assert found.levels(("/usr", "/etc", "/missing"), ("/usr/lib",)).keys() == {
        *("/usr", "/etc", "/boot", "/usr/lib", "/usr/ü", "/usr/a\n", "/usr/lib/deep", "/usr/lib/x"),
        "/usr/odd\nl00777 0 0      0 opt -> x",
    }


def test_an_entry_is_found_by_its_path_and_no_link_is_followed(found: listing.Listing) -> None:
    for entry in found.below("/"):
        assert found.find(entry.path) == entry
    assert found.find("/") is not None
    for path in ("/absent", "/etc/passwd", "/usr/lib/x/y", "/usr/lib/..", "/usr/./lib", "/a" * 2000):
        assert found.find(path) is None


def test_a_file_is_read_as_text(found: listing.Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found.read("/usr/lib/x") == "ID=debian\n"
    assert found.read("/usr/lib/y") is None
    for path in ("/etc", "/usr"):
        with pytest.raises(ToolError, match="cannot read"):
            found.read(path)
    monkeypatch.setattr(listing, "TEXT_MAX", 9)
    with pytest.raises(ToolError) as caught:
        found.read("/usr/lib/x")
    assert "it has 10 bytes, more than 9" in caught.value.detail


def test_each_directory_is_read_once(found: listing.Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = objects.directory

    def directory(repo: Path, checksum: str) -> objects.Directory:
        read.append(checksum)
        return real(repo, checksum)

    monkeypatch.setattr(objects, "directory", directory)
    for _ in range(2):
        found.levels(("/usr",), ("/usr/lib",))
        found.find("/usr/lib/x")
    assert len(read) == len(set(read)) == 3


def test_an_operation_has_one_listing_of_a_commit() -> None:
    with repository(made=TREE) as (repo, commits), repository(made=TREE) as (other, _):
        assert listing.of(repo, commits["made"]) is listing.of(repo, commits["made"])
        assert listing.of(repo, commits["made"]) is not listing.of(other, commits["made"])


def test_a_commit_that_is_not_here_is_an_error(tmp_path: Path) -> None:
    made = Repository(tmp_path / "repo")
    with pytest.raises(ToolError, match="cannot read commit"):
        listing.of(made.path, "a" * 64)


@pytest.mark.parametrize("kind", ["dirtree", "dirmeta", "file"])
@pytest.mark.parametrize("damage", ["missing", "empty", "fifo", "large"])
def test_a_damaged_object_is_an_error(tmp_path: Path, kind: str, damage: str) -> None:
    made = Repository(tmp_path / "repo")
    made.permissions = made.store("dirmeta", numbers(stat.S_IFDIR | 0o711, 7, 8))
    commit = made.commit_tree({"usr": None, "usr/x": "file"}, made.store("file", b"x"))
    assert [(entry.mode, entry.uid, entry.gid) for entry in listing.of(made.path, commit).below("/")][:1] == [
        (0o711, 7, 8)
    ]
    for place in made.path.glob(f"objects/*/*.{kind}"):
        place.unlink()
        if damage == "fifo":
            os.mkfifo(place)
        elif damage != "missing":
            place.touch()
        if damage == "large":
            with place.open("r+b") as content:
                content.truncate(objects.DIRECTORY_MAX + 1)
    listing._permissions.cache_clear()
    fresh = listing.Listing(made.path, commit)
    if kind == "file" and damage in {"empty", "large"}:
        assert len(list(fresh.below("/"))) == 2
        return
    with pytest.raises(ToolError, match="cannot read an object of the repository"):
        list(fresh.below("/"))
