"""apt: the running system's resolver and downloader, over another tree's package database."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DownloadError, ResolveError
from ..host import fetching, proc
from ..host.files import check_space
from ..model import Package, Round, Solved, is_sha256
from ..numbers import decimal
from ..text import lines
from . import apt_failures, dpkg
from .apt_area import Apt
from .apt_copies import write

_log = logging.getLogger(__name__)

STAMP = "lists.json"
"""In apt's area: of which sources the lists are, and when they were fetched."""

STAMP_MAX = 1 << 16
"""Bytes of it that are read."""

LISTS_MAX_AGE = 24 * 3600
"""Seconds after which an operation that may use the network refreshes the package lists by itself."""

ONE_BLOCK = 1 << 16
"""Bytes; larger than the blocks of any filesystem: with less, a file may have been cut short."""

SOLVE_SECONDS = 600.0
"""Seconds that apt may take for one question: a stanza of a megabyte of dependencies takes it hours, with the lock
held. A desktop of 3,000 packages takes some ten."""

PRIORITY_BASE = 1001
"""Above 1000 apt would even downgrade to the pinned version (apt_preferences(5)): the base stays as it is."""

PRIORITY_LOCK = 1002

PRIORITY_FIT = 999
"""Before any other version that is not installed, and no downgrade."""


@dataclass(frozen=True, slots=True)
class Action:
    """One line of a simulation: ``verb`` is Inst, Conf or Remv; ``old`` the version that goes away, ``provides``
    the virtual package that was asked for, where apt chose this one for it."""

    verb: str
    name: str
    architecture: str
    version: str
    old: str | None = None
    sources: str = ""
    provides: str = ""

    @property
    def package(self) -> Package:
        return Package(self.name, self.version, self.architecture)


def host_sources() -> list[dict[str, str]]:
    """The running system's own sources of packages, as apt reads them: URI, RELEASE and ORIGIN of each index.

    Those whose lists were never fetched are there, too; nobody knows their ORIGIN, which is empty.
    """

    def targets(form: str, *options: str) -> list[list[str]]:
        words = ["apt-get", "indextargets", *options, "--format", form, "Created-By: Packages"]
        return [line.split("\t") for line in lines(proc.run(words).stdout)]

    origins = {(uri, release): origin for uri, release, origin in targets("$(REPO_URI)\t$(RELEASE)\t$(ORIGIN)")}
    configured = targets("$(REPO_URI)\t$(RELEASE)", "--no-release-info")
    return [{"uri": uri, "release": release, "origin": origins.get((uri, release), "")} for uri, release in configured]


