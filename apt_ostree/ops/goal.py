"""The goal of an operation: the next deployment, as it is stated before anything is solved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import ResolveError
from ..inputs import requests
from ..model import CommitInfo, Intent, Package
from ..system import commits, metadata, origin
from .transaction import Transaction


@dataclass(frozen=True, slots=True)
class Goal:
    """The next deployment, as an operation states it before anything is solved."""

    base: CommitInfo
    refspec: str
    """The ref that the base comes from, which the next ``upgrade`` follows."""
    intent: Intent
    pinned: str = ""
    """The checksum that ``deploy`` chose rather than the newest; ``upgrade`` lets go of it."""
    free: frozenset[Package] = frozenset()
    """Layered packages that may change their versions."""
    again: frozenset[str] = frozenset()
    """Names of packages to fetch and import again; the layer is then built even if its inputs are the same."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of resolving packages; ``recommends`` None means what the deployment recorded, or else the target's
    setting."""

    cache_only: bool = False
    download_only: bool = False
    recommends: bool | None = None
    allow_inactive: bool = False
    answers: str = ""
    """Answers to debconf, added to those given before (inputs/debconf.py)."""
    refresh: bool = False
    """Fetch the package lists even if they are fresh."""
    skip_missing: bool = False
    """Leave out recorded requests that no archive has any longer; they stay on record."""
    security: bool = False
    """Find out which changes are security updates."""
    offline: bool = False
    """The command has no option for that: it uses what is here alone."""


OFFLINE = Options(cache_only=True, offline=True)
"""The options of such a command."""


@dataclass(frozen=True, slots=True)
class Start:
    """The start of an operation: what boots next, and how the goal is to be reached from it."""

    current: Transaction
    options: Options
    dry_run: bool
    goal: Goal
    """The goal that would change nothing."""
    commit: CommitInfo
    """The commit that is deployed: a layer, or the base itself."""


def is_reached(goal: Goal, now: Goal, *, refresh: bool) -> bool:
    """True if ``goal`` is what ``now`` is, so that nothing has to be solved.

    With ``refresh`` the lists are fetched, and layered packages may have newer versions then; the base alone has none.
    """
    if goal.intent.empty:
        return replace(goal, free=now.free, again=now.again) == now
    return goal == now and not refresh


def as_is(current: Transaction) -> Goal:
    """The goal that would change nothing: what boots next, as it is. Raises SysrootError."""
    deployment = current.basis
    return Goal(
        commits.base_of(current.repo, deployment),
        origin.refspec(deployment.origin),
        origin.intent(deployment.origin),
        origin.pinned(deployment.origin),
    )


def let_go(current: Transaction, names: Sequence[str]) -> frozenset[Package]:
    """The layered packages that an upgrade may change: all, or those named. Raises ResolveError for others."""
    lock = [solved.package for solved in metadata.lock(commits.commit_of(current.repo, current.basis))]
    for name in names:
        requests.parse_expression(name)
    if unknown := [name for name in names if name not in {package.name for package in lock}]:
        raise ResolveError(
            f"not layered: {', '.join(unknown)}",
            f"layered packages: {', '.join(package.name for package in lock) or 'none'}",
            "Packages of the base are upgraded together with it: apt-ostree upgrade",
        )
    return frozenset(package for package in lock if not names or package.name in names)
