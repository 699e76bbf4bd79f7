"""From an intent to a plan: apt's own answer over the pristine base, with the lock's versions preferred."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import AptOstreeError, Interrupted, PackageError, ResolveError, UnavailableError
from ..host import proc
from ..inputs import requests
from ..layering import cache
from ..layering.base import BaseTree
from ..layering.cache import Cached
from ..model import Intent, LocalPackage, Package, Plan, Solved
from ..tools import apt, apt_area, apt_failures, dpkg
from . import target
from . import transaction as tx
from .fitting import Search, fit
from .transaction import Transaction


def prepare_apt(
    current: Transaction, base: BaseTree, after: Intent, *, cache_only: bool, force: bool = False
) -> tuple[apt_area.Apt, AptOstreeError | None]:
    """apt over the base, with the next deployment's sources (target.py), and with fresh lists unless ``cache_only``.

    ``force`` fetches the lists even if they are fresh. An archive that cannot be reached stops nothing that does not
    need it: where there are no earlier lists, the error is returned, for the case that resolving then fails.
    """
    # apt's area shows at RUN in this namespace: a path that its unprivileged user can reach.
    solver = apt_area.prepare(tx.RUN, target.of_base(current, base), base.checksum, after.recommends)
    target.warn_of_release(current, base, solver)
    if not cache_only:
        try:
            if apt.refresh(solver, force=force):
                current.reporter.step("Refreshed the package lists")
        except Interrupted:
            raise
        except AptOstreeError as error:
            had = apt.have_lists(solver)
            first = error.detail.partition("\n")[0]
            those = "with the lists fetched before" if had else "without them"
            current.reporter.warn(f"{error.brief}; continuing {those} ({first})")
            return solver, None if had else error
    return solver, None


@dataclass(frozen=True, slots=True)
class Stock:
    """The packages that are here already: those of the lock, and entries of the package cache by their digests."""

    lock: Sequence[Solved]
    cached: Mapping[str, Cached]


@dataclass(frozen=True, slots=True)
class Asked:
    """The intent to resolve, and how the requests in it came there."""

    intent: Intent
    new: tuple[str, ...] = ()
    """The requests that are not on record yet, as people read them (Intent.names): an error names these."""
    optional: tuple[str, ...] = ()
    """Requests that may be left out where no archive has them."""

    def has_requested(self, blamed: Iterable[str]) -> bool:
        """True if all that an error names are new requests, and no overrides."""
        return set(blamed) <= set(self.new) & set(self.intent.requested)

    def blamed(self, packages: Iterable[str] = ()) -> list[str]:
        """The requests that an error names, of which ``packages`` failed: what was newly asked, else the packages."""
        failed = set(packages)
        hit = [request for request in self.new if requests.name_of(request.removeprefix("-")) in failed]
        return hit or list(self.new) or sorted(failed) or self.intent.names


@dataclass(frozen=True, slots=True)
class Question:
    """The question to apt, and the changes to the base that its answer may make."""

    requests: tuple[str, ...]
    pins: tuple[tuple[Package, int], ...]
    """The base's versions, apart from what the question changes."""
    removable: frozenset[str]
    """Packages by their keys (requests.key), as are the ``replaceable``."""
    replaceable: frozenset[str]
    native: str


def resolve(current: Transaction, solver: apt_area.Apt, base: BaseTree, asked: Asked, stock: Stock) -> Plan:
    """Ask apt for the whole layer over the pristine base; the versions of the lock are preferred.

    Optional requests that no archive can fulfil are left out, with a warning. Raises ResolveError, UnavailableError;
    when it is the base that stands in the way, it names the packages.
    """
    try:
        return _resolve(current, solver, base, asked, stock)
    except UnavailableError as error:
        left_out = {request for request in asked.optional if requests.name_of(request) in error.problems}
        if not set(error.problems) <= set(map(requests.name_of, left_out)):
            raise
        current.reporter.warn(f"left out this time: {'; '.join(error.problems.values())}")
        rest = tuple(request for request in asked.intent.requested if request not in left_out)
        smaller = replace(asked, intent=replace(asked.intent, requested=rest))
        return replace(_resolve(current, solver, base, smaller, stock), left_out=tuple(sorted(left_out)))