def refresh(apt: Apt, *, force: bool = False) -> bool:
    """Fetch the package lists where they are missing, of other sources, or older than a day.

    Returns whether it fetched. Raises DownloadError when an index cannot be had or verified, and SpaceError; in time,
    whatever a server does (host/fetching.py).
    """
    sources, fetched = read_stamp(apt.area)
    age = time.time() - fetched
    same = sources == apt.sources_digest
    # A clock that was ahead when they were fetched would keep them fresh until then.
    if same and 0 <= age < LISTS_MAX_AGE and not force:
        _log.debug("package lists are fresh: %.0f s old, of the same sources", age)
        return False
    reason = "this was asked for" if force else "of other sources, or none" if not same else f"{age:.0f} s old"
    _log.debug("package lists are fetched: %s", reason)
    # Error-Mode=any: without it apt-get update exits 0 when a server cannot be reached.
    watch = fetching.Watch([apt.area], _no_lists, fetching.UPDATE_SECONDS)
    words = ("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
    result = apt.run(*words, check=False, during=watch.over)
    if result.returncode != 0:
        raise _no_lists(apt_failures.said(result) or proc.tail(result.stderr))
    write(apt.area / STAMP, json.dumps({"sources": apt.sources_digest, "time": time.time()}))
    return True


def _no_lists(why: str) -> DownloadError:
    return DownloadError(
        "cannot refresh the package lists",
        why,
        "Check the network and the sources in /etc/apt. With -C only cached packages are used.",
    )


def read_stamp(area: Path) -> tuple[str, float]:
    """The digest of the sources whose lists were fetched last, and when; "" and 0 where that is not known."""
    try:
        with (area / STAMP).open("rb") as file:
            known = json.loads(file.read(STAMP_MAX))
        sources, fetched = known["sources"], float(known["time"])
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return "", 0.0
    return (sources, fetched) if isinstance(sources, str) and math.isfinite(fetched) else ("", 0.0)


def have_lists(apt: Apt) -> bool:
    """True if lists of exactly these sources were fetched before, however long ago."""
    return read_stamp(apt.area)[0] == apt.sources_digest


def write_pins(apt: Apt, pins: Iterable[tuple[Package, int]]) -> None:
    """Hold packages at their versions, through the priority given with each (apt_preferences(5))."""
    native = apt.run("apt-config", "shell", "A", "APT::Architecture").stdout.split("'")[1]
    text = "".join(
        f"Package: {package.name}:{native if package.architecture == 'all' else package.architecture}\n"
        f"Pin: version {package.version}\nPin-Priority: {priority}\n\n"
        for package, priority in pins
    )
    write(apt.area / "etc/preferences.d/apt-ostree.pref", text)


def simulate(
    apt: Apt, requests: Sequence[str], sources: Path | None = None, *, replacing: bool = False
) -> list[Action] | proc.Result:
    """Let apt solve ``requests`` over the target; the failed child where it finds no solution.

    ``sources`` is a Packages file of cached .debs that count as available, in addition to the archives;
    ``replacing`` lets a package become an older version. Raises ResolveError where apt takes longer than SOLVE_SECONDS.
    """
    watch = fetching.Watch([], _no_solution, SOLVE_SECONDS)
    result = apt.run(
        # Without -q=0 apt does not say what it chose for a virtual package.
        "apt-get", "install", "--simulate", "-q=0", "-y",
        *(["--with-source", os.fspath(sources)] if sources else []),
        *(["--allow-downgrades"] if replacing else []),
        "--", *requests,
        check=False, during=watch.over,
    )  # fmt: skip
    # Of its progress, each line is written over the one before.
    result = replace(result, stdout=re.sub(r"[^\n]*\r", "", result.stdout))
    return parse_simulation(result.stdout) if result.returncode == 0 else result


def _no_solution(why: str) -> ResolveError:
    return ResolveError("apt found no solution in time", why, "A package may have too many dependencies: leave it out.")


_ACTION = re.compile(
    r"^(?P<verb>Inst|Conf) (?P<name>[^\s:]+)(?::\S+)?(?: \[(?P<old>[^\]\s]+)\])?"
    r" \((?P<version>\S+) (?P<sources>.*?) ?\[(?P<architecture>[^\]\s]+)\]\)"
)

_CHOSEN = re.compile(r"Note, selecting '(?P<name>[^':]+)(?::\S+)?' instead of '(?P<virtual>[^']+)'")

_REMOVAL = re.compile(r"^(?:Remv|Purg) (?P<name>[^\s:]+)(?::(?P<architecture>\S+))? \[(?P<old>[^\]\s]+)\]")


def parse_simulation(text: str) -> list[Action]:
    """The steps that ``apt-get --simulate`` prints, in its order."""
    actions = []
    chosen: dict[str, str] = {}
    for line in lines(text):
        if match := _ACTION.match(line):
            actions.append(
                Action(
                    match["verb"], match["name"], match["architecture"], match["version"],
                    match["old"], match["sources"], chosen.get(match["name"], ""),
                )
            )  # fmt: skip
        elif match := _CHOSEN.match(line):
            chosen[match["name"]] = match["virtual"]
        elif match := _REMOVAL.match(line):
            actions.append(Action("Remv", match["name"], match["architecture"] or "", "", match["old"]))
    return actions


def rounds(actions: Sequence[Action]) -> tuple[Round, ...]:
    """Cut apt's order where it configures packages before it unpacks further ones (Pre-Depends, policy 7.2), or
    removes one after others."""
    done: list[Round] = []
    remove: list[str] = []
    unpack: list[Package] = []
    configure: list[Package] = []
    for action in actions:
        if configure if action.verb == "Inst" else (unpack or configure) if action.verb == "Remv" else False:
            done.append(Round(tuple(unpack), tuple(configure), tuple(remove)))
            remove, unpack, configure = [], [], []
        if action.verb == "Remv":
            remove.append(action.name + (f":{action.architecture}" if action.architecture else ""))
        elif action.verb == "Inst":
            unpack.append(action.package)
        else:
            configure.append(action.package)
    if remove or unpack or configure:
        done.append(Round(tuple(unpack), tuple(configure), tuple(remove)))
    return tuple(done)


def show(apt: Apt, packages: Sequence[Package]) -> dict[Package, list[Mapping[str, str]]]:
    """The archives' stanzas of exact versions; several where archives differ about the same version."""
    if not packages:
        return {}
    result = apt.run("apt-cache", "show", "--", *(package.exactly for package in packages), check=False)
    found: dict[Package, list[Mapping[str, str]]] = {}
    for fields in dpkg.parse_stanzas(result.stdout):
        if {"sha256", "package", "version", "architecture"} <= fields.keys():
            found.setdefault(dpkg.identity(fields), []).append(fields)
    return found


def is_security(sources: str) -> bool:
    """True if a package came from a security archive, by its label or its suite's name, as Debian's custom is;
    ``sources`` are the archives as apt prints them beside a package (Solved.sources)."""
    return re.search(r"-Security:|-security(?:,|$)", sources) is not None


def versions(apt: Apt, names: Iterable[str]) -> dict[str, list[str]]:
    """The versions of packages that the archives have, by the packages' names, each the newest first."""
    wanted = sorted(set(names))
    found: dict[str, list[str]] = {}
    for line in lines(apt.run("apt-cache", "madison", "--", *wanted, check=False).stdout) if wanted else ():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 3 and parts[1] not in found.setdefault(parts[0], []):
            found[parts[0]].append(parts[1])
    return {name: sorted(each, key=dpkg.version_key, reverse=True) for name, each in found.items()}


def from_security(apt: Apt, packages: Iterable[Package]) -> set[Package]:
    """The packages that a security suite, whose name ends in -security in Debian, has in exactly this version."""
    wanted = {(package.name, package.version): package for package in packages}
    if not wanted:
        return set()
    result = apt.run("apt-cache", "madison", "--", *sorted({name for name, _ in wanted}), check=False)
    return {
        wanted[key]
        for line in lines(result.stdout)
        if len(parts := [part.strip() for part in line.split("|")]) == 3
        and (key := (parts[0], parts[1])) in wanted
        and re.search(r"-security/", parts[2])
    }


def solved(action: Action, fields: Mapping[str, str]) -> Solved:
    """A plan's package, from apt's step and the archive's stanza. Raises ResolveError for one whose words could lead
    elsewhere as a part of a path: apt itself minds them only when it compares what it fetched."""
    sha256 = fields["sha256"]
    if problem := dpkg.problem(action.package) or (
        None if is_sha256(sha256) else f"{sha256[:80]!r} is not valid in the field SHA256"
    ):
        raise ResolveError(
            f"the package lists are wrong about {action.package}",
            problem,
            "Nothing was changed. Leave that package out; only the archive that has it can repair it.",
        )
    return Solved(
        action.package,
        sha256,
        decimal(fields.get("size", "")) or 0,
        (decimal(fields.get("installed-size", "")) or 0) * 1024,
        action.sources,
    )


def download(apt: Apt, packages: Sequence[Solved]) -> None:
    """Fetch .debs into ``archives`` as the unprivileged user; apt verifies each against its signed index.

    Raises DownloadError, and SpaceError; in time, whatever a server does (host/fetching.py).
    """
    limit = fetching.seconds_for(sum(solved.size for solved in packages))
    watch = fetching.Watch([apt.area], _no_packages, limit)
    words = [solved.package.exactly for solved in packages]
    place = apt.area / "archives"
    result = apt.run("apt-get", "download", "-q", "--", *words, cwd=place, check=False, during=watch.over)
    if result.returncode != 0:
        raise _no_packages(apt_failures.said(result) or proc.tail(result.stderr))
    # From a file: source apt copies what it can, and ends well where the disk is full.
    check_space(place, ONE_BLOCK, "the downloads")


def _no_packages(why: str) -> DownloadError:
    return DownloadError(
        "cannot download packages",
        why,
        "Nothing was changed. Check the network. To fetch the package lists again: apt-ostree refresh-md --force",
    )


def archive_name(package: Package) -> str:
    """The file name under which apt stores a .deb: the epoch's colon is quoted."""
    version = package.version.replace("%", "%25").replace(":", "%3a")
    return f"{package.name}_{version}_{package.architecture}.deb"
