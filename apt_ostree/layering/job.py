"""The job of one assembly: what it works from, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..model import Package, Plan
from ..reporter import Reporter
from ..sandbox.limits import LIMITS, Limits
from ..tree import users
from .base import BaseTree
from .cache import Cached


@dataclass(frozen=True, slots=True)
class Job:
    """A plan, the base to lay it over, and all else that an assembly needs.

    ``work`` is an empty directory on the repository's filesystem.
    """

    repo: Path
    work: Path
    base: BaseTree
    plan: Plan
    cached: Mapping[Package, Cached]
    reporter: Reporter
    log: Path
    """The file that the output of scripts goes to."""
    accounts_day: int
    """The date of new accounts, in days since 1970."""
    reserved: users.Reserved
    """The numbers and ranges that accounts have on the machine."""
    deployed: Path | None = None
    """The deployment that boots next: what is made as it has it needs no second run."""
    booted: Path | None = None
    """The deployment that runs, whose lists alone are believed (triggers.py, identity.py)."""
    answers: str = ""
    """Answers that debconf gets before it asks."""
    initramfs: Sequence[str] | None = None
    """dracut's further arguments for an initramfs that is made in any case; None where it is made only if needed."""
    limits: Limits = LIMITS
    """Those of each run in the sandbox."""

    @property
    def var(self) -> Path:
        """The /var that scripts see: in the work directory as in a tree."""
        return self.work / "var"

    @property
    def boot(self) -> Path:
        """The /boot that scripts see."""
        return self.work / "boot"

    @property
    def debs(self) -> Path:
        """The packages as dpkg gets them."""
        return self.work / "debs"
