"""Install and uninstall: edit the recorded intent, then rebuild the layer from the pristine base."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from .. import __version__, apt, assemble, dpkg, layout, origin, ostree, pkgcache, sysroot
from ..console import Reporter
from ..errors import AptOstreeError, PackageError, ResolveError, UsageError
from ..fs import check_space, remove_tree
from ..model import CommitInfo, Deployment, Intent, LocalPackage, Package, Plan, Solved
from ..pkgcache import Cached
from . import transaction as tx
from .transaction import Settings, Transaction

ENGINE = 1
"""Part of every layer's inputs: raised when the engine would make another tree of the same inputs."""

WORKERS = 2
"""Downloads and imports at once; each import keeps two processes busy."""

# apt-get(8) takes a minus at the end of a name for "remove it".
_EXPRESSION = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*[a-z0-9+])(?::(?P<arch>[a-z0-9-]+))?(?:=(?P<version>[A-Za-z0-9.+:~-]+)|/(?P<suite>[a-z0-9.-]+))?"
)


@dataclass(frozen=True, slots=True)
class Options:
    """How packages are resolved: ``recommends`` None is what the deployment recorded, or the target's setting."""

    cache_only: bool = False
    download_only: bool = False
    recommends: bool | None = None
    allow_inactive: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two package sets. ``changed`` pairs old and new."""

    added: tuple[Package, ...] = ()
    removed: tuple[Package, ...] = ()
    changed: tuple[tuple[Package, Package], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an operation on packages, before (``dry_run``) or after it was done."""

    changed: bool
    message: str
    plan: Plan = field(default_factory=Plan)
    change: Change = field(default_factory=Change)
    deployment: Deployment | None = None
    commit: str | None = None
    reused: bool = False
    dry_run: bool = False
    download: int = 0
    """Bytes that have to be fetched."""


def parse_expression(text: str) -> re.Match[str]:
    """Check a package expression's form (policy 5.6.1, apt-get(8)). Raises UsageError."""
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        shown = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise UsageError(
            f"'{shown}' is no package expression",
            "a package is NAME, NAME=VERSION, NAME/SUITE, NAME:ARCH, or a file: ./NAME.deb",
            "Nothing was changed. Write each package as an argument of its own.",
        )
    return match


def is_file(argument: str) -> bool:
    """Whether an argument names a .deb file: it has a slash and ends so."""
    return "/" in argument and argument.endswith(".deb")


def install(
    settings: Settings,
    packages: Sequence[str],
    options: Options,
    reporter: Reporter,
    uninstall: Sequence[str] = (),
) -> Outcome:
    """Lay further packages over the base. Raises UsageError, ResolveError, DownloadError, PackageError,
    ScriptError, SpaceError, TreeError; nothing has changed then."""
    tx.require_root()
    names = [name for name in packages if not is_file(name)]
    files = [Path(name) for name in packages if is_file(name)]
    for name in [*names, *uninstall]:
        parse_expression(name)
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise PackageError("there is no such file", "\n".join(missing), "Nothing was changed.")
    for file in files:
        dpkg.control(file)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        after = _without(before, uninstall) if uninstall else before
        local = []
        if files:
            tx.mark_unsynced(current.sysroot)
        for file in files:
            cached = pkgcache.import_deb(current.repo, current.area, file.absolute())
            local.append(LocalPackage(cached.sha256, cached.package))
        after = _with(after, names, local)
        if options.recommends is not None:
            after = replace(after, recommends=options.recommends)
        return _relayer(current, settings, before, after, options)


def uninstall(
    settings: Settings, packages: Sequence[str], every: bool, options: Options, reporter: Reporter
) -> Outcome:
    """Drop requests, or all of them; needs no network. Raises ResolveError for what nobody requested."""
    tx.require_root()
    for name in packages:
        parse_expression(name)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        after = Intent() if every else _without(before, packages)
        return _relayer(current, settings, before, after, replace(options, cache_only=True))


