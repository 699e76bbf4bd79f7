"""Questions: status, package lists and differences. They change nothing and need no root."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..changes import Change, difference
from ..errors import AptOstreeError, SysrootError, ToolError, TreeError, UsageError
from ..inputs import requests
from ..model import CommitInfo, Deployment, Intent, Package, Solved
from ..system import commits, journal, metadata, origin, staged, sysroot
from ..system.inventory import no_database, package_list
from ..system.lock import Holder, holder
from ..system.sysroot import Sysroot
from ..tools import dpkg, listing, ostree
from ..tree import changelog, etc
from ..tree.changelog import News
from ..tree.etc import Conflict
from . import transaction as tx
from .available import Update, cached
from .resolve import inactive_overrides
from .transaction import Settings


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """One deployment with its commit and its base."""

    deployment: Deployment
    commit: CommitInfo
    base: CommitInfo
    refspec: str
    intent: Intent
    layered: tuple[Solved, ...]
    inactive: dict[str, str]
    """Requests that the base fulfils by itself, and overrides it makes moot -> why."""
    removed: tuple[Package, ...]
    replaced: tuple[tuple[Package, Package], ...]
    pending: bool
    rollback: bool
    unlocked: str = "none"
    """The way /usr was made writable (staged.unlocked)."""
    details: tuple[PackageDetails, ...] | None = None
    """Of the layered packages, where that was asked for, as is what follows."""
    damaged: str = ""
    """What could not be read of its commit or its origin, and why."""
    etc: tuple[Conflict, ...] = ()
    """Files of /etc that were changed both here and by this pending tree: the local version stays."""


@dataclass(frozen=True, slots=True)
class Status:
    """The answer of ``status``: deployments in boot order, and the transaction in progress."""

    sysroot: Path
    deployments: tuple[DeploymentStatus, ...]
    transaction: Holder | None
    entry: journal.Entry | None = None
    """The journal's entry for the transaction in progress, if we may read it."""
    update: Update | None = None
    """The update for what boots next, as last seen."""
    not_finalised: str = ""
    """Why the last shutdown left a staged deployment out, where it did (staged.not_finalised)."""


def status(path: Path, stateroot: str | None = None, *, detailed: bool = False) -> Status:
    """Read a sysroot's state from its files and its commits' metadata; what is ``detailed`` is read from the trees,
    too. Raises SysrootError where there is no sysroot; what else is damaged is said of its deployment."""
    loaded = sysroot.load(path.absolute(), lenient=True)
    chosen = loaded.deployments if stateroot is None else loaded.of(loaded.stateroot(stateroot))
    found = [_status_of(loaded, deployment, detailed=detailed) for deployment in chosen]
    at_work = holder(loaded.path / tx.LOCK)
    update = cached(loaded, chosen[0], found[0].base.checksum) if found else None
    failure = staged.not_finalised() if loaded.booted is not None else ""
    return Status(loaded.path, tuple(found), at_work, _entry(loaded.path, at_work), update, failure)


def _status_of(loaded: Sysroot, deployment: Deployment, *, detailed: bool) -> DeploymentStatus:
    """One deployment, as far as its commit, its base and its origin can be read. Never fails for what is damaged."""
    booted = loaded.booted
    info, problem = commits.look(loaded.repo, deployment)
    base, base_problem = _base_of(loaded.repo, deployment, info) if metadata.is_layer(info) else (info, "")
    origin_problem = f"its origin cannot be read: {deployment.damaged}" if deployment.damaged else ""
    plain = DeploymentStatus(
        deployment,
        info,
        base,
        origin.refspec(deployment.origin),
        origin.intent(deployment.origin),
        (),
        {},
        (),
        (),
        pending=deployment.index < booted.index if booted else deployment.index == 0,
        rollback=deployment.index > (booted.index if booted else 0),
        unlocked=staged.unlocked(deployment.path.rpartition("/")[2], deployment.origin),
        details=() if detailed else None,
        damaged=_joined(origin_problem, problem, base_problem),
    )
    if problem:
        return plain
    try:
        layered = tuple(metadata.lock(info))
        return replace(
            plain,
            layered=layered,
            inactive=_inactive(loaded.repo, base, info, plain.intent, layered) if not base_problem else {},
            removed=metadata.removed(info),
            replaced=metadata.replaced(info),
            details=_details(loaded, info, layered) if detailed else None,
            etc=_etc(loaded, deployment) if detailed else (),
        )
    except (SysrootError, ToolError, TreeError, OSError) as error:
        return replace(plain, damaged=_joined(plain.damaged, _told(error)))