def _resolve(current: Transaction, solver: apt_area.Apt, base: BaseTree, asked: Asked, stock: Stock) -> Plan:
    after, lock = asked.intent, stock.lock
    local = {entry.package: _imported(entry, stock) for entry in after.local}
    sources = _cached_packages(current, local.values(), stock)
    question = _question(base.packages, after)
    for name, why in sorted(inactive_overrides(base.packages, after).items()):
        current.reporter.warn(f"the override of {name} is inactive: {why}")
    if not question.requests:
        return Plan()
    if absent := foreign(after.requested, base.architectures):
        raise UnavailableError(absent)
    kept = {requests.key_of(package, base.native) for package, _ in question.pins}
    # A package of the base that was replaced, and is not any longer, is in the lock with its other version.
    locked_pins = [(s.package, apt.PRIORITY_LOCK) for s in lock if requests.key_of(s.package, base.native) not in kept]
    apt.write_pins(solver, [*locked_pins, *question.pins])
    replacing = bool(question.replaceable)
    actions = apt.simulate(solver, question.requests, sources, replacing=replacing)
    if isinstance(actions, proc.Result):
        pins = (*locked_pins, *question.pins)
        search = Search(question.requests, pins, sources, replacing)
        if (found := fit(solver, search, actions)) is not None:
            actions = found.actions
            for name, (taken, newest) in sorted(found.waiting.items()):
                current.reporter.warn(f"{name} {newest} waits for a base that fits it; {taken} is taken")
    if isinstance(actions, list) and not touches_base(actions, question):
        return _plan(solver, actions, {s.package: s for s in lock}, local, base.packages, after)
    apt.write_pins(solver, locked_pins)
    free = apt.simulate(solver, question.requests, sources, replacing=replacing)
    if isinstance(free, list) and (culprits := touches_base(free, question)):
        gone = [action.name for action in free if action.verb == "Remv"]
        raise _skew(asked, culprits, apt_failures.unmet(actions) if isinstance(actions, proc.Result) else [], gone)
    failed = free if not isinstance(free, list) else actions
    if isinstance(failed, list):
        raise ResolveError("apt found no solution over this base", resolution="Nothing was changed.")
    layered = {s.name for s in lock}
    unmet = apt_failures.unmet(failed)
    conflicts = [entry for entry in unmet if entry.found is not None]
    if tied := [entry for entry in conflicts if entry.name in layered]:
        raise _tied(asked, tied)
    if skewed := [entry for entry in conflicts if entry.name in {package.name for package in base.packages}]:
        raise _skew(asked, [], skewed)
    recorded = {requests.name_of(request) for request in asked.intent.requested if request not in asked.new}
    if asked.has_requested(asked.blamed()) and (others := sorted(recorded & apt_failures.clashing(failed))):
        raise _clash(asked, others)
    raise apt_failures.explain_failure(solver, failed, asked.blamed(entry.package for entry in unmet))


def foreign(requested: Iterable[str], architectures: Sequence[str]) -> dict[str, str]:
    """The requests for packages of an architecture that a base has none of: the name, and the problem."""
    only = ", ".join(architectures)
    return {
        requests.name_of(request): f"{request}: the base has packages of {only} alone; its image has to add the "
        f"architecture (dpkg --add-architecture {found})"
        for request in requested
        if (found := requests.parse_expression(request)["arch"]) not in (None, "all", *architectures)
    }


