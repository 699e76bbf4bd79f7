"""What the next deployment is to be, as an operation states it before anything is solved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ResolveError
from ..inputs import requests
from ..model import CommitInfo, Intent, Package
from ..system import origin
from . import commits
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


def as_is(current: Transaction) -> Goal:
    """The target that would change nothing: what boots next, as it is. Raises SysrootError."""
    deployment = current.basis
    return Goal(
        commits.base_of(current.repo, deployment),
        origin.refspec(deployment.origin),
        origin.intent(deployment.origin),
        origin.pinned(deployment.origin),
    )


def let_go(current: Transaction, names: Sequence[str]) -> frozenset[Package]:
    """The layered packages whose locked versions an upgrade lets go: all, or those named. Raises ResolveError."""
    lock = [solved.package for solved in commits.locked(commits.commit_of(current.repo, current.basis))]
    for name in names:
        requests.parse_expression(name)
    if unknown := [name for name in names if name not in {package.name for package in lock}]:
        raise ResolveError(
            f"not layered: {', '.join(unknown)}",
            f"layered are: {', '.join(package.name for package in lock) or 'none'}",
            "Packages of the base come with a new base: 'apt-ostree upgrade' without names.",
        )
    return frozenset(package for package in lock if not names or package.name in names)