def _with(intent: Intent, names: Sequence[str], local: Sequence[LocalPackage]) -> Intent:
    """The intent with more requests; one for the same package and architecture replaces the older one."""
    requested = list(intent.requested)
    for name in names:
        if name in requested:
            continue
        new = parse_expression(name)
        same = [old for old in requested if _same_package(parse_expression(old), new)]
        # A bare name asks for no version in particular: one that is there fulfils it.
        if same and new["version"] is None and new["suite"] is None:
            continue
        requested = [old for old in requested if old not in same] + [name]
    replaced = {entry.package.name for entry in local}
    kept = [entry for entry in intent.requested_local if entry.package.name not in replaced]
    return replace(intent, requested=tuple(requested), requested_local=(*kept, *local))


def _same_package(a: re.Match[str], b: re.Match[str]) -> bool:
    return (a["name"], a["arch"]) == (b["name"], b["arch"])


def _without(intent: Intent, names: Sequence[str]) -> Intent:
    requested, local, unknown = list(intent.requested), list(intent.requested_local), []
    for name in names:
        asked = parse_expression(name)
        gone = [r for r in requested if r == name or (r != name and _asks_for(parse_expression(r), asked))]
        gone_local = [entry for entry in local if entry.package.name == asked["name"]]
        if not gone and not gone_local:
            unknown.append(name)
        requested = [r for r in requested if r not in gone]
        local = [entry for entry in local if entry not in gone_local]
    if unknown:
        have = [*intent.requested, *(entry.package.name for entry in intent.requested_local)]
        raise ResolveError(
            f"not requested: {', '.join(unknown)}",
            f"requested are: {', '.join(have) or 'none'}",
            "A base package goes with 'apt-ostree override remove'; a dependency with what needs it.",
        )
    return replace(intent, requested=tuple(requested), requested_local=tuple(local))


def _asks_for(request: re.Match[str], asked: re.Match[str]) -> bool:
    return request["name"] == asked["name"] and asked["arch"] in (None, request["arch"]) and asked["version"] is None


def _relayer(current: Transaction, settings: Settings, before: Intent, after: Intent, options: Options) -> Outcome:
    base = tx.base_of(current.repo, current.basis)
    old_info = tx.commit_of(current.repo, current.basis)
    if after == before:
        return Outcome(False, "No change: everything asked for is already so.")
    if after.empty:
        plan = Plan()
        change = _difference(locked(old_info), [])
        if settings.dry_run:
            return Outcome(True, "Would return to the base.", change=change, dry_run=True)
        return _publish(current, base.checksum, base, after, plan, change)
    tree = assemble.base_checkout(current.repo, current.area, base.checksum)
    after, provided = _drop_provided(after, before, tree, options)
    if after == before:
        return Outcome(False, "No change: " + "; ".join(provided) + ".")
    for message in provided:
        current.reporter.warn(message)
    current.reporter.step("Resolving dependencies")
    solver = _prepare_apt(current, tree, base, after, options)
    lock = locked(old_info)
    plan = _resolve(current, solver, tree, after, lock)
    change = _difference(lock, [solved.package for solved in plan.packages])
    missing = [s for s in plan.packages if pkgcache.load(current.area, s.sha256) is None]
    outcome = Outcome(True, "", plan, change, download=sum(s.size for s in missing), dry_run=settings.dry_run)
    if settings.dry_run:
        return replace(outcome, message="Would change:")
    if options.cache_only and missing:
        raise PackageError(
            "not in the cache: " + ", ".join(s.name for s in missing),
            resolution="Run it without -C, or 'apt-ostree install' with a network.",
        )
    # The unpacked files are written once; their packages are kept besides while they are imported.
    check_space(
        current.repo,
        sum(s.installed_size for s in plan.packages) + 2 * sum(s.size for s in missing),
        "the packages",
    )
    tx.mark_unsynced(current.sysroot)
    cached = _fetch(current, solver, plan, missing)
    if options.download_only:
        return replace(outcome, changed=bool(missing), message="Downloaded and imported; nothing else was done.")
    inputs = _inputs_digest(base, after, plan)
    commit = _find_layer(current, inputs)
    reused = commit is not None
    if commit is None:
        commit = _build(current, tree, base, after, plan, cached, inputs)
    return replace(_publish(current, commit, base, after, plan, change), reused=reused)


