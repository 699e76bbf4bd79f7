"""Questions to the configured archives: search and show, from the lists that were fetched last."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import NotRootError, ResolveError, UsageError
from ..host import proc
from ..inputs import requests
from ..system import commits, origin, sysroot
from ..system.inventory import package_list
from ..system.sysroot import Sysroot
from ..text import lines
from ..tools import apt_area, apt_failures, dpkg
from ..tools.apt_target import Target
from .transaction import Settings


@dataclass(frozen=True, slots=True)
class Standing:
    """The place of a package in what boots next."""

    base: str | None = None
    """Its version in the base, or None."""
    layered: str | None = None
    requested: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A package that ``search`` found: its name and the archive's line about it."""

    name: str
    summary: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class Shown:
    """A package with the archives' stanza of each version, the newest first."""

    name: str
    stanzas: tuple[Mapping[str, str], ...]
    standing: Standing


def search(settings: Settings, terms: Sequence[str]) -> list[Found]:
    """Packages whose names or summaries hold all terms, which are regular expressions as apt-cache(8) has them.

    Raises UsageError, ResolveError where there are no lists, NotRootError where sources may not be read.
    """
    for term in terms:
        try:
            re.compile(term)
        except re.error as error:
            raise UsageError(f"'{term}' is not a valid regular expression", str(error)) from error
        if not term.strip():
            raise UsageError("an empty search term would match everything", resolution="Give a word to search for.")
    with _archives(settings) as (run, standings):
        result = run("apt-cache", "search", "--", *terms)
        found = (line.partition(" - ") for line in lines(result.stdout))
        return [Found(name, summary, standings.get(name, Standing())) for name, _, summary in sorted(found)]


def show(settings: Settings, names: Sequence[str]) -> list[Shown]:
    """The archives' stanzas of packages. Raises ResolveError, with near matches, for what they do not have, and
    whatever ``search`` raises."""
    for name in names:
        requests.parse_expression(name)
    with _archives(settings) as (run, standings):
        shown, unknown = [], []
        for name in names:
            # apt-cache also tells what dpkg's database says of an installed one; no archive has that.
            found = dpkg.parse_stanzas(run("apt-cache", "show", "--", name).stdout)
            stanzas = tuple(stanza for stanza in found if "filename" in stanza)
            if stanzas:
                plain = requests.name_of(name)
                shown.append(Shown(plain, stanzas, standings.get(plain, Standing())))
            else:
                unknown.append(name)
        if unknown:
            known = run("apt-cache", "pkgnames").stdout.split()
            near = [
                f"no archive has {name}{apt_failures.suggestion(known, requests.name_of(name))}" for name in unknown
            ]
            raise ResolveError(near[0], "\n".join(near[1:]), "To search for words: apt-ostree search WORD")
        return shown


@contextmanager
def _archives(settings: Settings) -> Iterator[tuple[Callable[..., proc.Result], Mapping[str, Standing]]]:
    loaded = sysroot.load(settings.sysroot.absolute())
    osname = loaded.stateroot(settings.stateroot)
    lists = loaded.area / "apt/lists"
    if not any(lists.glob("*_Packages*")):
        raise ResolveError(
            "there are no package lists yet",
            f"{lists} is empty",
            "To fetch them: apt-ostree refresh-md",
        )
    basis = loaded.of(osname)[0]
    tree = loaded.path / basis.path
    etc = loaded.path / loaded.merge(osname).path / "etc"
    # An area of its own: a transaction may be at work in the other one. Only the lists are that one's.
    with tempfile.TemporaryDirectory(prefix="apt-ostree-") as scratch:
        target = Target(tree, etc, dpkg.architectures(tree, (entry.package for entry in dpkg.installed(tree))))
        try:
            solver = apt_area.prepare(Path(scratch), target, "status", None, lists=lists)
        except PermissionError as error:
            raise NotRootError(
                "only root may read this machine's package sources",
                f"{error.filename}: {error.strerror}",
                "Run it with sudo, or as root.",
            ) from error

        def run(tool: str, *words: str) -> proc.Result:
            return solver.run(tool, *words, check=False)

        yield run, _standings(loaded, osname)


def _standings(loaded: Sysroot, osname: str) -> dict[str, Standing]:
    basis = loaded.of(osname)[0]
    base, present = (
        {package.name: package.version for package in package_list(loaded.repo, commit)}
        for commit in (commits.base_of(loaded.repo, basis).checksum, basis.checksum)
    )
    intent = origin.intent(basis.origin)
    asked = {*map(requests.name_of, intent.requested), *(entry.package.name for entry in intent.local)}
    return {
        name: Standing(
            base.get(name), present.get(name) if present.get(name) != base.get(name) else None, name in asked
        )
        for name in {*base, *present, *asked}
    }
