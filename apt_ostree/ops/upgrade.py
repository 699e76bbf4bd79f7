"""Operations that move to another base: upgrade, rebase and deploy. What is layered comes along."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import SysrootError
from ..model import CommitInfo, Plan
from ..reporter import Reporter
from ..system import metadata, origin, remote
from ..system.remote import Refspec
from ..tools import ostree
from . import remote_base
from . import transaction as tx
from .goal import Goal, Options, as_is, let_go
from .intents import IntentEdit, import_files
from .layer import Outcome, reach
from .remote_base import Revision
from .transaction import Settings, Transaction


@dataclass(frozen=True, slots=True)
class Scope:
    """The extent of an upgrade; with ``names``, it changes no other layered packages."""

    names: tuple[str, ...] = ()
    layers_only: bool = False
    allow_downgrade: bool = False


def upgrade(settings: Settings, scope: Scope, edit: IntentEdit, options: Options, reporter: Reporter) -> Outcome:
    """Take the newest base of the origin's ref and new versions of what is layered; accounts keep their numbers.

    A dry run pulls the base, solves over it and deploys nothing: what it prints is what an upgrade then does.
    Raises RemoteError, SysrootError, and what ``layer.reach`` raises; nothing has changed then.
    """
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        now = as_is(current)
        after = edit.apply(current, now.intent, import_files(current, edit.files))
        target = replace(now, intent=after, free=let_go(current, scope.names))
        if not scope.layers_only:
            refspec = _followed(current, now)
            base = remote_base.newest(current, refspec, now, options.cache_only, allow_downgrade=scope.allow_downgrade)
            target = replace(target, base=base, pinned="")
            _tell_of_end(current, base)
        outcome = reach(current, settings, target, replace(options, refresh=True))
        if outcome.changed or options.download_only:
            return outcome
        looked = not scope.layers_only and not remote.parse(now.refspec).fixed
        return replace(outcome, message=up_to_date(now.base if looked else None, outcome.plan))


def up_to_date(base: CommitInfo | None, plan: Plan) -> str:
    """The message that neither the base, where it was looked at, nor a layered package has a newer version."""
    count = len(plan.packages)
    parts = [f"base {remote_base.described(base)}"] if base is not None else []
    parts += [f"{count} layered package{'s' if count != 1 else ''}"] if count else []
    return f"Already up to date: {', '.join(parts)}." if parts else "Already up to date."


def _tell_of_end(current: Transaction, base: CommitInfo) -> None:
    """Warn where the author of a base says that no newer one comes (ostree.endoflife)."""
    if (text := metadata.end_of_life(base)) is None:
        return
    follow = metadata.successor(base)
    way = f"; its author names a successor: apt-ostree rebase {follow}" if follow else ""
    current.reporter.warn(f"the base is at its end of life: {text}{way}")


def _followed(current: Transaction, target: Goal) -> Refspec:
    if state := origin.unconfigured(current.basis.origin):
        raise SysrootError(
            "the deployment's origin says that it cannot be upgraded yet",
            state,
            "To follow another ref: apt-ostree rebase REMOTE:REF",
        )
    if not target.refspec:
        raise SysrootError(
            "the deployment's origin does not name a ref to upgrade from",
            resolution="To upgrade the layered packages alone, add --layers-only. "
            "To follow a ref: apt-ostree rebase REMOTE:REF",
        )
    refspec = remote.parse(target.refspec)
    if refspec.fixed:
        current.reporter.warn(
            f"the base stays at commit {refspec.ref[:12]}, which was chosen by its checksum; to follow a ref: "
            "apt-ostree rebase REMOTE:REF"
        )
    return refspec


def rebase(
    settings: Settings, where: str, revision: Revision | None, edit: IntentEdit, options: Options, reporter: Reporter
) -> Outcome:
    """Follow another ref, at its newest commit or at ``revision``, and layer the same packages on it.

    Raises UsageError, RemoteError, and what ``layer.reach`` raises; nothing has changed then.
    """
    tx.require_root()
    remote.parse(where, Refspec("x", "x"))
    with tx.transaction(settings, reporter) as current:
        now = as_is(current)
        before = remote.parse(now.refspec) if now.refspec else None
        refspec = remote.parse(where, before)
        after = edit.apply(current, now.intent, import_files(current, edit.files))
        if revision is None:
            base = remote_base.newest(current, refspec, now, options.cache_only, allow_downgrade=True)
        else:
            base = remote_base.find(current, refspec, revision, options.cache_only)
        _tell_of_end(current, base)
        pinned = base.checksum if revision is not None else ""
        target = replace(now, base=base, refspec=str(refspec), pinned=pinned, intent=after)
        if (base.checksum, str(refspec)) != (now.base.checksum, now.refspec):
            target = replace(target, free=let_go(current, ()))
        outcome = reach(current, settings, target, replace(options, refresh=True))
        if outcome.deployment is not None and before is not None and before.remote and before != refspec:
            # As 'ostree admin switch' does: nothing follows it any longer. Refs of ours hold the deployed commits.
            ostree.delete_ref(current.repo, str(before))
        if outcome.changed or options.download_only:
            return outcome
        return replace(outcome, message=f"Nothing to do: the base is already {refspec}, {remote_base.described(base)}.")


def deploy(settings: Settings, revision: Revision, edit: IntentEdit, options: Options, reporter: Reporter) -> Outcome:
    """Take a commit of the origin's ref by its checksum or version, older or newer; ``upgrade`` moves on from it.

    Raises UsageError, RemoteError, and what ``layer.reach`` raises; nothing has changed then.
    """
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        now = as_is(current)
        target = replace(now, intent=edit.apply(current, now.intent, import_files(current, edit.files)))
        base = remote_base.find(current, _followed(current, now), revision, options.cache_only)
        _tell_of_end(current, base)
        if base.checksum != now.base.checksum:
            target = replace(target, base=base, pinned=base.checksum, free=let_go(current, ()))
        outcome = reach(current, settings, target, replace(options, refresh=base.checksum != now.base.checksum))
        if outcome.changed or options.download_only:
            return outcome
        return replace(outcome, message=f"Nothing to do: base {remote_base.described(base)} is already deployed.")