def _base_of(repo: Path, deployment: Deployment, info: CommitInfo) -> tuple[CommitInfo, str]:
    """The base that a layer is over, and why it cannot be read; the layer itself where it names none."""
    if info.parent is None:
        return info, "its commit claims to be a layer, but has no base"
    try:
        return commits.base_of(repo, deployment), ""
    except (SysrootError, ToolError) as error:
        return CommitInfo(info.parent, None, 0, "", {}), _told(error)


def _told(error: AptOstreeError | OSError) -> str:
    if isinstance(error, OSError):
        return str(error)
    return f"{error.brief}: {error.detail}" if error.detail else error.brief


def _joined(*problems: str) -> str:
    return "; ".join(filter(None, problems))


def _entry(path: Path, at_work: Holder | None) -> journal.Entry | None:
    # The id is read from a file that may hold anything, and names another.
    if at_work is None or not journal.ID.fullmatch(at_work.id):
        return None
    for stateroot in (path / "ostree/deploy").iterdir():
        entry = journal.read_one(stateroot, at_work.id)
        if isinstance(entry, journal.Entry):
            return entry
    return None


def _details(loaded: Sysroot, info: CommitInfo, layered: Sequence[Solved]) -> tuple[PackageDetails, ...]:
    return tuple(package_details(loaded.repo, info.checksum, [solved.name for solved in layered])) if layered else ()


def _etc(loaded: Sysroot, deployment: Deployment) -> tuple[Conflict, ...]:
    """Against the deployment whose /etc it inherits, or did: the booted one, or the next in the order."""
    own = loaded.of(deployment.osname)
    booted = next((d for d in own if d.booted), None)
    if deployment.index >= (booted.index if booted is not None else 1):
        return ()
    merged = booted or next((d for d in own if d.index > deployment.index), None)
    if merged is None:
        return ()
    return tuple(etc.conflicts(loaded.repo, loaded.path / merged.path, merged.checksum, deployment.checksum))


def _inactive(
    repo: Path, base: CommitInfo, info: CommitInfo, intent: Intent, layered: Sequence[Solved]
) -> dict[str, str]:
    if intent.empty:
        return {}
    present = package_list(repo, base.checksum)
    native = dpkg.native(present)
    names = {requests.key_of(solved.package, native) for solved in layered}
    # Whatever stands in the origin, a question must not fail for it.
    asked = {request: requests.key(request, native) for request in intent.requested}
    asked |= {str(entry.package): requests.key_of(entry.package, native) for entry in intent.requested_local}
    have = {requests.key_of(package, native): package for package in present}
    missing = metadata.left_out(info)
    # What is in neither is a virtual package, and came by another name.
    return inactive_overrides(present, intent) | {
        request: f"{name} {have[name].version} is part of the base" if name in have else "no archive had it"
        for request, name in asked.items()
        if name not in names and (name in have or request in missing)
    }


@dataclass(frozen=True, slots=True)
class PackageDetails:
    """A package as the tree's own dpkg database describes it."""

    package: Package
    fields: dict[str, str]
    files: tuple[str, ...]
    scripts: dict[str, str]


def resolve(loaded: Sysroot, revision: str) -> str:
    """A commit from what a user names: a ref, a checksum, or a deployment's index. Raises UsageError, SysrootError."""
    if not revision or revision.startswith("-"):
        raise UsageError(
            f"'{revision}' is not a valid revision", "a revision is a deployment's index, a ref or a checksum"
        )
    if revision.isascii() and revision.isdecimal() and len(revision) < 4:
        index = int(revision)
        if index >= len(loaded.deployments):
            raise SysrootError(
                f"deployment {index} does not exist",
                resolution="'apt-ostree status' lists the deployments; the first is 0.",
            )
        return loaded.deployments[index].checksum
    commit = ostree.resolve(loaded.repo, revision)
    if commit is None or ostree.commit_info(loaded.repo, commit) is None:
        raise SysrootError(
            f"{loaded.repo} does not have a commit {revision}",
            resolution="Name a deployment's index, a ref or a checksum; 'apt-ostree status' shows the deployments.",
        )
    return commit


DETAILS_MAX = 128 << 20
"""Characters of lists and scripts that are shown of a commit. dpkg's lists of a desktop have some thirty million."""


