"""The difference of two sets of packages, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .model import Package


@dataclass(frozen=True, slots=True)
class Change:
    """The difference of two sets of packages. ``changed`` pairs old and new."""

    added: tuple[Package, ...] = ()
    removed: tuple[Package, ...] = ()
    changed: tuple[tuple[Package, Package], ...] = ()


def difference(before: Sequence[Package], after: Sequence[Package]) -> Change:
    """Compare two sets of packages, by name and architecture.

    A package that is for all architectures now, or was, is the same one (policy 5.6.8).
    """

    def keyed(packages: Sequence[Package]) -> dict[tuple[str, str], Package]:
        return {(p.name, p.architecture): p for p in packages}

    old, new = keyed(before), keyed(after)
    for name in {name for name, _ in old.keys() ^ new.keys()}:
        gone = [key for key in old.keys() - new.keys() if key[0] == name]
        come = [key for key in new.keys() - old.keys() if key[0] == name]
        if len(gone) == len(come) == 1 and "all" in (gone[0][1], come[0][1]):
            old[come[0]] = old.pop(gone[0])
    return Change(
        tuple(sorted(new[key] for key in new.keys() - old.keys())),
        tuple(sorted(old[key] for key in old.keys() - new.keys())),
        tuple(sorted((old[key], new[key]) for key in old.keys() & new.keys() if old[key] != new[key])),
    )


def package_document(package: Package) -> dict[str, str]:
    """A package, as all JSON of ours has it."""
    return {"name": package.name, "version": package.version, "architecture": package.architecture}


def document(change: Change) -> dict[str, Any]:
    """A difference as ``--json`` shows it: each changed package with "old" and "new"."""
    return {
        "added": [package_document(package) for package in change.added],
        "removed": [package_document(package) for package in change.removed],
        "changed": [{"old": package_document(old), "new": package_document(new)} for old, new in change.changed],
    }


def record(change: Change) -> dict[str, Any]:
    """A difference as the journal keeps it: each changed package is a list of the old one and the new one."""
    return {
        **document(change),
        "changed": [[package_document(old), package_document(new)] for old, new in change.changed],
    }


def read(value: Mapping[str, Any]) -> Change:
    """A difference from either form. Raises KeyError, TypeError or ValueError for anything else."""
    return Change(
        tuple(map(_package, value["added"])),
        tuple(map(_package, value["removed"])),
        tuple((_package(old), _package(new)) for old, new in map(_pair, value["changed"])),
    )


def _pair(value: Any) -> Sequence[Any]:
    return (value["old"], value["new"]) if isinstance(value, dict) else value


def _package(value: Mapping[str, Any]) -> Package:
    return Package(str(value["name"]), str(value["version"]), str(value["architecture"]))