def _drop_provided(after: Intent, before: Intent, tree: Path, options: Options) -> tuple[Intent, list[str]]:
    """Leave out new requests that the base fulfils by itself, unless they were asked to be kept."""
    if options.allow_inactive:
        return after, []
    native = dpkg.architectures(tree)[0]
    have = {(entry.package.name, entry.package.architecture): entry.package for entry in dpkg.installed(tree)}
    kept, messages = [], []
    for request in after.requested:
        match = parse_expression(request)
        found = have.get((match["name"], match["arch"] or native)) or have.get((match["name"], "all"))
        if (
            request in before.requested
            or found is None
            or match["version"] not in (None, found.version)
            or match["suite"]
        ):
            kept.append(request)
        else:
            messages.append(f"{match['name']} {found.version} is part of the base")
    return replace(after, requested=tuple(kept)), messages


def _prepare_apt(current: Transaction, tree: Path, base: CommitInfo, after: Intent, options: Options) -> apt.Apt:
    recommends = after.recommends
    etc = current.sysroot.path / current.merge.path / "etc"
    target = apt.Target(tree, etc if etc.is_dir() else tree / "usr/etc", dpkg.architectures(tree))
    # apt's area shows at RUN in this namespace: a path that its unprivileged user can reach.
    solver = apt.prepare(tx.RUN, target, base.checksum, recommends)
    if not options.cache_only:
        try:
            if apt.refresh(solver):
                current.reporter.step("Refreshed the package lists")
        except AptOstreeError as error:
            if not apt.have_lists(solver):
                raise
            current.reporter.warn(f"{error.brief}; going on with those of before ({error.detail.splitlines()[0]})")
    return solver


def locked(info: CommitInfo) -> list[Solved]:
    """The solved set that a layer's commit carries; empty for a base."""
    entries = ostree.load_json(info, "apt-ostree.lock")
    if not isinstance(entries, list):
        return []
    return [Solved(Package(*entry[:3]), *entry[3:]) for entry in entries]


def _resolve(current: Transaction, solver: apt.Apt, tree: Path, after: Intent, lock: list[Solved]) -> Plan:
    """Ask apt for the whole layer over the pristine base; the versions of the lock are preferred.

    Raises ResolveError; when it is the base that stands in the way, it names the packages.
    """
    base = dpkg.installed(tree)
    locals_ = {entry.package: entry.sha256 for entry in after.requested_local}
    known = {s.package: s for s in lock}
    available = [c for s in lock if (c := pkgcache.load(current.area, s.sha256)) is not None]
    for entry in after.requested_local:
        cached = pkgcache.load(current.area, entry.sha256)
        if cached is None:
            raise PackageError(
                f"{entry.package.name} is not in the cache any more",
                f"it was installed from a file with the SHA-256 {entry.sha256}",
                "Install that file again, or uninstall it.",
            )
        if cached not in available:
            available.append(cached)
    sources = pkgcache.packages_file(available, current.area / "tmp/Packages") if available else None
    requests = [*after.requested, *(package.exactly for package in locals_)]
    pins = [(entry.package, apt.PRIORITY_BASE) for entry in base]
    locked = [(solved.package, apt.PRIORITY_LOCK) for solved in lock if solved.package not in {e.package for e in base}]
    apt.write_pins(solver, [*locked, *pins])
    actions = apt.simulate(solver, requests, sources)
    if isinstance(actions, list) and not _touches_base(actions):
        return _plan(current, solver, actions, known, locals_, after)
    apt.write_pins(solver, locked)
    free = apt.simulate(solver, requests, sources)
    if isinstance(free, list) and (culprits := _touches_base(free)):
        raise ResolveError(
            f"{', '.join(after.names)} cannot be laid over this base",
            "the base would have to change:\n" + "\n".join(culprits),
            "Wait for a base that has them ('apt-ostree upgrade'), or change the base ('apt-ostree override').",
        )
    failed = free if not isinstance(free, list) else actions
    if isinstance(failed, list):
        raise ResolveError("apt found no solution over this base", resolution="Nothing was changed.")
    raise apt.explain_failure(solver, failed, after)


def _touches_base(actions: Sequence[apt.Action]) -> list[str]:
    """What apt would do to packages of the base, a line each. A layer only ever adds."""
    lines = []
    for action in actions:
        if action.verb == "Remv":
            lines.append(f"{action.name} {action.old} would be removed")
        elif action.verb == "Inst" and action.old is not None:
            lines.append(f"{action.name} {action.old} would become {action.version}")
    return lines


