"""apt's failures, explained: which request cannot be fulfilled, and why."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ResolveError, UnavailableError
from ..host import proc
from ..text import lines
from . import dpkg
from .apt_area import Apt

_UNMET = re.compile(
    r"^ (?:(?P<package>[^\s:]+)(?::\S+)?)? *:? (?:Pre)?Depends: (?P<dependency>.+?)"
    r" but (?:(?P<found>\S+) is to be installed|it is not installable)$"
)


_CLASH = re.compile(r"^ (?:(?P<package>[^\s:]+)(?::\S+)?)? *:? (?:Conflicts|Breaks): (?P<other>[^\s:]+)")


def clashing(failed: proc.Result) -> set[str]:
    """The packages that apt will not have beside each other; of a virtual one, those that conflict with it."""
    found, package = set[str](), ""
    for line in lines(failed.stdout):
        if match := _CLASH.match(line):
            package = match["package"] or package
            found |= {package, match["other"]}
    return found


def suggestion(known: Sequence[str], name: str) -> str:
    """The end of a message about ``name``: which of the known names look like it, the nearest first."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    return f"; did you mean {', '.join(near)}?" if near else ""


def said(result: proc.Result) -> str:
    """The errors that apt printed, each once; its warnings where it printed no error."""
    printed = lines(result.stderr)
    both = [line[3:] for line in printed if line.startswith(("E: ", "W: "))]
    errors = [line[3:] for line in printed if line.startswith("E: ")]
    return "\n".join(dict.fromkeys(errors or both))


def explain_failure(apt: Apt, failed: proc.Result, blamed: Sequence[str]) -> ResolveError:
    """The error for requests that apt cannot fulfil: names it does not know, all at once, with near ones, or a
    dependency that nothing provides. ``blamed`` are the requests that the error names."""
    essential = re.search(r"essential packages will be removed\.\n.*\n((?: +.*\n)+)", failed.stdout)
    if essential and "--allow-remove-essential" in failed.stderr:
        return ResolveError(
            "essential packages would be removed",
            " ".join(essential[1].split()),
            "Nothing was changed. Essential packages can be replaced, but not removed.",
        )
    if problems := _unavailable(apt, failed):
        return UnavailableError(problems)
    printed = re.search(r"(The following packages have unmet dependencies:.*)", failed.stdout, re.DOTALL)
    detail = proc.tail((printed[1] if printed else failed.stdout) + "\n" + said(failed))
    brief = cannot(blamed)
    if absent := next((entry for entry in unmet(failed) if entry.found is None), None):
        # Of one package alone the name need not be repeated.
        who = "it" if list(blamed) == [absent.package] else absent.package
        return ResolveError(
            f"{brief}: {who} depends on {absent.dependency}, which no configured archive has",
            detail,
            "Nothing was changed.",
        )
    return ResolveError(f"{brief} over this base", detail, "Nothing was changed.")


def cannot(requests: Sequence[str]) -> str:
    """The beginning of an error about requests; ``-NAME`` is one to remove a package."""
    removing = [request.removeprefix("-") for request in requests if request.startswith("-")]
    if removing and len(removing) == len(requests):
        return f"cannot remove {', '.join(removing)}"
    return f"cannot install {', '.join(request for request in requests if not request.startswith('-'))}"


def _unavailable(apt: Apt, failed: proc.Result) -> dict[str, str]:
    """The names that no archive has as asked, with the problem of each."""
    problems = {}
    for name in re.findall(r"^E: Unable to locate package (\S+)$", failed.stderr, re.MULTILINE):
        known = apt.run("apt-cache", "pkgnames").stdout.split()
        problems[name] = f"no package is named {name}{suggestion(known, name)}"
    for version, name in re.findall(r"^E: Version '(.+?)' for '(.+?)' was not found$", failed.stderr, re.MULTILINE):
        have = sorted(
            {f["version"] for f in dpkg.parse_stanzas(apt.run("apt-cache", "show", name, check=False).stdout)},
            key=dpkg.version_key,
        )
        problems[name] = f"{name} has no version {version}; available: {', '.join(have) or 'none'}"
    for release, name in re.findall(r"^E: Release '(.+?)' for '(.+?)' was not found$", failed.stderr, re.MULTILINE):
        problems[name] = f"{name} is not in suite {release}"
    for name in re.findall(r"^E: Package '(\S+?)' has no installation candidate$", failed.stderr, re.MULTILINE):
        problems[name] = f"{name} is a virtual package, or no archive has it; name a package that provides it"
    return {name.partition(":")[0]: problem for name, problem in problems.items()}


@dataclass(frozen=True, slots=True)
class Unmet:
    """A dependency that apt could not fulfil; ``found`` is the version that stands in its way, None where no archive
    has the package."""

    package: str
    dependency: str
    found: str | None

    @property
    def name(self) -> str:
        """The package that the dependency is on."""
        return re.split("[ :]", self.dependency, maxsplit=1)[0]

    def __str__(self) -> str:
        but = f"but {self.found} is installed" if self.found is not None else "which no configured archive has"
        return f"{self.package} depends on {self.dependency}, {but}"


def unmet(failed: proc.Result) -> list[Unmet]:
    """The version conflicts and missing packages in what ``apt-get install`` prints when it finds no solution."""
    found, package = [], ""
    for line in lines(failed.stdout):
        if match := _UNMET.match(line):
            package = match["package"] or package
            found.append(Unmet(package, match["dependency"], match["found"]))
    return found
