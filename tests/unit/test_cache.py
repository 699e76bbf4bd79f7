"""The package cache's entries on disk, and what they tell."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apt_ostree.errors import PackageError
from apt_ostree.layering import cache
from apt_ostree.layering.cache import Cached, Object
from apt_ostree.model import Package, Solved

CHECKSUM = "0123456789abcdef" * 4
SHA256 = "ab" * 32


def cached(name: str, control: str = "", size: int = 7) -> Cached:
    return Cached(name * 64, Package(name, "1", "all"), size, control, Path(f"/{name}"), {}, frozenset())


def test_packages_file_is_what_apt_solves_with(tmp_path: Path) -> None:
    entries = [
        cached("a", "Package: a\nVersion: 1\nDescription: x\n long\n\n"),
        cached("b", "Package: b\nVersion: 2\nMaintainer: \udcff", 8),
    ]
    target = tmp_path / "Packages"
    assert cache.packages_file(entries, target) == target
    assert target.read_bytes() == (
        b"Package: a\nVersion: 1\nDescription: x\n long\n"
        b"Filename: " + b"a" * 64 + b".deb\nSize: 7\nSHA256: " + b"a" * 64 + b"\n\n"
        b"Package: b\nVersion: 2\nMaintainer: \xff\n"
        b"Filename: " + b"b" * 64 + b".deb\nSize: 8\nSHA256: " + b"b" * 64 + b"\n\n"
    )


@pytest.mark.parametrize(
    ("control", "size"),
    [
        ("Package: a\nInstalled-Size: 12\n", 12 * 1024),
        ("Package: a\n", 0),
        ("Package: a\nInstalled-Size: x\n", 0),
        ("Package: a\nInstalled-Size: \u00b2\n", 0),
        (f"Package: a\nInstalled-Size: {'9' * 5000}\n", 0),
    ],
)
def test_a_cached_package_is_solved_with_its_size_in_bytes(control: str, size: int) -> None:
    assert cached("a", control).solved() == Solved(Package("a", "1", "all"), "a" * 64, 7, size, "cache")


INDEX = {
    "importer": cache.IMPORTER,
    "package": ["a", "1:2", "all"],
    "size": 99,
    "control": "Package: a\n",
    "sizes": [6, 11],
    "objects": {CHECKSUM: [0o100755, 0, 42]},
    "control-files": ["control", "postinst"],
}


def store(area: Path, index: str) -> Path:
    place = area / "pkgs" / SHA256
    place.mkdir(parents=True)
    (place / "hollow.deb").write_text("hollow")
    (place / "paths").write_text("usr/a\0usr\n\0")
    (place / "index.json").write_text(index)
    return place


def test_load_reads_an_imported_package(tmp_path: Path) -> None:
    place = store(tmp_path, json.dumps(INDEX))
    loaded = cache.load(tmp_path, SHA256)
    assert loaded is not None
    assert loaded.paths() == ["usr/a", "usr\n"]
    assert loaded == Cached(
        SHA256,
        Package("a", "1:2", "all"),
        99,
        "Package: a\n",
        place / "hollow.deb",
        {CHECKSUM: Object(0o100755, 0, 42)},
        frozenset({"control", "postinst"}),
    )


@pytest.mark.parametrize(
    "index",
    [
        json.dumps({**INDEX, "importer": cache.IMPORTER - 1}),
        json.dumps({**INDEX, "sizes": [5, 11]}),
        json.dumps({**INDEX, "sizes": [6, 9]}),
        json.dumps({key: value for key, value in INDEX.items() if key != "control"}),
        json.dumps({**INDEX, "package": ["a"]}),
        json.dumps({**INDEX, "objects": {"../" * 20 + "etc/x": [0o100755, 0, 42]}}),
        json.dumps(INDEX)[:-1],
        "[]",
        "",
    ],
)
def test_load_counts_another_or_a_broken_import_as_none(tmp_path: Path, index: str) -> None:
    store(tmp_path, index)
    assert cache.load(tmp_path, SHA256) is None


def test_an_entry_is_no_link_and_has_none(tmp_path: Path) -> None:
    place = store(tmp_path, json.dumps(INDEX))
    other = place.rename(tmp_path / "other")
    place.symlink_to(other)
    assert cache.load(tmp_path, SHA256) is None
    place.unlink()
    other.rename(place)
    for name in ("hollow.deb", "paths", "index.json"):
        (place / name).rename(other)
        (place / name).symlink_to(other)
        assert cache.load(tmp_path, SHA256) is None, name
        other.rename(place / name)
    assert cache.load(tmp_path, SHA256) is not None


@pytest.mark.parametrize("sha256", ["../mallory", "", ".", "AB" * 32, "ab" * 31, "ab" * 32 + "\n"])
def test_what_is_not_a_digest_names_no_entry(tmp_path: Path, sha256: str) -> None:
    whole = store(tmp_path, json.dumps(INDEX))
    if (place := tmp_path / "pkgs" / sha256.strip()) != whole:
        shutil.copytree(whole, place, dirs_exist_ok=True)
    assert cache.load_all(tmp_path, tmp_path, [sha256]) == {}


def test_load_of_an_absent_package_is_none(tmp_path: Path) -> None:
    assert cache.load(tmp_path, SHA256) is None
    store(tmp_path, json.dumps(INDEX)).joinpath("hollow.deb").unlink()
    assert cache.load(tmp_path, SHA256) is None


def test_what_is_stored_is_loaded_again(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / cache.HOLLOW).write_text("hollow")
    objects = {CHECKSUM: Object(0o100755, 0, 42)}
    control = "Package: a\nMaintainer: \udcff\n"
    entry = Cached(SHA256, Package("a", "1:2", "all"), 99, control, fresh, objects, frozenset({"control"}))
    stored = cache.store(tmp_path, fresh, entry, ["usr/a", "usr\n", "usr\r"])
    assert stored == cache.load(tmp_path, SHA256) == replace(entry, hollow=tmp_path / "pkgs" / SHA256 / cache.HOLLOW)
    assert stored.paths() == ["usr/a", "usr\n", "usr\r"]
    assert not fresh.exists()


def reference(repo: Path, content: str, *, commit: bool = True) -> Path:
    """The file of the reference that keeps the stored package's objects, and the commit that it should name."""
    place = repo / "refs/heads" / cache.REF / SHA256
    place.parent.mkdir(parents=True)
    place.write_text(content)
    objects = repo / "objects" / CHECKSUM[:2]
    objects.mkdir(parents=True)
    if commit:
        (objects / f"{CHECKSUM[2:]}.commit").touch()
    return place


