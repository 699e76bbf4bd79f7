"""The transactions of a stateroot, and stopping the one that runs."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import CancelError, JournalError, LockedError
from ..reporter import Reporter
from ..system import boot_counts, journal, sysroot
from ..system.lock import Holder, holder, locked_file
from . import recovery
from . import transaction as tx
from .deployments import Done
from .transaction import Settings

SWEEP_SECONDS = 30.0
"""Time that a cancel waits for the lock once its holder is gone: another command may have waited for it, too."""


@dataclass(frozen=True, slots=True)
class History:
    """The newest transaction first."""

    osname: str
    entries: tuple[journal.Entry | journal.Unreadable, ...]
    boots: Mapping[str, int] | None = None
    """The number of boots of each deployment; None if the system does not count them."""


def history(settings: Settings, count: int | None) -> History:
    """The last ``count`` transactions, or all that are kept. Raises SysrootError, and JournalError for whom the
    journal is closed."""
    loaded = sysroot.load(settings.sysroot.absolute(), lenient=True)
    osname = loaded.stateroot(settings.stateroot)
    at_work = holder(loaded.path / tx.LOCK)
    running = at_work.id if at_work is not None else ""
    stateroot = tx.stateroot_of(loaded, osname)
    try:
        entries = journal.read(stateroot, journal.READ_MAX if count is None else count)
    except OSError as error:
        raise JournalError(
            "the journal cannot be read",
            f"{stateroot / journal.PLACE}: {error.strerror}",
            "Run the command with sudo."
            if isinstance(error, PermissionError)
            else "It must be a directory, not a link.",
        ) from error
    entries = [_as_it_is(entry, running) for entry in reversed(entries)]
    return History(osname, tuple(entries), boot_counts.read(tx.stateroot_of(loaded, osname)))


def _as_it_is(entry: journal.Entry | journal.Unreadable, running: str) -> journal.Entry | journal.Unreadable:
    """A document that says "running" while nobody does was left by a kill; the next transaction writes so."""
    if isinstance(entry, journal.Entry) and entry.state == journal.RUNNING and entry.id != running:
        return replace(entry, state=journal.INTERRUPTED, error=recovery.KILLED)
    return entry


def cancel(settings: Settings, reporter: Reporter) -> Done:
    """Stop the transaction in progress as ^C in its own terminal would; wait until it is gone, and sweep.

    One that is just publishing finishes that first: the result says what came of it. Raises CancelError where
    the lock does not tell who holds it, or names a process that is not the one that took it.
    """
    tx.require_root()
    path = settings.sysroot.absolute()
    before = sysroot.load(path)
    found = holder(path / tx.LOCK)
    if found is None:
        return Done(False, "No transaction is in progress.")
    descriptor = found.open()
    if descriptor is None:
        if holder(path / tx.LOCK) is None:
            return Done(False, "No transaction is in progress; the last one has just ended.")
        raise CancelError(
            "cannot tell which process to stop",
            f"the lock {locked_file(path / tx.LOCK)} is held; {found}",
            f"Find the process with 'fuser {locked_file(path / tx.LOCK)}' and end it; then run 'apt-ostree "
            "cleanup -b'.",
        )
    try:
        if settings.dry_run:
            return Done(True, f"Would stop {found}.", dry_run=True)
        reporter.step(f"Stopping {found}")
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        # One that its terminal has stopped hears nothing before it goes on.
        signal.pidfd_send_signal(descriptor, signal.SIGCONT)
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        waiting.poll()
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    return _what_came_of(settings, before, found, reporter)


def _what_came_of(settings: Settings, before: sysroot.Sysroot, stopped: Holder, reporter: Reporter) -> Done:
    try:
        with tx.transaction(replace(settings, wait=SWEEP_SECONDS), reporter) as current:
            after = current.sysroot
    except LockedError:
        # It waited for the lock, and sweeps as we would have.
        after = sysroot.load(before.path)
    if [d.id for d in after.deployments] == [d.id for d in before.deployments]:
        return Done(True, f"Stopped {stopped}. The deployments are as they were.")
    first = after.deployments[0]
    return Done(True, f"It ended before it could be stopped: {first.checksum[:12]} boots next.", first)
