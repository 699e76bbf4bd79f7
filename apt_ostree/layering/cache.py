"""The package cache: what was imported of each .deb, by its SHA-256.

An entry is a directory ``pkgs/SHA256`` of the work area, with the hollow package, and a reference, which keeps the
objects that its markers name (importing.py).
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import PackageError, TreeError
from ..host.door import Tree
from ..host.files import remove_tree
from ..model import Package, Solved, is_sha256
from ..numbers import decimal
from ..tools import dpkg, ostree

IMPORTER = 5
"""Raised whenever an import would come out differently; older entries are then imported again."""

REF = "apt-ostree/pkg"

HOLLOW = "hollow.deb"
_PATHS = "paths"
_INDEX = "index.json"
"""The files in an entry's directory: the hollow package, the names at which it has markers, and all else."""


@dataclass(frozen=True, slots=True)
class Object:
    """The mode and owner of a stored object; where the unpacked file has others, it is a copy.

    So is every file that runs with its owner's rights: anybody may read the repository, and could run there what was
    only looked at.
    """

    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Cached:
    """An imported package. ``control`` is its control stanza, ``objects`` what its markers may name."""

    sha256: str
    package: Package
    size: int
    control: str
    hollow: Path
    objects: Mapping[str, Object]
    control_files: frozenset[str]
    """The names in its control archive: scripts, templates, triggers…"""

    @property
    def fields(self) -> dict[str, str]:
        return next(dpkg.parse_stanzas(self.control))

    def paths(self) -> list[str]:
        """The names at which the package has markers, as it ships them."""
        text = Tree(self.hollow.parent).text(_PATHS) or ""
        return text.split("\0")[:-1]

    def solved(self) -> Solved:
        """The package as a plan names it."""
        size = decimal(self.fields.get("installed-size", "")) or 0
        return Solved(self.package, self.sha256, self.size, size * 1024, "cache")


def load(area: Path, sha256: str) -> Cached | None:
    """The imported package of that digest; None where there is none, or one that a crash left incomplete, and for what
    is not a digest: no other name is an entry's."""
    if not is_sha256(sha256):
        return None
    try:
        with Tree(area / "pkgs").opened(sha256) as place:
            entry = json.loads(place.text(_INDEX) or "")
            sizes = [_size(place, name) for name in (HOLLOW, _PATHS)]
        if entry["importer"] != IMPORTER or sizes != entry["sizes"]:
            return None
        found = Cached(
            sha256,
            Package(*entry["package"]),
            entry["size"],
            entry["control"],
            place.top / HOLLOW,
            {checksum: Object(*numbers) for checksum, numbers in entry["objects"].items()},
            frozenset(entry["control-files"]),
        )
        # Damaged, it could say anything.
        texts = (found.package.name, found.package.version, found.package.architecture, *found.control_files)
        numbers = (found.size, *(n for stored in found.objects.values() for n in (stored.mode, stored.uid, stored.gid)))
        whole = all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)
        return found if whole and all(map(is_sha256, found.objects)) and found.fields else None
    except (OSError, TreeError, ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
        return None


def _size(place: Tree, name: str) -> int:
    """The size of a file of an entry. Raises ValueError where it is missing, or is not a file."""
    status = place.status(name)
    if status is None or not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{name} is not a file")
    return status.st_size


def store(area: Path, fresh: Path, entry: Cached, paths: Sequence[str]) -> Cached:
    """Make the directory ``fresh``, which holds a hollow package, the entry of that package; returns it as loaded.

    ``paths`` are the names at which it has markers.
    """
    hollow = fresh / HOLLOW
    listing = "".join(f"{path}\0" for path in paths).encode()
    (fresh / _PATHS).write_bytes(listing)
    index = {
        "importer": IMPORTER,
        "package": [entry.package.name, entry.package.version, entry.package.architecture],
        "size": entry.size,
        "control": entry.control,
        "sizes": [hollow.stat().st_size, len(listing)],
        "objects": {checksum: [stored.mode, stored.uid, stored.gid] for checksum, stored in entry.objects.items()},
        "control-files": sorted(entry.control_files),
    }
    (fresh / _INDEX).write_text(json.dumps(index))
    place = area / "pkgs" / entry.sha256
    remove_tree(place)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    fresh.rename(place)
    return replace(entry, hollow=place / HOLLOW)


def of_plan(packages: Iterable[Solved], cached: Mapping[str, Cached]) -> dict[Package, Cached]:
    """The imported packages of a plan, from those by their digests, each compared with what the plan says of it.

    Raises PackageError.
    """
    return {solved.package: check(solved, cached[solved.sha256]) for solved in packages}


def check(solved: Solved, cached: Cached) -> Cached:
    """The imported package if it is the one that the plan names. Raises PackageError."""
    if (cached.package, cached.sha256) != (solved.package, solved.sha256):
        raise PackageError(
            f"{solved.name} is not the package that was planned",
            f"planned: {solved.package}, SHA-256 {solved.sha256}\nfound: {cached.package}, SHA-256 {cached.sha256}",
            "Nothing was changed. To refresh the lists: apt-ostree refresh-md --force. To empty the cache: apt-ostree "
            "cleanup -m",
        )
    return cached


def load_whole(repo: Path, area: Path, sha256: str) -> Cached | None:
    """The same, if a reference keeps its objects: with one that is damaged or gone, a prune has taken them, or will."""
    cached = load(area, sha256)
    return cached if cached is not None and _is_kept(repo, cached) else None


def _is_kept(repo: Path, cached: Cached) -> bool:
    return not cached.objects or ostree.ref(repo, f"{REF}/{cached.sha256}") is not None


def load_all(repo: Path, area: Path, digests: Iterable[str]) -> dict[str, Cached]:
    """Those of the packages that are imported and whole, by digest."""
    loaded = {sha256: load_whole(repo, area, sha256) for sha256 in dict.fromkeys(digests)}
    return {sha256: cached for sha256, cached in loaded.items() if cached is not None}


def packages_file(entries: Iterable[Cached], target: Path) -> Path:
    """Write a Packages file of cached packages, so that apt can solve with them and without a network."""
    text = "".join(
        f"{cached.control.rstrip()}\nFilename: {cached.sha256}.deb\nSize: {cached.size}\nSHA256: {cached.sha256}\n\n"
        for cached in entries
    )
    target.write_text(text, errors="surrogateescape")
    return target


def garbage(area: Path, keep: set[str]) -> list[Path]:
    """Every imported package whose digest is not in ``keep``."""
    places = area / "pkgs"
    return [place for place in sorted(places.iterdir()) if place.name not in keep] if places.is_dir() else []


def collect_garbage(repo: Path, area: Path, keep: set[str]) -> None:
    """Drop what is ``garbage``; the next prune frees its objects.

    Its directory first: a package that has one counts as whole, with its objects.
    """
    for place in garbage(area, keep):
        remove_tree(place)
    for ref in ostree.refs(repo, REF):
        if ref.rpartition("/")[2] not in keep:
            ostree.delete_ref(repo, ref)


def drop_incomplete(repo: Path, area: Path) -> None:
    """Drop every package that a kill left without a part: its directory, or the reference that keeps its objects."""
    for place in sorted((area / "pkgs").iterdir()):
        if load_whole(repo, area, place.name) is None:
            remove_tree(place)
    for ref in ostree.refs(repo, REF):
        if not (area / "pkgs" / ref.rpartition("/")[2]).is_dir():
            ostree.delete_ref(repo, ref)