def test_load_all_leaves_out_what_is_not_imported(tmp_path: Path) -> None:
    store(tmp_path, json.dumps(INDEX))
    reference(tmp_path, f"{CHECKSUM}\n")
    assert cache.load_all(tmp_path, tmp_path, ["cd" * 32, SHA256, SHA256]) == {SHA256: cache.load(tmp_path, SHA256)}


@pytest.mark.parametrize("content", ["", "\n", "garbage", "\udcff", CHECKSUM[:-1], "../../../etc/passwd"])
def test_a_package_whose_reference_is_damaged_counts_as_not_imported(tmp_path: Path, content: str) -> None:
    store(tmp_path, json.dumps(INDEX))
    reference(tmp_path, "").write_bytes(content.encode(errors="surrogateescape"))
    assert cache.load_all(tmp_path, tmp_path, [SHA256]) == {}


def test_a_package_whose_objects_nothing_keeps_counts_as_not_imported(tmp_path: Path) -> None:
    store(tmp_path, json.dumps(INDEX))
    assert cache.load_all(tmp_path, tmp_path, [SHA256]) == {}
    reference(tmp_path, CHECKSUM, commit=False)
    assert cache.load_all(tmp_path, tmp_path, [SHA256]) == {}


def test_a_package_without_files_needs_no_reference(tmp_path: Path) -> None:
    store(tmp_path, json.dumps({**INDEX, "objects": {}}))
    assert list(cache.load_all(tmp_path, tmp_path, [SHA256])) == [SHA256]


def test_what_a_plan_takes_from_the_cache_is_what_it_names() -> None:
    entry = cached("a", "Package: a\n")
    planned = entry.solved()
    assert cache.of_plan([planned], {entry.sha256: entry}) == {planned.package: entry}


@pytest.mark.parametrize(
    "other",
    [
        {"package": Package("b", "1", "all")},
        {"package": Package("a", "2", "all")},
        {"package": Package("a", "1", "amd64")},
        {"sha256": "b" * 64},
    ],
)
def test_another_package_in_the_cache_than_the_planned_one_is_refused(other: dict[str, Any]) -> None:
    entry = cached("a", "Package: a\n")
    with pytest.raises(PackageError, match="a is not the package that was planned"):
        cache.of_plan([entry.solved()], {entry.sha256: replace(entry, **other)})
