"""Solving a goal: the requests to ask apt for, the versions to prefer, and apt's plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import ResolveError, UnavailableError
from ..inputs import requests
from ..layering import cache
from ..layering.base import BaseTree
from ..layering.cache import Cached
from ..model import Intent, Package, Plan, Solved
from ..system import metadata
from ..tools.apt_area import Apt
from ..tree import kernel
from . import build
from .goal import Goal, Options, Start
from .resolve import Asked, Stock, prepare_apt, resolve


@dataclass(frozen=True, slots=True)
class Solution:
    """apt's answer to a goal over ``tree``, its base."""

    goal: Goal
    tree: BaseTree
    solver: Apt
    plan: Plan
    cached: Mapping[str, Cached]
    """The packages of the plan that are in the cache, by their digests."""
    inputs: str
    """The digest of all that makes the layer (build.inputs_digest)."""


def leave_to_base(start: Start, goal: Goal, tree: BaseTree) -> tuple[Goal, list[str]]:
    """The goal without new requests that the base fulfils, and a message for each, of which the user is warned."""
    if start.options.allow_inactive:
        return goal, []
    before = start.goal.intent.requested
    requested, provided = without_provided(goal.intent.requested, before, tree.packages, tree.native)
    goal = replace(goal, intent=replace(goal.intent, requested=tuple(requested)))
    if goal != start.goal:
        for message in provided:
            start.current.reporter.warn(message)
    return goal, provided


def without_provided(
    requested: Sequence[str], before: Sequence[str], base: Sequence[Package], native: str
) -> tuple[list[str], list[str]]:
    """The requests without those that ``base`` fulfils by itself, and a message for each of these.

    What was on record ``before`` stays on record: another base may lack it.
    """
    have = {requests.key_of(package, native): package for package in base}
    kept, messages = [], []
    for request in requested:
        match = requests.parse_expression(request)
        found = have.get(requests.key(request, native))
        if request in before or found is None or match["version"] not in (None, found.version) or match["suite"]:
            kept.append(request)
        else:
            messages.append(f"{match['name']} {found.version} is part of the base")
    return kept, messages


def solve(start: Start, goal: Goal, tree: BaseTree) -> Solution:
    """Let apt resolve the goal. Raises ResolveError, UnavailableError, PackageError, TreeError."""
    current, options = start.current, start.options
    if goal.intent.initramfs:
        kernel.require_dracut(tree.path)
    lock = kept_lock(metadata.lock(start.commit), start.goal.intent, goal)
    local = [entry.sha256 for entry in goal.intent.local]
    imported = cache.load_all(current.repo, current.area, [*(s.sha256 for s in lock), *local])
    stock = Stock(lock, {**imported, **current.looked_at})
    recorded = start.goal.intent
    optional = optional_requests(recorded.requested, metadata.left_out(start.commit), options)
    new = (request for request in goal.intent.names if request not in recorded.names)
    asked = Asked(goal.intent, tuple(new), tuple(optional))
    with current.phase("resolve", "Resolving dependencies"):
        solver, dead = prepare_apt(current, tree, goal.intent, cache_only=options.cache_only, force=options.refresh)
        try:
            plan = resolve(current, solver, tree, asked, stock)
        except UnavailableError as error:
            raise dead or _gone(error, start) from None
        except ResolveError as error:
            raise dead or error from None
    further = {s.sha256 for s in plan.packages} - stock.cached.keys()
    cached = {**stock.cached, **cache.load_all(current.repo, current.area, further)}
    return Solution(goal, tree, solver, plan, cached, build.inputs_digest(goal.base, goal.intent, plan))


def kept_lock(lock: Sequence[Solved], before: Intent, goal: Goal) -> list[Solved]:
    """The part of a layer's lock that the next one prefers: without what the goal lets go.

    A file that is no longer asked for must not stand in for the archive's package of the same version.
    """
    dropped = {entry.sha256 for entry in before.local} - {entry.sha256 for entry in goal.intent.local}
    return [solved for solved in lock if solved.sha256 not in dropped and solved.package not in goal.free]


def optional_requests(requested: Sequence[str], left_out: Sequence[str], options: Options) -> Sequence[str]:
    """The recorded requests that may be left out if no archive has them: all with ``skip_missing``; else those left out
    before, unless the lists are fetched again."""
    if options.skip_missing:
        return requested
    return () if options.refresh else left_out


def _gone(error: UnavailableError, start: Start) -> UnavailableError:
    """The error, with what to do about recorded requests that the archives no longer have."""
    on_record = set(map(requests.name_of, start.goal.intent.requested))
    gone = [name for name in error.problems if name in on_record]
    if not gone or not start.options.refresh:
        return error
    return UnavailableError(
        error.problems,
        f"Nothing was changed. To leave them out this time and keep them on record, add --skip-missing. To drop them: "
        f"apt-ostree uninstall {' '.join(gone)}",
    )
