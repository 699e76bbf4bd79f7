"""A layer: from a changed intent to a deployed commit, or to the base alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..changes import Change, difference
from ..errors import PackageError, ResolveError, SysrootError, UnavailableError
from ..host.files import check_space
from ..inputs import debconf, requests
from ..layering import assemble, cache
from ..model import CommitInfo, Deployment, Intent, Package, Plan, Solved
from ..system import origin, publication
from ..system.inventory import package_list
from ..tools import apt, dpkg, ostree
from ..tools.apt_area import Apt
from ..tree import etc, kernel
from ..tree.etc import Conflict
from . import build, commits, finish, recovery
from .fetch import fetch
from .goal import Goal, as_is
from .resolve import prepare_apt, resolve
from .transaction import Settings, Transaction


@dataclass(frozen=True, slots=True)
class Options:
    """How packages are resolved: ``recommends`` None is what the deployment recorded, or the target's setting."""

    cache_only: bool = False
    download_only: bool = False
    recommends: bool | None = None
    allow_inactive: bool = False
    answers: str = ""
    """What debconf is answered besides what it was before (debconf.py)."""
    refresh: bool = False
    """Ask the archives for their lists, however fresh those at hand are."""
    skip_missing: bool = False
    """Go on without recorded requests that no archive has any more; they stay on record."""
    security: bool = False
    """Say which changes are security updates."""


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
    bases: tuple[CommitInfo, CommitInfo] | None = None
    """The base before and after."""
    security: tuple[Package, ...] | None = None
    """Those of the new packages that came as security updates; None where nobody asked."""
    etc: tuple[Conflict, ...] = ()
    """In a preview: files of /etc that were changed here and that the new base, as far as is known, changes too."""


def relayer(current: Transaction, settings: Settings, after: Intent, options: Options) -> Outcome:
    """Another intent over the same base, with the versions of what is layered: see ``reach``."""
    return reach(current, settings, replace(as_is(current), intent=after), options)


