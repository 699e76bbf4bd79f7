"""Operations that move to another base: upgrade, rebase and deploy. What is layered comes along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ..errors import RemoteError, ResolveError, SysrootError, UsageError
from ..inputs import requests
from ..model import CommitInfo, Package
from ..reporter import Reporter
from ..system import origin, remote
from ..system.remote import Refspec
from ..tools import ostree
from . import commits
from . import transaction as tx
from .layer import Options, Outcome, Target, reach, standing
from .packages import Edit
from .resolve import locked
from .transaction import Settings, Transaction

SHORTEST = 7
"""Hexadecimal digits that may stand for a commit."""

KNOWN_SHOWN = 10
"""Versions that an error lists."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How far an upgrade goes: ``names`` are the only layered packages that it touches, where there are any."""

    names: tuple[str, ...] = ()
    layers_only: bool = False
    allow_downgrade: bool = False


def upgrade(settings: Settings, scope: Scope, edit: Edit, options: Options, reporter: Reporter) -> Outcome:
    """Take the newest base of the origin's ref and new versions of what is layered; accounts keep their numbers.

    A dry run pulls the base, solves over it and deploys nothing: what it prints is what an upgrade then does.
    Raises RemoteError, SysrootError, and what ``layer.reach`` raises; nothing has changed then.
    """
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        now = standing(current)
        target = replace(now, intent=edit.apply(current, now.intent), free=let_go(current, scope.names))
        if not scope.layers_only:
            refspec = _followed(now)
            base = newest_base(current, refspec, now, options, allow_downgrade=scope.allow_downgrade)
            target = replace(target, base=base, pinned="")
        outcome = reach(current, settings, target, replace(options, refresh=True))
        if outcome.changed or options.download_only:
            return outcome
        what = "what is layered is" if scope.layers_only else f"{described(now.base)} and what is layered are"
        return replace(outcome, message=f"No change: {what} the newest there is.")


def let_go(current: Transaction, names: Sequence[str]) -> frozenset[Package]:
    """The layered packages whose locked versions an upgrade lets go: all, or those named. Raises ResolveError."""
    lock = [solved.package for solved in locked(commits.commit_of(current.repo, current.basis))]
    for name in names:
        requests.parse_expression(name)
    if unknown := [name for name in names if name not in {package.name for package in lock}]:
        raise ResolveError(
            f"not layered: {', '.join(unknown)}",
            f"layered are: {', '.join(package.name for package in lock) or 'none'}",
            "Packages of the base come with a new base: 'apt-ostree upgrade' without names.",
        )
    return frozenset(package for package in lock if not names or package.name in names)


def _followed(target: Target) -> Refspec:
    if not target.refspec:
        raise SysrootError(
            "the deployment's origin names no ref to upgrade from",
            resolution="Name one with 'apt-ostree rebase REMOTE:REF', or upgrade with --layers-only.",
        )
    return remote.parse(target.refspec)


def newest_base(
    current: Transaction, refspec: Refspec, now: Target, options: Options, *, allow_downgrade: bool
) -> CommitInfo:
    """The newest commit of a ref, here and whole. Raises RemoteError, also for one that is older than that of
    ``now``."""
    found = _newest(current, refspec, now, options)
    # As ostree's own upgrade judges it; a version is a text without order.
    if found.timestamp < now.base.timestamp and not allow_downgrade:
        raise RemoteError(
            f"{refspec} is older than the base in use",
            f"in use is {described(now.base)}\n{refspec} is {described(found)}",
            "Nothing was changed. --allow-downgrade takes it all the same.",
        )
    return _bring(current, refspec, found)


def _newest(current: Transaction, refspec: Refspec, now: Target, options: Options) -> CommitInfo:
    if not refspec.remote or options.cache_only:
        return known(current, refspec, now)
    current.reporter.step(f"Looking at {refspec}")
    with remote.looking(current.repo, current.area) as child:
        return remote.newest(child, refspec)


def known(current: Transaction, refspec: Refspec, now: Target) -> CommitInfo:
    """The newest commit of a ref that is here: a local ref's own, or what was fetched of a remote's. Raises
    RemoteError where there is none."""
    if not refspec.remote:
        return _local(current, refspec)
    fetched = ostree.commit_info(current.repo, str(refspec))
    if str(refspec) == now.refspec and (fetched is None or fetched.timestamp < now.base.timestamp):
        # What is deployed came from there, too, and later.
        return now.base
    if fetched is None:
        raise RemoteError(
            f"nothing of {refspec} was fetched", resolution="Nothing was changed. Run it without --cache-only."
        )
    return fetched


def _local(current: Transaction, refspec: Refspec) -> CommitInfo:
    checksum = ostree.local(current.repo, refspec.ref)
    info = ostree.commit_info(current.repo, checksum) if checksum is not None else None
    if info is None:
        raise RemoteError(
            f"the local repository has no {refspec}",
            "its refs: "
            + (", ".join(r for r in ostree.refs(current.repo) if not r.startswith("apt-ostree/")) or "none"),
            "A ref of a remote is written REMOTE:REF.",
        )
    return info