def _plan(
    current: Transaction,
    solver: apt.Apt,
    actions: Sequence[apt.Action],
    known: Mapping[Package, Solved],
    locals_: Mapping[Package, str],
    intent: Intent,
) -> Plan:
    wanted = [action for action in actions if action.verb == "Inst"]
    unknown = [a.package for a in wanted if a.package not in known and a.package not in locals_]
    stanzas = apt.show(solver, unknown)
    solved = []
    for action in wanted:
        package = action.package
        if package in locals_:
            cached = pkgcache.load(current.area, locals_[package])
            assert cached is not None
            solved.append(cached.solved())
        elif package in known:
            solved.append(known[package])
        elif package in stanzas:
            solved.append(apt.solved(action, stanzas[package][0]))
        else:
            raise ResolveError(
                f"the archive's index lists no file of {package}", resolution="Run 'apt-ostree refresh-md'."
            )
    asked = {parse_expression(request)["name"] for request in intent.requested}
    automatic = {s.package for s in solved if s.package.name not in asked and s.package not in locals_}
    return Plan(tuple(solved), apt.rounds(actions), frozenset(automatic))


def _difference(before: Sequence[Solved], after: Sequence[Package]) -> Change:
    return difference([solved.package for solved in before], after)


def difference(before: Sequence[Package], after: Sequence[Package]) -> Change:
    """What two package sets differ in, by name and architecture."""

    def keyed(packages: Sequence[Package]) -> dict[tuple[str, str], Package]:
        return {(p.name, p.architecture): p for p in packages}

    old, new = keyed(before), keyed(after)
    return Change(
        tuple(sorted(new[key] for key in new.keys() - old.keys())),
        tuple(sorted(old[key] for key in old.keys() - new.keys())),
        tuple(sorted((old[key], new[key]) for key in old.keys() & new.keys() if old[key] != new[key])),
    )


def _fetch(current: Transaction, solver: apt.Apt, plan: Plan, missing: Sequence[Solved]) -> dict[Package, Cached]:
    """Download and import what is new, several at once: a package is imported while others still arrive."""
    if missing:
        size = sum(solved.size for solved in missing) / 1e6
        current.reporter.step(f"Downloading and importing {len(missing)} packages ({size:.1f} MB)")
        _fetch_missing(current, solver, missing)
    found = {}
    for solved in plan.packages:
        cached = pkgcache.load(current.area, solved.sha256)
        assert cached is not None
        found[solved.package] = cached
    return found


def _fetch_missing(current: Transaction, solver: apt.Apt, missing: Sequence[Solved]) -> None:
    archives = solver.area / "archives"
    done = 0
    guard = threading.Lock()

    def importing(solved: Solved) -> None:
        file = archives / apt.archive_name(solved.package)
        pkgcache.import_deb(current.repo, current.area, file, solved.sha256)
        file.unlink()

    def batch(packages: Sequence[Solved]) -> list[Solved]:
        wanted = [s for s in packages if not (archives / apt.archive_name(s.package)).is_file()]
        if wanted:
            apt.download(solver, [s.package for s in wanted])
        return list(packages)

    with ThreadPoolExecutor(WORKERS) as downloads, ThreadPoolExecutor(WORKERS) as imports:
        # One worker's death must end the others' waiting, hence the explicit cancel.
        try:
            pending = []
            for future in as_completed([downloads.submit(batch, part) for part in _batches(missing)]):
                pending += [imports.submit(importing, solved) for solved in future.result()]
            for imported in as_completed(pending):
                imported.result()
                with guard:
                    done += 1
                current.reporter.progress(done, len(missing))
        except BaseException:
            downloads.shutdown(wait=False, cancel_futures=True)
            imports.shutdown(wait=False, cancel_futures=True)
            raise


def _batches(missing: Sequence[Solved]) -> list[list[Solved]]:
    """Parts of about equal size: few enough for apt's start-up cost, enough to overlap with imports."""
    count = min(len(missing), 2 * WORKERS)
    parts: list[list[Solved]] = [[] for _ in range(count)]
    weights = [0] * count
    for solved in sorted(missing, key=lambda s: s.size, reverse=True):
        lightest = weights.index(min(weights))
        parts[lightest].append(solved)
        weights[lightest] += solved.size
    return parts