def _tied(asked: Asked, unmet: Sequence[apt_failures.Unmet]) -> ResolveError:
    """The error where other versions of layered packages are needed: only an upgrade lets go of those that it names."""
    blamed = asked.blamed(entry.package for entry in unmet)
    names = " ".join(sorted({entry.name for entry in unmet}))
    return ResolveError(
        f"{apt_failures.cannot(blamed)}: other versions of layered packages are needed",
        "\n".join(map(str, unmet)),
        f"Nothing was changed. To upgrade them in the same step: apt-ostree upgrade {names} (add --install for new "
        "packages)",
    )


def _clash(asked: Asked, others: Sequence[str]) -> ResolveError:
    """The error where what is newly asked for cannot be beside packages that were requested before."""
    blamed = asked.blamed()
    drop = " ".join(f"--uninstall {name}" for name in others)
    return ResolveError(
        f"{apt_failures.cannot(blamed)}: it conflicts with {', '.join(others)}, which is layered",
        resolution=f"Nothing was changed. To have it in that place: apt-ostree install {' '.join(blamed)} {drop}",
    )


def _skew(
    asked: Asked, culprits: Sequence[str], unmet: Sequence[apt_failures.Unmet], gone: Sequence[str] = ()
) -> ResolveError:
    """The error where the archives are ahead of the base, or behind it: the packages that do not fit, and the ways out.

    ``culprits`` says what apt would do to the base if it were allowed to, ``gone`` names what it would remove.
    """
    blamed = asked.blamed(entry.package for entry in unmet)
    if gone and len(gone) == len(culprits) and asked.has_requested(blamed):
        return ResolveError(
            f"{apt_failures.cannot(blamed)} over this base",
            "\n".join(["the base would have to change:", *culprits]),
            f"Nothing was changed. To have it in that place: apt-ostree override remove {' '.join(gone)} --install "
            + " --install ".join(blamed),
        )
    drop = "" if asked.new else f", or drop what does not fit: apt-ostree uninstall {' '.join(blamed)}"
    return ResolveError(
        f"{apt_failures.cannot(blamed)} over this base",
        "\n".join([*map(str, unmet), *(["the base would have to change:", *culprits] if culprits else [])]),
        "Nothing was changed. Wait for a base that fits (apt-ostree upgrade), change a package of this one (apt-ostree "
        f"override replace){drop}",
    )


def _imported(entry: LocalPackage, stock: Stock) -> Cached:
    """A package that came as a file, from the cache. Raises PackageError."""
    cached = stock.cached.get(entry.sha256)
    if cached is None:
        raise PackageError(
            f"{entry.package.name} is no longer in the cache",
            f"it was installed from a file with the SHA-256 {entry.sha256}",
            "Install that file again, or uninstall it.",
        )
    return cached


def _cached_packages(current: Transaction, local: Iterable[Cached], stock: Stock) -> Path | None:
    """A Packages file of what the cache has of the lock and of local packages; None when that is nothing."""
    available = {s.sha256: stock.cached[s.sha256] for s in stock.lock if s.sha256 in stock.cached}
    available |= {cached.sha256: cached for cached in local}
    return cache.packages_file(available.values(), current.area / "tmp/Packages") if available else None


def _question(base: Sequence[Package], after: Intent) -> Question:
    native = dpkg.native(base)
    moot = inactive_overrides(base, after)
    removing = [name for name in after.remove if requests.key(name, native) not in moot]
    replacing = [item for item in after.replace if requests.key(item, native) not in moot]
    local = [e.package for e in after.replace_local if requests.key_of(e.package, native) not in moot]
    removable = frozenset(requests.key(name, native) for name in removing)
    replaceable = frozenset(requests.key(item, native) for item in replacing)
    replaceable |= {requests.key_of(package, native) for package in local}
    changed = removable | replaceable
    return Question(
        (
            *after.requested,
            *(entry.package.exactly for entry in after.requested_local),
            *replacing,
            *(package.exactly for package in local),
            *(f"{name}-" for name in removing),
        ),
        tuple((package, apt.PRIORITY_BASE) for package in base if requests.key_of(package, native) not in changed),
        removable,
        replaceable,
        native,
    )


