"""A layer: from a changed intent to a deployed commit, or to the base alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..changes import Change, difference
from ..errors import PackageError, ResolveError, SysrootError
from ..host.files import check_space
from ..inputs import debconf, edits
from ..layering.base import checkout
from ..layering.cache import Cached, of_plan
from ..model import CommitInfo, Deployment, Intent, Package, Plan, Solved
from ..system import commits, metadata, origin
from ..system.inventory import package_list
from ..tools import apt, listing
from ..tree import etc, kernel, merging
from ..tree.etc import Conflict
from . import build, finish, recovery
from .download import fetch
from .goal import Goal, Options, Start, as_is, is_reached
from .resolve import prepare_apt
from .solution import Solution, leave_to_base, solve
from .transaction import Settings, Transaction


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
    """The new packages that are security updates; None if this was not asked for."""
    etc: tuple[Conflict, ...] = ()
    """In a preview: files of /etc that were changed here and that the new base, as far as is known, changes too."""


NOTHING_TO_DO = Outcome(False, "Nothing to do: the system already has everything you asked for.")


def relayer(current: Transaction, settings: Settings, after: Intent, options: Options) -> Outcome:
    """Reach another intent over the same base, with the versions of what is layered: see ``reach``."""
    return reach(current, settings, replace(as_is(current), intent=after), options)


def reach(current: Transaction, settings: Settings, goal: Goal, options: Options) -> Outcome:
    """Make the next deployment what ``goal`` states: the one path of all operations on base and packages.

    Raises ResolveError, DownloadError, PackageError, ScriptError, SpaceError, TreeError, SysrootError; nothing
    has changed then.
    """
    start = _start(current, options, dry_run=settings.dry_run)
    answers = debconf.merge(_answers(current, start.goal.intent), options.answers)
    goal = _with_answers(goal, answers)
    if is_reached(goal, start.goal, refresh=options.refresh):
        return NOTHING_TO_DO
    if current.config.lock_layering and (more := edits.additions(start.goal.intent, goal.intent)):
        raise ResolveError(
            "layering is locked on this system",
            f"asked for: {', '.join(more)}",
            "Nothing was changed. The administrator's /etc/apt-ostree/config.toml has 'lock-layering = true'.",
        )
    merge = current.merge
    # What OSTree cannot merge is found before hours of building, and by a preview.
    merging.check(
        current.repo,
        goal.base.checksum,
        current.sysroot.path / merge.path,
        commits.base_of(current.repo, merge).checksum,
    )
    if goal.intent.empty:
        return _take_base(start, goal)
    tree = checkout(current.repo, current.area, goal.base.checksum)
    goal, provided = leave_to_base(start, goal, tree)
    if provided and goal == start.goal:
        return Outcome(False, "Nothing to do: " + "; ".join(provided) + ".")
    solution = solve(start, goal, tree)
    if _is_deployed(start, solution):
        return Outcome(False, "Already up to date.", solution.plan)
    _check_kernels(solution)
    missing = _missing(start, solution)
    outcome = _preview(start, solution, missing)
    if start.dry_run:
        return outcome
    cached = _fetch(start, solution, missing)
    if options.download_only:
        return _downloaded(current, outcome)
    if (commit := _made_before(start, solution)) is not None:
        return deploy_goal(current, commit, goal, replace(outcome, reused=True), solution.inputs)
    order = build.Order(goal.base, tree, goal.intent, solution.plan, cached, answers, solution.inputs)
    commit = build.build(current, order)
    return deploy_goal(current, commit, goal, outcome, solution.inputs)


def _start(current: Transaction, options: Options, *, dry_run: bool) -> Start:
    """Read what boots next. Raises SysrootError, also where its origin does not say what its layer was made for."""
    goal = as_is(current)
    commit = commits.commit_of(current.repo, current.basis)
    if metadata.is_layer(commit) and goal.intent.empty:
        wanted = metadata.requests(commit)
        raise SysrootError(
            f"the origin file of deployment {current.basis.index} no longer lists the packages "
            f"its commit was built for: {', '.join(wanted)}",
            f"{current.basis.path}.origin has no requests",
            "Write 'requested=NAME;NAME;' under [packages] there, or boot the previous deployment: apt-ostree rollback",
        )
    return Start(current, options, dry_run, goal, commit)


def _with_answers(goal: Goal, answers: str) -> Goal:
    """The goal with the digest of these answers on record; the base alone has nobody to answer."""
    digest = "" if goal.intent.empty else debconf.digest(answers)
    return replace(goal, intent=replace(goal.intent, debconf=digest))


def _take_base(start: Start, goal: Goal) -> Outcome:
    """Deploy the base alone: nothing is solved and nothing is built."""
    current, base = start.current, goal.base
    change = difference(_packages_of(current, start.commit), _packages_of(current, base))
    outcome = Outcome(True, "", change=change, bases=(start.goal.base, base), dry_run=start.dry_run)
    outcome = _with_security(start, goal, outcome)
    if start.dry_run:
        same = base == start.goal.base
        return replace(
            outcome,
            message="Would return to the base alone." if same else "Would deploy the base alone:",
            etc=kept_in_etc(current, base, alone=True),
        )
    if start.options.download_only:
        return _downloaded(current, outcome)
    return deploy_goal(current, base.checksum, goal, outcome)


def _is_deployed(start: Start, solution: Solution) -> bool:
    """True if what boots next was made from the very same inputs, and nothing is to be built again."""
    same = build.is_made_of(start.current, start.current.basis, solution.goal.base, solution.inputs)
    return same and replace(solution.goal, free=start.goal.free) == start.goal


def _missing(start: Start, solution: Solution) -> list[Solved]:
    """The packages of the plan to be fetched; a file that the user handed over is here."""
    goal = solution.goal
    given = {entry.sha256 for entry in goal.intent.local}
    return [
        s
        for s in solution.plan.packages
        if s.sha256 not in solution.cached or (s.name in goal.again and s.sha256 not in given)
    ]


def _preview(start: Start, solution: Solution, missing: Sequence[Solved]) -> Outcome:
    """The outcome as far as it is known before anything is done; a dry run ends with it."""
    current, base = start.current, solution.goal.base
    outcome = Outcome(
        True,
        "",
        solution.plan,
        difference(_packages_of(current, start.commit), solution.plan.present(solution.tree.packages)),
        download=sum(s.size for s in missing),
        dry_run=start.dry_run,
        bases=(start.goal.base, base),
    )
    outcome = _with_security(start, solution.goal, outcome)
    if start.dry_run:
        return replace(outcome, message="Would change:", etc=kept_in_etc(current, base, alone=False))
    return outcome


def _fetch(start: Start, solution: Solution, missing: Sequence[Solved]) -> dict[Package, Cached]:
    """Bring the packages of the plan into the cache. Raises PackageError, SpaceError, DownloadError."""
    current = start.current
    if start.options.cache_only and missing:
        names = [s.name for s in missing]
        ways = "Run it without -C, or 'apt-ostree install' with a network."
        if start.options.offline:
            again = " ".join(start.goal.intent.requested or names)
            ways = f"This command fetches nothing. To fetch them again: apt-ostree install --reinstall {again}"
        raise PackageError(f"not in the cache: {', '.join(names)}", resolution=ways)
    # By what they say of themselves; each import looks again. The unpacked files are written once; their packages need
    # space, too, while they are imported.
    check_space(
        current.repo,
        sum(s.installed_size for s in solution.plan.packages) + 2 * sum(s.size for s in missing),
        "the packages",
        reserve=True,
    )
    recovery.mark_unsynced(current.sysroot)
    return of_plan(solution.plan.packages, {**solution.cached, **fetch(current, solution.solver, missing)})


def _made_before(start: Start, solution: Solution) -> str | None:
    """A deployed commit that was made from the same inputs, unless the scripts must run again."""
    return None if solution.goal.again else build.find(start.current, solution.goal.base, solution.inputs)


def _check_kernels(solution: Solution) -> None:
    """Refuse a plan that no machine could boot, before anything is done. Raises TreeError."""
    plan = solution.plan
    names = {package.name for package in plan.present(solution.tree.packages)}
    if any(kernel.is_package(s.name) for s in plan.packages) and "dracut" not in names:
        kernel.require_dracut(solution.tree.path)
    gone = [package.name for package in plan.removed if kernel.is_package(package.name)]
    if gone and not any(map(kernel.is_package, names)):
        raise kernel.none_left(gone)


def _downloaded(current: Transaction, outcome: Outcome) -> Outcome:
    """The outcome of --download-only; unchanged if nothing had to be fetched."""
    if not (outcome.download or current.did("pull")):
        return replace(outcome, changed=False, message="Nothing to do: everything is already downloaded.")
    return replace(outcome, message="Downloaded; nothing else was done.")


def _with_security(start: Start, goal: Goal, outcome: Outcome) -> Outcome:
    """The outcome with what of its change came as security updates, where that was asked: the layer knows where its
    packages are from, the lists those of the base."""
    if not start.options.security:
        return outcome
    current = start.current
    new = {*outcome.change.added, *(package for _, package in outcome.change.changed)}
    found = {s.package for s in outcome.plan.packages if apt.is_security(s.sources)}
    rest = new - {s.package for s in outcome.plan.packages}
    if rest:
        tree = checkout(current.repo, current.area, goal.base.checksum)
        solver, _ = prepare_apt(current, tree, goal.intent, cache_only=start.options.cache_only)
        found |= apt.from_security(solver, rest)
    return replace(outcome, security=tuple(sorted(found & new)))


def kept_in_etc(current: Transaction, base: CommitInfo, *, alone: bool) -> tuple[Conflict, ...]:
    """The files that this machine keeps in /etc although the next base changed them, told from the commits alone.

    With packages over it (not ``alone``) only the bases are compared: what scripts will make of /etc is not known.
    """
    merge = current.merge
    old = merge.checksum if alone else commits.base_of(current.repo, merge).checksum
    return tuple(etc.conflicts(current.repo, current.sysroot.path / merge.path, old, base.checksum))


def _answers(current: Transaction, intent: Intent) -> str:
    """The answers to debconf in the layer that boots next. Raises SysrootError where they are missing."""
    if not intent.debconf:
        return ""
    text = listing.of(current.repo, current.basis.checksum).read(f"/{debconf.PLACE}")
    if text is None or debconf.digest(text) != intent.debconf:
        raise SysrootError(
            f"the debconf answers of deployment {current.basis.index} are missing",
            f"its origin file records answers; commit {current.basis.checksum} has others or none in /{debconf.PLACE}",
            "Remove the line 'debconf=' from the origin file, and give the answers again with --debconf FILE.",
        )
    return text


def _packages_of(current: Transaction, info: CommitInfo) -> list[Package]:
    return package_list(current.repo, info.checksum)


def deploy_goal(current: Transaction, commit: str, goal: Goal, outcome: Outcome, inputs: str = "") -> Outcome:
    """Deploy a commit with this goal on record; the last step of every operation on base and packages. ``inputs`` is
    the digest of what a layer was made from."""
    if current.merge.origin.get("origin", {}).get("unlocked") == "hotfix":
        current.reporter.warn("changes made to /usr by hand ('ostree admin unlock --hotfix') are not carried over")
    new_origin = origin.with_base(current.basis.origin, goal.refspec, goal.pinned)
    new_origin = origin.with_intent(new_origin, goal.intent, inputs)
    fresh = finish.deploy(current, commit, new_origin, base=goal.base.checksum)
    return replace(outcome, deployment=fresh.of(current.osname)[0], commit=commit)