def _inputs_digest(base: CommitInfo, intent: Intent, plan: Plan) -> str:
    """One digest over all that makes a layer what it is; equal digests mean an equal tree."""
    inputs = {
        "engine": ENGINE,
        "importer": pkgcache.IMPORTER,
        "base": base.checksum,
        "requested": sorted(intent.requested),
        "requested-local": sorted(map(str, intent.requested_local)),
        "recommends": intent.recommends,
        "packages": [[*_identity(s.package), s.sha256] for s in plan.packages],
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _identity(package: Package) -> list[str]:
    return [package.name, package.version, package.architecture]


def _find_layer(current: Transaction, inputs: str) -> str | None:
    """A deployed commit made from the very same inputs."""
    for deployment in current.sysroot.deployments:
        info = ostree.commit_info(current.repo, deployment.checksum)
        if info is not None and info.metadata.get("apt-ostree.inputs-sha256") == inputs:
            return info.checksum
    return None


def _build(
    current: Transaction,
    tree: Path,
    base: CommitInfo,
    intent: Intent,
    plan: Plan,
    cached: Mapping[Package, Cached],
    inputs: str,
) -> str:
    current.reporter.step(f"Laying {len(plan.packages)} packages over the base")
    work = current.area / "tmp/layer"
    work.mkdir(mode=0o700)
    day = base.timestamp // 86400
    built = assemble.assemble(current.repo, work, tree, plan, cached, current.reporter, current.log, day)
    current.reporter.step("Committing")
    commit = assemble.commit(
        current.repo,
        work,
        built,
        base.checksum,
        functools.partial(
            ostree.commit,
            ref=tx.PENDING_REF,
            subject=f"Layer {', '.join(intent.names)}",
            metadata=_metadata(tree, base, intent, plan, inputs),
        ),
    )
    remove_tree(work)
    layout.audit(current.repo, commit)
    return commit


def _metadata(tree: Path, base: CommitInfo, intent: Intent, plan: Plan, inputs: str) -> dict[str, str]:
    present = [entry.package for entry in dpkg.installed(tree)] + [solved.package for solved in plan.packages]
    kept = {
        key: value
        for key, value in base.metadata.items()
        if key in {"version", "ostree.linux", "ostree.bootable", "apt-ostree.kernel-args"}
    }
    return kept | {
        "apt-ostree.clientlayer": "true",
        "apt-ostree.engine": f"{ENGINE} ({__version__})",
        "apt-ostree.packages": json.dumps(intent.names),
        "apt-ostree.removed-base-packages": "[]",
        "apt-ostree.replaced-base-packages": "[]",
        "apt-ostree.inputs-sha256": inputs,
        "apt-ostree.lock": json.dumps(
            [[*_identity(s.package), s.sha256, s.size, s.installed_size, s.sources] for s in plan.packages]
        ),
        "apt-ostree.pkglist": json.dumps(sorted(_identity(package) for package in present)),
    }


def _publish(
    current: Transaction, commit: str, base: CommitInfo, intent: Intent, plan: Plan, change: Change
) -> Outcome:
    current.reporter.step("Deploying")
    tx.hold_bases(current.sysroot, also=base.checksum)
    new_origin = origin.with_intent(current.basis.origin, intent)
    fresh = sysroot.publish(current.sysroot, current.osname, commit, new_origin)
    tidy(current.reloaded(fresh))
    deployment = fresh.of(current.osname)[0]
    return Outcome(True, "", plan, change, deployment, commit)


def tidy(current: Transaction) -> None:
    """Drop what no deployment needs any more: refs, cached packages, objects."""
    loaded = current.sysroot
    if tx.PENDING_REF in ostree.refs(loaded.repo, "apt-ostree"):
        ostree.delete_ref(loaded.repo, tx.PENDING_REF)
    tx.hold_bases(loaded)
    keep = set()
    for deployment in loaded.deployments:
        keep |= {s.sha256 for s in locked(tx.commit_of(loaded.repo, deployment))}
        keep |= {entry.sha256 for entry in origin.intent(deployment.origin).requested_local}
    pkgcache.collect_garbage(loaded.repo, loaded.area, keep)