def inactive_overrides(base: Sequence[Package], intent: Intent) -> dict[str, str]:
    """The overrides that have no effect on this base: the key of each package (requests.key), and the reason."""
    native = dpkg.native(base)
    versions = {requests.key_of(package, native): package.version for package in base}
    found = {key: "not in the base" for key in requests.overridden(intent, native) if key not in versions}
    for item in intent.replace:
        key, version = requests.key(item, native), item.partition("=")[2]
        if version == versions.get(key):
            found[key] = f"the base has {version}"
    for entry in intent.replace_local:
        if entry.package in base:
            found[requests.key_of(entry.package, native)] = f"the base has {entry.package.version}"
    return found


def touches_base(actions: Sequence[apt.Action], question: Question) -> list[str]:
    """The changes to packages of the base that nobody asked for, a line each."""
    lines = []
    for action in actions:
        key = requests.key_of(action.package, question.native)
        if action.verb == "Remv" and key not in question.removable:
            lines.append(f"{key} {action.old} would be removed")
        elif action.verb == "Inst" and action.old is not None and key not in question.replaceable:
            lines.append(f"{key} {action.old} would become {action.version}")
    return lines


def _plan(
    solver: apt_area.Apt,
    actions: Sequence[apt.Action],
    known: Mapping[Package, Solved],
    local: Mapping[Package, Cached],
    base: Sequence[Package],
    intent: Intent,
) -> Plan:
    wanted = [action for action in actions if action.verb == "Inst"]
    unknown = [a.package for a in wanted if a.package not in known and a.package not in local]
    stanzas = apt.show(solver, unknown)
    solved = []
    for action in wanted:
        package = action.package
        if package in local:
            solved.append(local[package].solved())
        elif package in known:
            solved.append(known[package])
        elif package in stanzas:
            solved.append(apt.solved(action, stanzas[package][0]))
        else:
            raise ResolveError(
                f"the package lists name no file for {package}",
                resolution="To fetch the lists again: apt-ostree refresh-md --force",
            )
    native = dpkg.native(base)
    _keep_to_lock(solved, known, intent, native)
    by_key = {requests.key_of(package, native): package for package in base}
    replaced = [(old, s.package) for s in solved if (old := by_key.get(requests.key_of(s.package, native))) is not None]
    gone = {requests.key_of(action.package, native) for action in actions if action.verb == "Remv"}
    asked = {requests.key(request, native) for request in intent.requested}
    asked |= {requests.key_of(old, native) for old, _ in replaced}
    # As apt-get does: who asks for a virtual package has chosen the one that came for it.
    asked |= {requests.key_of(action.package, native) for action in wanted if action.provides}
    named = {s.package for s in solved if requests.key_of(s.package, native) in asked}
    automatic = {s.package for s in solved if s.package not in named and s.package not in local}
    return Plan(
        tuple(solved),
        apt.rounds(actions),
        frozenset(automatic),
        tuple(package for key, package in by_key.items() if key in gone),
        tuple(replaced),
    )


def _keep_to_lock(solved: Sequence[Solved], known: Mapping[Package, Solved], intent: Intent, native: str) -> None:
    """Refuse another version of a layered package that nobody asked for: only ``upgrade`` lets go of versions.

    It happens where the locked version is no longer in the archives nor in the cache.
    """
    locked_versions = {requests.key_of(package, native): package for package in known}
    free = {requests.key(item, native) for item in (*intent.requested, *intent.replace) if "=" in item or "/" in item}
    free |= {requests.key_of(entry.package, native) for entry in intent.local}
    changed = [
        f"{key} {old.version} would become {entry.package.version}"
        for entry in solved
        if (key := requests.key_of(entry.package, native)) not in free
        and (old := locked_versions.get(key)) is not None
        and old != entry.package
    ]
    if changed:
        raise ResolveError(
            "layered packages would change versions",
            "\n".join(changed) + "\nthe archives and the cache no longer have the layered versions",
            "Nothing was changed. To accept a new version: apt-ostree install NAME=VERSION",
        )