def reach(current: Transaction, settings: Settings, target: Goal, options: Options) -> Outcome:
    """Make the next deployment what ``target`` states: the one path of all operations on base and packages.

    Raises ResolveError, DownloadError, PackageError, ScriptError, SpaceError, TreeError, SysrootError; nothing
    has changed then.
    """
    now = as_is(current)
    base, before = target.base, now.intent
    old_info = commits.commit_of(current.repo, current.basis)
    if old_info.layered and before.empty:
        raise SysrootError(
            f"deployment {current.basis.index} has lost its requests",
            f"{current.basis.path}.origin records none, and its commit was made for: "
            + " ".join(json.loads(old_info.metadata.get("apt-ostree.packages", "[]"))),
            "Write 'requested=NAME;NAME;' under [packages] there, or boot the one before ('apt-ostree rollback').",
        )
    answers = debconf.merge(_answers(current, before), options.answers)
    after = replace(target.intent, debconf="" if target.intent.empty else debconf.digest(answers))
    target = replace(target, intent=after)
    # What is already so may be different tomorrow where the archives are asked anew.
    if target == now and not options.refresh:
        return Outcome(False, "No change: everything asked for is already so.")
    bases = (now.base, base)
    if after.empty:
        if replace(target, free=now.free, anew=now.anew) == now:
            return Outcome(False, "No change: everything asked for is already so.")
        change = difference(_packages_of(current, old_info), _packages_of(current, base))
        outcome = Outcome(True, "", change=change, bases=bases, dry_run=settings.dry_run)
        if options.security:
            outcome = replace(outcome, security=_security(current, target, outcome, options))
        if settings.dry_run:
            same = base == now.base
            return replace(
                outcome,
                message="Would return to the base." if same else "Would take the base alone:",
                etc=kept_in_etc(current, base, alone=True),
            )
        if options.download_only:
            return _downloaded(current, outcome)
        return publish(current, base.checksum, target, outcome)
    tree = assemble.base_checkout(current.repo, current.area, base.checksum)
    base_packages = [entry.package for entry in dpkg.installed(tree)]
    after, provided = _drop_provided(after, before, tree, options)
    target = replace(target, intent=after)
    if provided and target == now:
        return Outcome(False, "No change: " + "; ".join(provided) + ".")
    for message in provided:
        current.reporter.warn(message)
    if after.initramfs:
        kernel.require_dracut(tree)
    # A file that is not asked for any more does not stand for the archive's package of that version.
    dropped = {entry.sha256 for entry in before.local} - {entry.sha256 for entry in after.local}
    lock = [s for s in commits.locked(old_info) if s.sha256 not in dropped and s.package not in target.free]
    with current.phase("resolve", "Resolving dependencies"):
        solver, dead = prepare_apt(current, tree, base, after, cache_only=options.cache_only, force=options.refresh)
        try:
            plan = _solve(current, solver, tree, target, lock, before, old_info, options)
        except ResolveError as error:
            raise dead or error from None
    inputs = build.inputs_digest(base, after, plan)
    same = inputs == old_info.metadata.get("apt-ostree.inputs-sha256")
    if same and replace(target, free=now.free) == now:
        return Outcome(False, "No change: the base and everything layered are the newest there is.", plan)
    change = difference(_packages_of(current, old_info), plan.present(base_packages))
    _check_kernels(plan, base_packages, tree)
    given = {entry.sha256 for entry in after.local}
    missing = [
        s
        for s in plan.packages
        if cache.load(current.area, s.sha256) is None or (s.name in target.anew and s.sha256 not in given)
    ]
    outcome = Outcome(
        True, "", plan, change, download=sum(s.size for s in missing), dry_run=settings.dry_run, bases=bases
    )
    if options.security:
        outcome = replace(outcome, security=_security(current, target, outcome, options))
    if settings.dry_run:
        return replace(outcome, message="Would change:", etc=kept_in_etc(current, base, alone=False))
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
    recovery.mark_unsynced(current.sysroot)
    cached = fetch(current, solver, plan, missing)
    if options.download_only:
        return _downloaded(current, outcome)
    commit = None if target.anew else build.find(current, inputs)
    if commit is not None:
        return publish(current, commit, target, replace(outcome, reused=True))
    commit = build.build(current, tree, base, after, plan, cached, inputs, answers)
    return publish(current, commit, target, outcome)


def _check_kernels(plan: Plan, base: Sequence[Package], tree: Path) -> None:
    """Refuse by its packages' names, before anything is done, what no machine could boot. Raises TreeError."""
    names = {package.name for package in plan.present(base)}
    if any(kernel.is_package(s.name) for s in plan.packages) and "dracut" not in names:
        kernel.require_dracut(tree)
    gone = [package.name for package in plan.removed if kernel.is_package(package.name)]
    if gone and not any(map(kernel.is_package, names)):
        raise kernel.none_left(gone)


def _downloaded(current: Transaction, outcome: Outcome) -> Outcome:
    """Where nothing had to come from elsewhere, nothing has changed."""
    if not (outcome.download or current.did("pull")):
        return replace(outcome, changed=False, message="No change: everything is downloaded already.")
    return replace(outcome, message="Downloaded; nothing else was done.")


def _solve(
    current: Transaction,
    solver: Apt,
    tree: Path,
    target: Goal,
    lock: Sequence[Solved],
    before: Intent,
    old_info: CommitInfo,
    options: Options,
) -> Plan:
    """Resolve the target; requests on record may stay on record although no archive has them any more: all where
    that was said, and those that were left out before where nobody asks the archives anew."""
    optional: Sequence[str] = ()
    if options.skip_missing:
        optional = before.requested
    elif not options.refresh:
        optional = commits.left_out(old_info)
    try:
        return resolve(current, solver, tree, target.intent, lock, optional=optional)
    except UnavailableError as error:
        gone = [name for name in error.names if name in map(requests.name_of, before.requested)]
        if not gone or not options.refresh:
            raise
        raise UnavailableError(
            error.names,
            error.detail,
            f"Nothing was changed. Drop them with 'apt-ostree uninstall {' '.join(gone)}', or add --skip-missing, "
            "which keeps them on record and leaves them out this time.",
        ) from None