def _bring(current: Transaction, refspec: Refspec, wanted: CommitInfo, *, of_ref: bool = True) -> CommitInfo:
    """Fetch a commit unless it is here, and keep it through a prune until it is deployed."""
    if refspec.remote and not _is_here(current, wanted.checksum):
        with current.phase("pull", f"Pulling {refspec} {wanted.version}".rstrip()):
            remote.pull(current.repo, refspec, wanted.checksum, current.reporter.progress, of_ref=of_ref)
    commits.hold_bases(current.sysroot, also=wanted.checksum)
    info = ostree.commit_info(current.repo, wanted.checksum)
    assert info is not None
    return info


def _is_here(current: Transaction, checksum: str) -> bool:
    """Whether a commit is here with all its files: ostree keeps a note beside one that is not."""
    partial = current.repo / "state" / f"{checksum}.commitpartial"
    return ostree.commit_info(current.repo, checksum) is not None and not partial.exists()


def rebase(
    settings: Settings,
    where: str,
    revision: str | None,
    edit: Edit,
    options: Options,
    reporter: Reporter,
    *,
    skip_branch_check: bool = False,
) -> Outcome:
    """Follow another ref from now on, at its newest commit or at ``revision``; what is layered is laid over it.

    Raises UsageError, RemoteError, and what ``layer.reach`` raises; nothing has changed then.
    """
    tx.require_root()
    remote.parse(where, Refspec("x", "x"))
    with tx.transaction(settings, reporter) as current:
        now = standing(current)
        before = remote.parse(now.refspec) if now.refspec else None
        refspec = remote.parse(where, before)
        after = edit.apply(current, now.intent)
        if revision is None:
            base = newest_base(current, refspec, now, options, allow_downgrade=True)
        else:
            base = _find(current, refspec, revision, options, skip_branch_check=skip_branch_check)
        pinned = base.checksum if revision is not None else ""
        target = replace(now, base=base, refspec=str(refspec), pinned=pinned, intent=after)
        if (base.checksum, str(refspec)) != (now.base.checksum, now.refspec):
            target = replace(target, free=let_go(current, ()))
        outcome = reach(current, settings, target, replace(options, refresh=True))
        if outcome.deployment is not None and before is not None and before.remote and before != refspec:
            # As 'ostree admin switch' does: nothing follows it any more. What is deployed is held by refs of ours.
            ostree.delete_ref(current.repo, str(before))
        if outcome.changed or options.download_only:
            return outcome
        return replace(outcome, message=f"No change: this is {refspec} {described(base)}.")


def deploy(
    settings: Settings,
    revision: str,
    edit: Edit,
    options: Options,
    reporter: Reporter,
    *,
    skip_branch_check: bool = False,
) -> Outcome:
    """Take a commit of the origin's ref by its checksum or version, older or newer; ``upgrade`` moves on from it.

    Raises UsageError, RemoteError, and what ``layer.reach`` raises; nothing has changed then.
    """
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        now = standing(current)
        target = replace(now, intent=edit.apply(current, now.intent))
        base = _find(current, _followed(now), revision, options, skip_branch_check=skip_branch_check)
        if base.checksum != now.base.checksum:
            target = replace(target, base=base, pinned=base.checksum, free=let_go(current, ()))
        outcome = reach(current, settings, target, replace(options, refresh=base.checksum != now.base.checksum))
        if outcome.changed or options.download_only:
            return outcome
        return replace(outcome, message=f"No change: {described(base)} is what is deployed.")


def _find(
    current: Transaction, refspec: Refspec, revision: str, options: Options, *, skip_branch_check: bool
) -> CommitInfo:
    """A commit by checksum, by the start of one, or by version, in the history of a ref; by which, a prefix may say."""
    kind, equals, wanted = revision.partition("=")
    if not equals or kind not in {"version", "revision"}:
        kind, wanted = "", revision
    if not wanted:
        raise UsageError("name a revision: a version, or a commit's checksum")
    if skip_branch_check and ostree.CHECKSUM.fullmatch(wanted):
        if refspec.remote and not options.cache_only and not _is_here(current, wanted):
            with current.phase("pull", f"Pulling {wanted[:12]}"):
                remote.pull(current.repo, refspec, wanted, current.reporter.progress, of_ref=False)
        return _local(current, Refspec("", wanted))
    seen = []
    with remote.looking(current.repo, current.area) as child:
        if refspec.remote and not options.cache_only:
            current.reporter.step(f"Looking through {refspec}")
            commits = remote.history(child, refspec)
        else:
            commits = _local_history(current, refspec)
        for info in commits:
            by_checksum = kind != "version" and len(wanted) >= SHORTEST and info.checksum.startswith(wanted)
            if by_checksum or (kind != "revision" and info.version == wanted):
                found = info
                break
            seen.append(info.version or info.checksum[:12])
        else:
            more = ", …" if len(seen) > KNOWN_SHOWN else ""
            raise RemoteError(
                f"{wanted} is not in the history of {refspec}",
                f"it has: {', '.join(seen[:KNOWN_SHOWN])}{more}",
                "--skip-branch-check takes a commit of another ref, by its whole checksum.",
            )
    return _bring(current, refspec, found, of_ref=False)


def _local_history(current: Transaction, refspec: Refspec) -> Iterator[CommitInfo]:
    """What is here of a ref: its commits, and the bases of the deployments that follow it."""
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
    moment = datetime.fromtimestamp(info.timestamp, UTC)
    return f"{info.version or info.checksum[:12]} ({moment:%Y-%m-%d %H:%M} UTC)"
