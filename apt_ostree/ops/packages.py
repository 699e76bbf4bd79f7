"""Install, uninstall and override: edit the recorded intent, then rebuild the layer from the pristine base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import PackageError, ResolveError, UsageError
from ..inputs import debconf, requests
from ..layering.importing import import_deb
from ..model import Intent, LocalPackage, Package
from ..reporter import Reporter
from ..system import origin
from ..system.inventory import package_list
from ..tools import deb, dpkg
from . import commits, recovery
from . import transaction as tx
from .layer import Options, Outcome, reach, relayer, standing
from .transaction import Settings, Transaction


def install(settings: Settings, edit: Edit, options: Options, reporter: Reporter, *, again: bool = False) -> Outcome:
    """Lay further packages over the base; ``again`` fetches those named anew and runs every script once more.

    Raises UsageError, ResolveError, DownloadError, PackageError, ScriptError, SpaceError, TreeError; nothing has
    changed then."""
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        target = standing(current)
        after = edit.apply(current, target.intent, anew=again)
        named = {*map(requests.name_of, edit.names), *(deb.control(file)["package"] for file in edit.files)}
        target = replace(target, intent=after, anew=frozenset(named) if again else frozenset())
        return reach(current, settings, target, options)


@dataclass(frozen=True, slots=True)
class Edit:
    """Requests to add and to drop, checked in their form before a transaction begins."""

    names: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    dropping: tuple[str, ...] = ()
    recommends: bool | None = None
    lenient: bool = False
    """Whether what nobody requested counts as dropped already."""

    @classmethod
    def of(
        cls,
        packages: Sequence[str],
        uninstall: Sequence[str],
        recommends: bool | None = None,
        *,
        lenient: bool = False,
    ) -> Edit:
        """Raises UsageError for what is no package expression, and PackageError for a file that is no package."""
        names, files = split(packages)
        for name in [*names, *uninstall]:
            requests.parse_expression(name)
        return cls(tuple(names), tuple(files), tuple(uninstall), recommends, lenient)

    def apply(self, current: Transaction, intent: Intent, *, anew: bool = False) -> Intent:
        """The intent with these changes; files are imported. Raises ResolveError and PackageError."""
        after = intent
        if self.dropping or self.names or self.files:
            native = native_architecture(current)
            after = requests.drop(after, self.dropping, native, lenient=self.lenient)
            after = requests.add(after, self.names, import_files(current, self.files, anew=anew), native)
        return with_recommends(current, intent, after, self.recommends)


def with_recommends(current: Transaction, before: Intent, after: Intent, said: bool | None) -> Intent:
    """The intent ``after`` with the choice about recommended packages: what was said now, or on record, or set."""
    if said is not None:
        return replace(after, recommends=said)
    if after != before and after.recommends is None:
        # Only with a change: the setting alone must not lay anything anew.
        return replace(after, recommends=current.config.recommends)
    return after


def reset(settings: Settings, *, layers: bool, overrides: bool, initramfs: bool, reporter: Reporter) -> Outcome:
    """Back to the pure base: without these parts of what was asked for, or without all of them where none is named."""
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        before = standing(current).intent
        after = requests.cleared(before, layers=layers, overrides=overrides, initramfs=initramfs)
        return relayer(current, settings, after, Options(cache_only=True))


def answers(file: Path | None) -> str:
    """What a file tells debconf. Raises UsageError."""
    return debconf.read(file) if file is not None else ""


def uninstall(
    settings: Settings, packages: Sequence[str], every: bool, reporter: Reporter, *, lenient: bool = False
) -> Outcome:
    """Drop requests, or all of them; needs no network. Raises ResolveError for what nobody requested, unless
    ``lenient``."""
    tx.require_root()
    for name in packages:
        requests.parse_expression(name)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        if every:
            after = replace(before, requested=(), requested_local=())
        else:
            after = requests.drop(before, packages, native_architecture(current), lenient=lenient)
        return relayer(current, settings, after, Options(cache_only=True))


def override_remove(
    settings: Settings, packages: Sequence[str], installing: Sequence[str], options: Options, reporter: Reporter
) -> Outcome:
    """Leave base packages out, as ``apt-get remove`` would; further ones may come in their place.

    Raises ResolveError when another package that stays needs one of them.
    """
    return _override(settings, packages, [], installing, options, reporter)


def override_replace(
    settings: Settings, packages: Sequence[str], installing: Sequence[str], options: Options, reporter: Reporter
) -> Outcome:
    """Replace base packages by version, by suite or by file; further ones may come with them.

    Raises ResolveError and UsageError.
    """
    return _override(settings, [], packages, installing, options, reporter)


def _override(
    settings: Settings,
    remove: Sequence[str],
    replacing: Sequence[str],
    installing: Sequence[str],
    options: Options,
    reporter: Reporter,
) -> Outcome:
    tx.require_root()
    _check_names(remove)
    names, files = split(replacing)
    for name in names:
        match = requests.parse_expression(name)
        if match["version"] is None and match["suite"] is None:
            raise UsageError(
                f"override replace needs to know by what to replace {name}",
                resolution=f"Write {name}=VERSION, {name}/SUITE, or the path of a .deb file.",
            )
    wanted, wanted_files = split(installing)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        local = import_files(current, files)
        native = native_architecture(current)
        check_overrides(current, before, requests.override(Intent(), remove, names, local, native))
        after = requests.override(before, remove, names, local, native)
        after = requests.add(after, wanted, import_files(current, wanted_files), native)
        return relayer(current, settings, with_recommends(current, before, after, options.recommends), options)


def _check_names(words: Sequence[str]) -> None:
    for word in words:
        match = requests.parse_expression(word)
        if match["version"] is not None or match["suite"] is not None:
            raise UsageError(f"'{word}' is no package name", resolution="Write NAME or NAME:ARCH alone.")


def check_overrides(current: Transaction, before: Intent, after: Intent) -> None:
    """Raises ResolveError for overrides of packages that the base does not have, unless they are on record already:
    another base makes those inactive."""
    base = _base_packages(current)
    native = dpkg.native(base)
    known = {requests.key_of(package, native) for package in base} | requests.overridden(before, native)
    if absent := sorted(requests.overridden(after, native) - known):
        raise ResolveError(
            f"not in the base: {', '.join(absent)}",
            resolution="Layered packages come and go with 'apt-ostree install' and 'uninstall', or in the same step "
            "with --install.",
        )


def native_architecture(current: Transaction) -> str:
    """The native architecture of the base in use, which requests need not name (dpkg.native). Raises TreeError."""
    return dpkg.native(_base_packages(current))


def _base_packages(current: Transaction) -> list[Package]:
    return package_list(current.repo, commits.base_of(current.repo, current.basis).checksum)


def override_reset(
    settings: Settings, packages: Sequence[str], every: bool, reporter: Reporter, *, lenient: bool = False
) -> Outcome:
    """Give base packages back as the base has them; needs no network. Raises ResolveError for those that are as the
    base has them, unless ``lenient``."""
    tx.require_root()
    _check_names(packages)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        native = native_architecture(current)
        names = sorted(requests.overridden(before, native)) if every else packages
        after = requests.reset(before, names, native, lenient=lenient)
        return relayer(current, settings, after, Options(cache_only=True))


def split(packages: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Expressions and files. Raises PackageError for a file that is missing or is no package."""
    names = [name for name in packages if not requests.is_file(name)]
    files = [Path(name) for name in packages if requests.is_file(name)]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise PackageError("there is no such file", "\n".join(missing), "Nothing was changed.")
    for file in files:
        deb.control(file)
    return names, files


def import_files(current: Transaction, files: Sequence[Path], *, anew: bool = False) -> list[LocalPackage]:
    """Put files that the user handed over into the package cache. Raises PackageError."""
    if not files:
        return []
    recovery.mark_unsynced(current.sysroot)
    with current.phase("import"):
        imported = [import_deb(current.repo, current.area, file.absolute(), anew=anew) for file in files]
    return [LocalPackage(cached.sha256, cached.package) for cached in imported]
