"""What the next deployment is to be, as an operation states it before anything is solved."""

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
    """What the next deployment is to be, as an operation states it before anything is solved."""

    base: CommitInfo
    refspec: str
    """Where the base comes from, and where the next ``upgrade`` looks."""
    intent: Intent
    pinned: str = ""
    """The checksum that ``deploy`` chose rather than the newest; ``upgrade`` lets go of it."""
    free: frozenset[Package] = frozenset()
    """Layered packages whose locked versions are let go."""
    anew: frozenset[str] = frozenset()
    """Names of packages to fetch and import again; the layer is then built even if its inputs are the same."""


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
class Start:
    """Where an operation begins: what boots next, and how another deployment is to be reached from it."""

    current: Transaction
    options: Options
    dry_run: bool
    goal: Goal
    """The goal that would change nothing."""
    commit: CommitInfo
    """What is deployed: a layer, or the base itself."""


def is_reached(goal: Goal, now: Goal, *, refresh: bool) -> bool:
    """True if ``goal`` differs in nothing from ``now``, so that nothing has to be solved.

    With ``refresh`` the archives are asked again, and what is layered may be newer then; the base alone may not.
    """
    if goal.intent.empty:
        return replace(goal, free=now.free, anew=now.anew) == now
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
    """The layered packages whose locked versions an upgrade lets go: all, or those named. Raises ResolveError."""
    lock = [solved.package for solved in metadata.lock(commits.commit_of(current.repo, current.basis))]
    for name in names:
        requests.parse_expression(name)
    if unknown := [name for name in names if name not in {package.name for package in lock}]:
        raise ResolveError(
            f"not layered: {', '.join(unknown)}",
            f"layered are: {', '.join(package.name for package in lock) or 'none'}",
            "Packages of the base come with a new base: 'apt-ostree upgrade' without names.",
        )
    return frozenset(package for package in lock if not names or package.name in names)
