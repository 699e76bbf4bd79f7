"""Debian changelogs (deb-changelog(5)): what is new in a package, from the files that a commit itself ships."""

from __future__ import annotations

import gzip
import posixpath
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ..errors import ToolError
from ..model import Package
from ..text import lines
from ..tools import dpkg, listing, ostree

DOC = "/usr/share/doc"

NAMES = ("changelog.Debian.gz", "changelog.gz")
"""Of a package that Debian changed, and of one that is Debian's own (policy 12.7)."""

LIMIT = 4 << 20
"""Bytes of a changelog that are read; the longest there are have two million."""

TOTAL = 512 << 20
"""Characters of all changelogs that are read, each once; a desktop's packages have some two hundred million."""

SHOWN = 64 << 20
"""Characters of all entries that are shown. An upgrade to another release has some five million."""

HOPS = 8
"""Links on the way to a file: packages of one source often share a directory."""

_HEADER = re.compile(r"\S+ \((?P<version>[^()\s]+)\) [^;\n]*;.*")


@dataclass(frozen=True, slots=True)
class Release:
    """One version's entry, as its maintainer wrote it."""

    version: str
    text: str


@dataclass(frozen=True, slots=True)
class News:
    """News of packages that share a changelog, the newest first; None where the commit ships none."""

    packages: tuple[str, ...]
    releases: tuple[Release, ...] | None


def parse(text: str) -> Iterator[Release]:
    """The entries of a changelog, in its order; what stands before the first is not one."""
    version, found = "", list[str]()
    for line in chain(lines(text), [None]):
        match = _HEADER.fullmatch(line) if line is not None else None
        if version and (match is not None or line is None):
            yield Release(version, "\n".join(found).strip())
        if match is not None:
            version, found = match["version"], []
        if line is not None:
            found.append(line.rstrip())


def newer(text: str, than: str) -> tuple[Release, ...]:
    """The entries before the first one that is not newer than a version."""
    found = []
    for release in parse(text):
        if dpkg.compare_versions(release.version, than) <= 0:
            break
        found.append(release)
    return tuple(found)


def news(repo: Path, old: str, new: str, changed: Sequence[tuple[Package, Package]]) -> list[News]:
    """Return the news of the packages that two commits have in different versions. Raises ToolError where they are
    more than anybody reads, as a hostile commit's may be."""
    before = source_versions(repo, old)
    # By changelog, which packages of one source share, and the version that one had; None where there is none.
    shared: dict[tuple[str, str] | None, list[str]] = {}
    for package, _ in changed:
        checksum = _object(repo, new, package.name)
        key = (checksum, before.get(package.name, package.version)) if checksum is not None else None
        shared.setdefault(key, []).append(package.name)
    by_releases: dict[tuple[Release, ...] | None, list[str]] = {}
    total = size = 0
    for key, names in shared.items():
        text = _text(repo, key[0]) if key is not None else None
        found = newer(text, key[1]) if text is not None and key is not None else None
        total += len(text or "")
        size += sum(len(release.text) for release in found or ()) if found not in by_releases else 0
        if total > TOTAL or size > SHOWN:
            raise ToolError(
                "the changelogs are too long to be read", f"more than {TOTAL} characters, or {SHOWN} of them new"
            )
        by_releases.setdefault(found, []).extend(names)
    return [News(tuple(names), releases) for releases, names in by_releases.items()]


def source_versions(repo: Path, commit: str) -> dict[str, str]:
    """The version of each package's source, which its changelog counts by; it may differ from the package's own."""
    for name in dpkg.DATABASES:
        if (text := listing.of(repo, commit).read(f"/{name}/status")) is not None:
            return {
                entry.package.name: match[1] if match is not None else entry.package.version
                for entry in dpkg.parse_status(text)
                for match in [re.search(r"\((.+)\)", entry.fields.get("source", ""))]
            }
    return {}


def _object(repo: Path, commit: str, package: str) -> str | None:
    """The object of a package's changelog in a commit; None where there is none."""
    found = (_find(repo, commit, f"{DOC}/{package}/{name}") for name in NAMES)
    return next((checksum for checksum in found if checksum is not None), None)


def _text(repo: Path, checksum: str) -> str | None:
    """The text of a changelog; None for one that cannot be read."""
    try:
        with gzip.open(ostree.object_path(repo, checksum)) as file:
            return file.read(LIMIT).decode(errors="replace")
    except (OSError, EOFError, zlib.error):
        return None


def _find(repo: Path, commit: str, path: str, hops: int = HOPS) -> str | None:
    """The object of a file; links are followed inside of the documentation, as the tree's own root has them."""
    parts = path.removeprefix(f"{DOC}/").split("/")
    for count in range(1, len(parts) + 1):
        place = "/".join([DOC, *parts[:count]])
        try:
            entry = listing.of(repo, commit).find(place)
        except ToolError:
            return None
        if entry is None:
            return None
        if entry.kind == "-" and count == len(parts):
            return entry.checksum
        if entry.kind == "l":
            there = posixpath.normpath(posixpath.join(posixpath.dirname(place), entry.target, *parts[count:]))
            return _find(repo, commit, there, hops - 1) if hops and there.startswith(f"{DOC}/") else None
    return None
