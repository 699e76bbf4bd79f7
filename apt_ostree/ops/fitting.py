"""Older versions that fit a base: where the archives are ahead of it, what was split from its packages is, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..host import proc
from ..inputs import requests
from ..model import Package
from ..tools import apt, apt_area, apt_failures

TRIES = 20
"""Questions to apt: each lets go of one version of one package."""


@dataclass(frozen=True, slots=True)
class Fit:
    """apt's steps with older versions of some packages; ``waiting`` is each of these with its newest version."""

    actions: list[apt.Action]
    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The package's name -> the version that is taken, and the newest one."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked of apt, and what may not change."""

    requests: Sequence[str]
    pins: Sequence[tuple[Package, int]]
    sources: Path | None
    replacing: bool

    def ask(self, solver: apt_area.Apt, further: Mapping[str, str]) -> list[apt.Action] | proc.Result:
        """apt's answer with these versions preferred, by the packages' names."""
        chosen = [(Package(name, version, "all"), apt.PRIORITY_FIT) for name, version in further.items()]
        apt.write_pins(solver, [*self.pins, *chosen])
        return apt.simulate(solver, self.requests, self.sources, replacing=self.replacing)


def fit(solver: apt_area.Apt, search: Search, failed: proc.Result) -> Fit | None:
    """Ask again with older versions of those packages whose newest needs other packages of the base than it has.

    A version or suite that somebody asked for stays. None where no older version helps.
    """
    fixed = {requests.name_of(item) for item in search.requests if "=" in item or "/" in item}
    held = {package.name for package, _ in search.pins}
    versions: dict[str, list[str]] = {}
    chosen: dict[str, str] = {}
    for _ in range(TRIES):
        # Of a chain, each link has to be as old as the next.
        culprits = [entry.package for entry in apt_failures.unmet(failed) if entry.name in held | chosen.keys()]
        name = next((name for name in culprits if name not in held | fixed and _older(solver, name, versions)), None)
        if name is None:
            return None
        chosen[name] = versions[name].pop(0)
        answer = search.ask(solver, chosen)
        if isinstance(answer, list):
            new = {action.name: action.version for action in answer if action.verb == "Inst"}
            newest = apt.versions(solver, chosen)
            return Fit(answer, {name: (new[name], newest[name][0]) for name in chosen if name in new})
        failed = answer
    return None


def _older(solver: apt_area.Apt, name: str, versions: dict[str, list[str]]) -> list[str]:
    """The versions of a package that were not tried yet, the newest first; the very newest was tried by apt."""
    if name not in versions:
        versions[name] = apt.versions(solver, [name]).get(name, [])[1:]
    return versions[name]
