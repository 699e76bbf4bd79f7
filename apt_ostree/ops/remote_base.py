"""The commits of a ref that may become the next base: the newest, or one by its checksum or version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import RemoteError, UsageError
from ..model import CommitInfo
from ..numbers import moment
from ..system import commits, origin, remote
from ..system.remote import Refspec
from ..tools import ostree
from .goal import Goal
from .transaction import Transaction

SHORTEST = 7
"""The fewest hexadecimal digits that may stand for a commit."""

KNOWN_SHOWN = 10
"""Versions that an error lists."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A certain commit, by version or by the start of its checksum; ``kind`` is empty where it may be either."""

    wanted: str
    kind: str = ""
    any_branch: bool = False
    """The commit may be of another ref, where its whole checksum is given."""

    @classmethod
    def of(cls, text: str, *, any_branch: bool = False) -> Revision:
        """Read VERSION, CHECKSUM, version=VERSION or revision=CHECKSUM. Raises UsageError for an empty one."""
        kind, equals, wanted = text.partition("=")
        if not equals or kind not in {"version", "revision"}:
            kind, wanted = "", text
        if not wanted:
            raise UsageError("name a revision: a version, or a commit's checksum")
        return cls(wanted, kind, any_branch)

    def matches(self, info: CommitInfo) -> bool:
        by_checksum = self.kind != "version" and len(self.wanted) >= SHORTEST and info.checksum.startswith(self.wanted)
        return by_checksum or (self.kind != "revision" and info.version == self.wanted)


def newest(current: Transaction, refspec: Refspec, now: Goal, cache_only: bool, *, allow_downgrade: bool) -> CommitInfo:
    """The newest commit of a ref, here and whole. Raises RemoteError, also for one that is older than that of
    ``now``."""
    found = _look(current, refspec, now, cache_only)
    if not allow_downgrade:
        refuse_older(refspec, found, now.base)
    return _bring(current, refspec, found)


def refuse_older(refspec: Refspec, found: CommitInfo, used: CommitInfo) -> None:
    """Raise RemoteError where the commit ``found`` is older than the base in use."""
    # As ostree's own upgrade judges it; a version is a text without order.
    if found.timestamp < used.timestamp:
        raise RemoteError(
            f"{refspec} is older than the base in use",
            f"in use: {described(used)}\n{refspec}: {described(found)}",
            "Nothing was changed. To take it anyway, add --allow-downgrade.",
        )


def _look(current: Transaction, refspec: Refspec, now: Goal, cache_only: bool) -> CommitInfo:
    if not refspec.remote or cache_only:
        return known(current, refspec, now)
    current.reporter.step(f"Looking at {refspec}")
    with remote.looking(current.repo, current.area) as child:
        return remote.newest(child, refspec)


def known(current: Transaction, refspec: Refspec, now: Goal) -> CommitInfo:
    """The newest commit of a ref that is here: a local ref's own, or what was fetched of a remote's. Raises
    RemoteError where there is none."""
    if not refspec.remote:
        return _local(current, refspec)
    fetched = commits.base_info(current.repo, str(refspec))
    if str(refspec) == now.refspec and (fetched is None or fetched.timestamp < now.base.timestamp):
        # The base in use came from there, too, and later.
        return now.base
    if fetched is None:
        raise RemoteError(
            f"{refspec} was never fetched", resolution="Nothing was changed. Run the command without --cache-only."
        )
    return fetched


def _local(current: Transaction, refspec: Refspec) -> CommitInfo:
    checksum = ostree.local(current.repo, refspec.ref)
    info = commits.base_info(current.repo, checksum) if checksum is not None else None
    if info is None:
        raise RemoteError(
            f"the local repository does not have {refspec}",
            "its refs: "
            + (", ".join(r for r in ostree.refs(current.repo) if not r.startswith("apt-ostree/")) or "none"),
            "A ref of a remote is written REMOTE:REF.",
        )
    return info


def _bring(current: Transaction, refspec: Refspec, wanted: CommitInfo, *, of_ref: bool = True) -> CommitInfo:
    """Fetch a commit unless it is here, and keep it through a prune until it is deployed."""
    if refspec.remote and not _is_here(current, wanted.checksum):
        with current.phase("pull", f"Pulling {refspec} {wanted.version}".rstrip()):
            remote.pull(current.repo, current.area, refspec, wanted.checksum, current.reporter.progress, of_ref=of_ref)
    commits.hold_bases(current.sysroot, also=wanted.checksum)
    info = commits.base_info(current.repo, wanted.checksum)
    assert info is not None
    return info


def _is_here(current: Transaction, checksum: str) -> bool:
    """True if a commit is here with all its files."""
    return ostree.commit_info(current.repo, checksum) is not None and not ostree.is_partial(current.repo, checksum)


def find(current: Transaction, refspec: Refspec, revision: Revision, cache_only: bool) -> CommitInfo:
    """The commit of a ref that ``revision`` names, here and whole. Raises RemoteError where its history has none."""
    if revision.any_branch and ostree.CHECKSUM.fullmatch(revision.wanted):
        return _of_any_branch(current, refspec, revision.wanted, cache_only)
    with remote.looking(current.repo, current.area) as child:
        if refspec.remote and not cache_only:
            current.reporter.step(f"Looking through {refspec}")
            found = in_history(revision, remote.history(child, refspec), refspec)
        else:
            found = in_history(revision, _local_history(current, refspec), refspec)
    return _bring(current, refspec, found, of_ref=False)


def _of_any_branch(current: Transaction, refspec: Refspec, checksum: str, cache_only: bool) -> CommitInfo:
    if refspec.remote and not cache_only and not _is_here(current, checksum):
        with current.phase("pull", f"Pulling {checksum[:12]}"):
            remote.pull(current.repo, current.area, refspec, checksum, current.reporter.progress, of_ref=False)
    return _local(current, Refspec("", checksum))


def in_history(revision: Revision, history: Iterable[CommitInfo], refspec: Refspec) -> CommitInfo:
    """The first commit of a history that ``revision`` names; reads no further. Raises RemoteError if there is none."""
    seen: dict[str, str] = {}
    for info in history:
        if revision.matches(info):
            return info
        seen[info.checksum] = info.version or info.checksum[:12]
    more = ", …" if len(seen) > KNOWN_SHOWN else ""
    raise RemoteError(
        f"{revision.wanted} is not in the history of {refspec}",
        f"it has: {', '.join(list(seen.values())[:KNOWN_SHOWN])}{more}",
        "--skip-branch-check takes a commit of another ref, by its whole checksum.",
    )


def _local_history(current: Transaction, refspec: Refspec) -> Iterator[CommitInfo]:
    """The commits of a ref that are here, and the bases of the deployments that follow it."""
    start = str(refspec) if refspec.remote else ostree.local(current.repo, refspec.ref)
    info = ostree.commit_info(current.repo, start) if start is not None else None
    while info is not None:
        yield info
        info = ostree.commit_info(current.repo, info.parent) if info.parent else None
    for deployment in current.sysroot.of(current.osname):
        if origin.refspec(deployment.origin) == str(refspec):
            yield commits.base_of(current.repo, deployment)


def described(info: CommitInfo) -> str:
    """A base for people: its version, or the start of its checksum, and its time."""
    return f"{info.version or info.checksum[:12]} ({moment(info.timestamp)})"