def package_details(repo: Path, commit: str, wanted: Sequence[str] = ()) -> list[PackageDetails]:
    """Descriptions, dependencies, files and scripts of a commit's packages, or of the named ones. What is no file, or
    is beyond DETAILS_MAX in all, is left out."""
    entries, left = listing.of(repo, commit), DETAILS_MAX
    for name in dpkg.DATABASES:
        if (status := entries.read(f"/{name}/status")) is None:
            continue

        def info(own: str, place: str = f"/{name}/info") -> str | None:
            nonlocal left
            with contextlib.suppress(ToolError):
                text = entries.read(f"{place}/{own}") if left > 0 else None
                left -= len(text or "")
                return text
            return None

        return [
            PackageDetails(
                entry.package, dict(entry.fields), tuple(dpkg.file_list(info, entry.package)),
                dpkg.scripts(info, entry.package),
            )
            for entry in sorted(dpkg.parse_status(status), key=lambda entry: entry.package)
            if not wanted or entry.package.name in wanted
        ]  # fmt: skip
    raise no_database(commit)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two commits, and what their packages differ in."""

    old: str
    new: str
    change: Change
    news: tuple[News, ...] | None = None
    """News from the changelogs, if they were asked for."""


def db_diff(settings: Settings, revisions: Sequence[str], *, changelogs: bool = False) -> Comparison:
    """Compare two commits' packages, with what is new in each if ``changelogs`` are asked for.

    Without revisions: booted and pending, or, where nothing of that stateroot is booted, its first deployment against
    its second. Raises SysrootError.
    """
    loaded = tx.loaded(settings)
    if len(revisions) > 2:
        raise UsageError("db diff takes at most two revisions")
    if len(revisions) == 2:
        old, new = (resolve(loaded, revision) for revision in revisions)
    elif len(revisions) == 1:
        old, new = _first(loaded, settings), resolve(loaded, revisions[0])
    else:
        own = loaded.of(loaded.stateroot(settings.stateroot))
        if len(own) < 2:
            raise SysrootError(f"{own[0].osname} has only one deployment", resolution="Name two revisions.")
        other = next((d for d in own[1:] if d.booted), own[1])
        old, new = other.checksum, own[0].checksum
    change = difference(package_list(loaded.repo, old), package_list(loaded.repo, new))
    news = tuple(changelog.news(loaded.repo, old, new, change.changed)) if changelogs else None
    return Comparison(old, new, change, news)


def _first(loaded: Sysroot, settings: Settings) -> str:
    """The booted deployment's commit, or that of what boots next."""
    own = loaded.of(loaded.stateroot(settings.stateroot))
    return next((d for d in own if d.booted), own[0]).checksum


@dataclass(frozen=True, slots=True)
class Versioned:
    """A commit with what a boot menu calls it, and a digest over its packages' names and versions."""

    commit: CommitInfo
    packages: int
    digest: str


def db_version(settings: Settings, revisions: Sequence[str]) -> list[Versioned]:
    """The version of each revision, or of the deployment that is booted or boots next, from metadata alone where
    the commit has a list of its packages. Equal digests mean equal packages."""
    loaded = tx.loaded(settings)
    found = []
    for commit in [resolve(loaded, revision) for revision in revisions] or [_first(loaded, settings)]:
        info = ostree.commit_info(loaded.repo, commit)
        assert info is not None
        packages = package_list(loaded.repo, commit)
        text = "".join(f"{p.name} {p.version} {p.architecture}\n" for p in packages)
        found.append(Versioned(info, len(packages), hashlib.sha256(text.encode()).hexdigest()))
    return found


def db_list(settings: Settings, words: Sequence[str]) -> list[tuple[str, list[Package]]]:
    """The packages of each revision, or of the deployment that is booted or boots next.

    From the first word with a wildcard on they are patterns (fnmatch(3)) for packages' names, and from the first one
    that is no revision, and is the name of a package there. Raises SysrootError.
    """
    loaded = tx.loaded(settings)
    commits, patterns = _split_patterns(loaded, settings, words)
    return [(commit, _matching(package_list(loaded.repo, commit), patterns)) for commit in commits]


def _split_patterns(loaded: Sysroot, settings: Settings, words: Sequence[str]) -> tuple[list[str], list[str]]:
    commits: list[str] = []
    for number, word in enumerate(words):
        here = commits or [_first(loaded, settings)]
        # What holds a wildcard is a pattern at once: no revision has one.
        if set(word) & set("*?["):
            return here, list(words[number:])
        try:
            commits.append(resolve(loaded, word))
        except SysrootError:
            if not any(package.name == word for commit in here for package in package_list(loaded.repo, commit)):
                raise
            return here, list(words[number:])
    return commits or [_first(loaded, settings)], []


def _matching(packages: Sequence[Package], patterns: Sequence[str]) -> list[Package]:
    return [p for p in packages if not patterns or any(fnmatch.fnmatchcase(p.name, each) for each in patterns)]


def db_details(settings: Settings, words: Sequence[str]) -> list[tuple[str, list[PackageDetails]]]:
    """As ``db_list``, with everything dpkg knows."""
    loaded = tx.loaded(settings)
    commits, patterns = _split_patterns(loaded, settings, words)
    found = []
    for commit in commits:
        names = [package.name for package in _matching(package_list(loaded.repo, commit), patterns)]
        found.append((commit, package_details(loaded.repo, commit, names) if names else []))
    return found
