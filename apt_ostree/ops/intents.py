"""Edits of the intent: requests to add and to drop, files to import, overrides to check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import PackageError, ResolveError, UsageError
from ..host.files import Room
from ..inputs import edits, requests
from ..inputs.edits import Named
from ..layering.importing import Importer, import_deb, preview
from ..model import Intent, LocalPackage, Package
from ..sandbox.unpacking import Unpacker
from ..system import commits
from ..system.inventory import package_list
from ..tools import dpkg
from . import recovery
from .transaction import Transaction


@dataclass(frozen=True, slots=True)
class IntentEdit:
    """Requests to add and to drop, checked in their form before a transaction begins."""

    names: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    dropping: tuple[str, ...] = ()
    recommends: bool | None = None
    lenient: bool = False
    """Accept names to drop that are not requested."""

    @classmethod
    def of(
        cls,
        packages: Sequence[str],
        uninstall: Sequence[str],
        recommends: bool | None = None,
        *,
        lenient: bool = False,
    ) -> IntentEdit:
        """Raises UsageError for an invalid package expression, and PackageError for a file that is missing."""
        names, files = split(packages)
        for name in [*names, *uninstall]:
            requests.parse_expression(name)
        return cls(tuple(names), tuple(files), tuple(uninstall), recommends, lenient)

    def apply(self, current: Transaction, intent: Intent, local: Sequence[LocalPackage]) -> Intent:
        """The intent with these changes; ``local`` are the files, as imported. Raises ResolveError and UsageError."""
        after = intent
        if self.dropping or self.names or self.files:
            native = native_architecture(current)
            after = edits.install(intent, Named(self.names, local), self.dropping, native, lenient=self.lenient)
        return with_recommends(current, intent, after, self.recommends)


def with_recommends(current: Transaction, before: Intent, after: Intent, said: bool | None) -> Intent:
    """The intent ``after`` with the choice about recommended packages: given now, recorded or configured."""
    if said is not None:
        return replace(after, recommends=said)
    if after != before and after.recommends is None:
        # Only with a change: the setting alone must not cause a new layer.
        return replace(after, recommends=current.config.recommends)
    return after


def split(packages: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Split words into expressions and files. Raises PackageError for a file that is missing."""
    names = [name for name in packages if not requests.is_file(name)]
    files = [Path(name) for name in packages if requests.is_file(name)]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise PackageError(f"{missing[0]} does not exist", "\n".join(missing[1:]), "Nothing was changed.")
    return names, files


def import_files(current: Transaction, files: Sequence[Path], *, again: bool = False) -> list[LocalPackage]:
    """Put files that the user handed over into the package cache; a dry run stores nothing and only looks at them.

    Raises PackageError, SpaceError.
    """
    if not files:
        return []
    if not current.dry_run:
        recovery.mark_unsynced(current.sysroot)
    with current.phase("import"), Unpacker() as unpacker:
        if current.dry_run:
            imported = [preview(current.area, unpacker, file.absolute()) for file in files]
            current.looked_at.update((cached.sha256, cached) for cached in imported)
        else:
            importer = Importer(current.repo, current.area, unpacker, Room(current.area))
            imported = [import_deb(importer, file.absolute(), again=again) for file in files]
    return [LocalPackage(cached.sha256, cached.package) for cached in imported]


def check_names(words: Sequence[str]) -> None:
    for word in words:
        match = requests.parse_expression(word)
        if match["version"] is not None or match["suite"] is not None:
            raise UsageError(f"'{word}' is not a package name", resolution="Write NAME or NAME:ARCH alone.")


def check_overrides(current: Transaction, before: Intent, after: Intent) -> None:
    """Raises ResolveError for overrides of packages that the base does not have, unless they are on record already:
    another base makes those inactive."""
    base = _base_packages(current)
    native = dpkg.native(base)
    known = {requests.key_of(package, native) for package in base} | requests.overridden(before, native)
    if absent := sorted(requests.overridden(after, native) - known):
        raise ResolveError(
            f"not in the base: {', '.join(absent)}",
            resolution="Layered packages are changed with 'apt-ostree install' and 'apt-ostree uninstall', or with "
            "--install in the same step.",
        )


def native_architecture(current: Transaction) -> str:
    """The native architecture of the base in use, which requests need not name (dpkg.native). Raises TreeError."""
    return dpkg.native(_base_packages(current))


def _base_packages(current: Transaction) -> list[Package]:
    return package_list(current.repo, commits.base_of(current.repo, current.basis).checksum)