def _security(current: Transaction, target: Goal, outcome: Outcome, options: Options) -> tuple[Package, ...]:
    """What of a change came as security updates: the layer knows where its packages are from, the lists those of
    the base."""
    new = {*outcome.change.added, *(package for _, package in outcome.change.changed)}
    found = {s.package for s in outcome.plan.packages if s.from_security}
    rest = new - {s.package for s in outcome.plan.packages}
    if rest:
        tree = assemble.base_checkout(current.repo, current.area, target.base.checksum)
        solver, _ = prepare_apt(current, tree, target.base, target.intent, cache_only=options.cache_only)
        found |= apt.from_security(solver, rest)
    return tuple(sorted(found & new))


def kept_in_etc(current: Transaction, base: CommitInfo, *, alone: bool) -> tuple[Conflict, ...]:
    """What a machine keeps in /etc although the next base changed it, told from the commits before a layer is built.

    With packages over it (not ``alone``) only the bases are compared: what scripts will make of /etc is not known.
    """
    merge = current.merge
    old = merge.checksum if alone else commits.base_of(current.repo, merge).checksum
    return tuple(etc.conflicts(current.repo, current.sysroot.path / merge.path, old, base.checksum))


def _answers(current: Transaction, intent: Intent) -> str:
    """What debconf was answered in the layer that the next one follows. Raises SysrootError."""
    if not intent.debconf:
        return ""
    text = ostree.cat(current.repo, current.basis.checksum, f"/{debconf.PLACE}")
    if text is None or debconf.digest(text) != intent.debconf:
        raise SysrootError(
            "the answers for debconf are lost",
            f"the origin of deployment {current.basis.index} records some, and commit "
            f"{current.basis.checksum} has others or none in /{debconf.PLACE}",
            "Take the line 'debconf=' out of the origin, and give the answers again with --debconf.",
        )
    return text


def _packages_of(current: Transaction, info: CommitInfo) -> list[Package]:
    return package_list(current.repo, info.checksum)


def _drop_provided(after: Intent, before: Intent, tree: Path, options: Options) -> tuple[Intent, list[str]]:
    """Leave out new requests that the base fulfils by itself, unless they were asked to be kept."""
    if options.allow_inactive:
        return after, []
    native = dpkg.architectures(tree)[0]
    have = {requests.key_of(entry.package, native): entry.package for entry in dpkg.installed(tree)}
    kept, messages = [], []
    for request in after.requested:
        match = requests.parse_expression(request)
        found = have.get(requests.key(request, native))
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


def publish(current: Transaction, commit: str, target: Goal, outcome: Outcome) -> Outcome:
    """Deploy a commit with this target on record; the last step of every operation on base and packages."""
    with current.phase("deploy", "Deploying"):
        commits.hold_bases(current.sysroot, also=target.base.checksum)
        if current.merge.origin.get("origin", {}).get("unlocked") == "hotfix":
            current.reporter.warn("what was changed in /usr by hand ('ostree admin unlock --hotfix') stays behind")
        new_origin = origin.with_base(current.basis.origin, target.refspec, target.pinned)
        fresh = publication.publish(
            current.sysroot,
            current.osname,
            commit,
            origin.with_intent(new_origin, target.intent),
            arguments=current.kargs,
            keep=current.config.deployments,
        )
    with current.phase("prune"):
        finish.drop_unneeded(current.reloaded(fresh))
    return replace(outcome, deployment=fresh.of(current.osname)[0], commit=commit)
