"""Looking for updates: newer commits of the remote and newer packages of the archives, remembered for ``status``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ..changes import Change, difference
from ..errors import AptOstreeError, Interrupted, TreeError
from ..layering.base import checkout
from ..model import CommitInfo
from ..reporter import Reporter
from ..system import remote
from ..system.inventory import package_list
from ..tools import apt, ostree
from . import remote_base
from . import transaction as tx
from .available import Update, cached, remember
from .goal import Options, as_is, let_go
from .layer import Outcome, reach
from .resolve import prepare_apt
from .transaction import Settings, Transaction


def check(settings: Settings, options: Options, reporter: Reporter) -> Update:
    """Look for a newer base and newer layered packages; only metadata is fetched.

    A remote that cannot be reached is an error; archives that cannot be are a warning, since the base is news
    enough. What becomes of the layered packages over a *new* base only ``upgrade --preview`` can tell. Raises
    RemoteError and SysrootError.
    """
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        update = _base(current, options)
        lock = let_go(current, ())
        if lock:
            try:
                update = replace(update, layered=_layered(current, options))
            except Interrupted:
                raise
            except AptOstreeError as error:
                reporter.warn(f"{error.brief}; layered packages were not checked")
        if not settings.dry_run:
            remember(current.sysroot, current.osname, update)
        return update


def refresh(settings: Settings, reporter: Reporter, *, force: bool) -> Update:
    """Fetch the archives' lists, if they are a day old or ``force`` says so, and look at the remote.

    A dry run looks, and keeps nothing of it. Raises DownloadError and RemoteError, each after the other part was done.
    """
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        now = as_is(current)
        if settings.dry_run:
            return _base(current, Options())
        failure: AptOstreeError | None = None
        try:
            tree = checkout(current.repo, current.area, now.base.checksum)
            solver, _ = prepare_apt(current, tree, now.intent, cache_only=True)
            if apt.refresh(solver, force=force):
                reporter.step("Refreshed the package lists")
        except Interrupted:
            raise
        except AptOstreeError as error:
            failure = error
        update = _base(current, Options())
        known = cached(current.sysroot, current.basis, now.base.checksum)
        remember(
            current.sysroot, current.osname, replace(update, layered=known.layered) if known is not None else update
        )
        if failure is not None:
            raise failure
        return update


def _base(current: Transaction, options: Options) -> Update:
    now = as_is(current)
    update = Update(current.basis.checksum, now.base.checksum, now.refspec, int(datetime.now(UTC).timestamp()))
    refspec = remote.parse(now.refspec) if now.refspec else None
    if refspec is None or refspec.fixed:
        return update
    if not refspec.remote:
        return _compared(current, update, now.base, remote_base.known(current, refspec, now), current.repo)
    if options.cache_only:
        # Without the network, the last look is all that is known.
        seen = cached(current.sysroot, current.basis, now.base.checksum)
        return replace(seen, layered=Change()) if seen is not None else update
    current.reporter.step(f"Looking at {refspec}")
    with remote.looking(current.repo, current.area) as child:
        newest = remote.newest(child, refspec)
        # A commit that is here already is not copied into the scratch repository.
        where = child if ostree.commit_info(child, newest.checksum) is not None else current.repo
        return _compared(current, update, now.base, newest, where)


def _compared(current: Transaction, update: Update, base: CommitInfo, newest: CommitInfo, where: Path) -> Update:
    """The update with a base that is newer, whose metadata the repository ``where`` has."""
    if newest.checksum == base.checksum or newest.timestamp < base.timestamp:
        return update
    try:
        packages = package_list(where, newest.checksum)
    except TreeError:
        # A foreign base's commit may not list them, and its files are not here.
        change = None
    else:
        change = difference(package_list(current.repo, base.checksum), packages)
    return replace(update, base=newest.checksum, version=newest.version, timestamp=newest.timestamp, difference=change)


def _layered(current: Transaction, options: Options) -> Change:
    """The change that an upgrade of the layered packages alone would make."""
    target = replace(as_is(current), free=let_go(current, ()))
    settings = Settings(current.sysroot.path, current.osname, dry_run=True)
    outcome: Outcome = reach(current, settings, target, replace(options, refresh=True, skip_missing=True))
    return outcome.change
