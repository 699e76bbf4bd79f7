"""One transaction on a sysroot: root, the lock, a clean work area, signals, and the deployments as loaded."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..changes import Change, difference
from ..errors import (
    AptOstreeError,
    ConfigError,
    Interrupted,
    NotRootError,
    SpaceError,
    ToolError,
    TreeError,
    UnexpectedError,
    UsageError,
)
from ..host import caller, lifetime, mounts
from ..host.door import Tree
from ..host.files import sync_filesystem
from ..host.proc import signals_held
from ..inputs import config
from ..inputs.config import Config
from ..layering.cache import Cached
from ..model import Deployment, Package
from ..reporter import Reporter
from ..system import inventory, journal, sysroot
from ..system.lock import holder, lock
from ..system.sysroot import Sysroot
from . import recovery
from .recovery import prepare_area, recover, sweep

_log = logging.getLogger(__name__)

RUN = Path("/run/apt-ostree")
"""The path of apt's area in a transaction's own mount namespace: the unprivileged fetcher can reach it, wherever the
sysroot is."""

LOCK = "ostree/apt-ostree.lock"

_SYSROOT = Path("/sysroot")
"""Where a booted system has its sysroot mounted."""

AS_CONFIGURED = -1.0
"""Seconds to wait for the lock where the command line does not say."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that every command which changes a system takes."""

    sysroot: Path = Path("/")
    stateroot: str | None = None
    dry_run: bool = False
    wait: float | None = AS_CONFIGURED
    reboot: bool = False
    """Reboot into the new deployment at once; only for the running system."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A locked sysroot: no other apt-ostree changes it while this exists."""

    id: str
    sysroot: Sysroot
    osname: str
    reporter: Reporter
    journal: journal.Writer
    config: Config
    kargs: tuple[str, ...] | None = None
    """The kernel arguments of the next deployment; None keeps those of what boots next."""
    dry_run: bool = False
    looked_at: dict[str, Cached] = field(default_factory=dict)
    """The files that a dry run was given, by their digests: it solves with them as if they were imported."""

    @contextmanager
    def phase(self, name: str, message: str = "") -> Iterator[None]:
        """Run the block as the phase ``name`` of this transaction, which goes to the journal; ``message`` goes to the
        user. docs/transactions.md lists the names."""
        self.reporter.phase(name)
        if message:
            self.reporter.step(message)
        with self.journal.phase(name):
            yield

    def did(self, name: str) -> bool:
        """True if a phase of this name has begun."""
        return any(phase.name == name for phase in self.journal.entry.phases)

    @property
    def repo(self) -> Path:
        return self.sysroot.repo

    @property
    def area(self) -> Path:
        return self.sysroot.area

    @property
    def basis(self) -> Deployment:
        """The deployment whose intent the next one builds on: what boots next."""
        return self.sysroot.of(self.osname)[0]

    @property
    def merge(self) -> Deployment:
        """The deployment whose /etc the next one inherits: the booted one, or what boots next."""
        return self.sysroot.merge(self.osname)

    @property
    def log(self) -> Path:
        """The file for the scripts' output of this transaction; it is kept when the transaction fails.

        In /var/log of the stateroot, unless a link is on the way there, which could lead anywhere.
        """
        name = f"{self.id}.log"
        stateroot = stateroot_of(self.sysroot, self.osname)
        try:
            Tree(stateroot).make_directory(journal.LOGS)
        except TreeError:
            Tree(self.area).make_directory("log", 0o700)
            return self.area / "log" / name
        return stateroot / journal.LOGS / name

    def reloaded(self, fresh: Sysroot) -> Transaction:
        return replace(self, sysroot=fresh)


def loaded(settings: Settings) -> Sysroot:
    """The sysroot of a question. Raises SysrootError, also for a stateroot that it does not have."""
    found = sysroot.load(settings.sysroot.absolute())
    if settings.stateroot is not None:
        found.stateroot(settings.stateroot)
    return found


def configuration(loaded: Sysroot, osname: str) -> Config:
    """The settings of the system that is worked on, whichever runs this. Raises ConfigError."""
    return config.load(loaded.path / loaded.merge(osname).path)


def _configuration(loaded: Sysroot, osname: str, reporter: Reporter, lenient: bool) -> Config:
    try:
        return configuration(loaded, osname)
    except ConfigError as error:
        if not lenient:
            raise
        reporter.warn(f"{error.brief}; the defaults are used ({error.detail.partition(chr(10))[0]})")
        return Config()


def reboot() -> None:
    """Restart the machine the orderly way, which finalises a staged deployment. Raises ToolError."""
    lifetime.outside("systemctl", "reboot")


def require_root() -> None:
    """Refuse before anything is done. Raises NotRootError."""
    if os.geteuid() != 0:
        raise NotRootError("this needs root", resolution="Run it with sudo, or as root.")


@contextmanager
def transaction(settings: Settings, reporter: Reporter, *, lenient: bool = False) -> Iterator[Transaction]:
    """Take the lock, sweep what an earlier run left, and load the sysroot; ``lenient`` as sysroot.load has it, and the
    defaults stand for a configuration that cannot be read.

    Raises NotRootError, SysrootError, ConfigError, LockedError, and Interrupted once a signal came.
    """
    require_root()
    path = settings.sysroot.absolute()
    if set('"\n') & set(str(path)):
        raise UsageError("the path of a sysroot must not contain quotes or newlines", str(path))
    found = sysroot.load(path, lenient=lenient)
    path = found.path
    if settings.reboot and found.booted is None:
        raise UsageError("--reboot works only on the running system", f"{path} is not the booted system")
    chosen = _configuration(found, found.stateroot(settings.stateroot), reporter, lenient)
    wait = chosen.wait if settings.wait == AS_CONFIGURED else settings.wait
    began, identifier = journal.now(), journal.identify()
    reporter.begin(identifier)
    if wait != 0 and (at_work := holder(path / LOCK)) is not None:
        reporter.step(f"Waiting for {at_work}")
    if path == Path("/"):
        _close_to_others(reporter)
    _own_mounts(path)
    with lifetime.contained(), lock(path / LOCK, wait=wait, identifier=identifier) as killed:
        if killed is not None:
            killed.wait_for_end()
        loaded = sysroot.load(path, lenient=lenient)
        osname = loaded.stateroot(settings.stateroot)
        loaded.of(osname)
        prepare_area(loaded)
        sweep(loaded, reporter)
        recover(loaded, reporter, killed=killed is not None)
        RUN.mkdir(mode=0o755, exist_ok=True)
        mounts.bind(loaded.area / "apt", RUN)
        writer = journal.Writer(
            stateroot_of(loaded, osname),
            journal.Entry(
                identifier,
                lifetime.command(),
                caller.uid(),
                tuple(caller.words()),
                began,
                phases=(journal.Phase("lock", began),),
                old=loaded.of(osname)[0].id,
            ),
            reporter,
            silent=settings.dry_run,
        )
        try:
            with _recorded(writer, loaded, osname):
                current = Transaction(identifier, loaded, osname, reporter, writer, chosen, dry_run=settings.dry_run)
                why = "booted" if current.merge.booted else "first that is not staged; none of this stateroot is booted"
                _log.debug("merge deployment: %s (%s)", current.merge.id, why)
                yield current
        finally:
            # What cannot be removed now is swept by the next command; the error of this one is the one to show.
            with contextlib.suppress(OSError, ToolError, TreeError):
                recovery.empty(loaded, "tmp")
            with contextlib.suppress(Interrupted):
                recovery.drop_unpublished(loaded, reporter)
            # A publication has synced already; after a failure what was imported stays of use.
            if loaded.unsynced.exists() and not recovery.is_unknown(loaded):
                sync_filesystem(loaded.repo)
                loaded.unsynced.unlink()


def _close_to_others(reporter: Reporter) -> None:
    """Before the running system fetches or builds anything, keep users from what lies below /sysroot.

    They would run the set-user-ID programs of its objects and deployments, and exchange directories of theirs in a new
    deployment for links while OSTree merges /etc into it as root, by whole paths, in the shutdown. What was booted is
    another mount, and OSTree makes this one writable for itself alone. Where the tree has apt-ostree-sysroot.service,
    that was done at the boot.
    """
    try:
        mounts.close_to_others(_SYSROOT)
    except ToolError as error:
        reporter.warn(f"{error.brief}: {error.detail}; users may reach what packages that were not booted have there")


def _own_mounts(path: Path) -> None:
    """Enter a mount namespace: later mounts are seen by this process and its children alone, and end with them."""
    mounts.enter_private_namespace()
    if path == Path("/"):
        # A booted system may mount these read-only; this opens them for us alone, for the lock above all.
        mounts.make_writable(_SYSROOT)
        mounts.make_writable(Path("/boot"))


_HAD_FINISHED = "The operation had finished: the new deployments are in place. To see them: apt-ostree status"


@contextmanager
def _recorded(writer: journal.Writer, loaded: Sysroot, osname: str) -> Iterator[None]:
    """Say in the journal how what runs inside ends, from the deployments themselves."""
    had = _packages(loaded, osname)

    def end(state: str, error: str = "") -> bool:
        try:
            fresh = loaded.again()
            changed = _order(fresh) != _order(loaded)
            change = difference(had, _packages(fresh, osname)) if changed else Change()
            writer.end(state, fresh.of(osname)[0].id if changed else None, change, error)
        except AptOstreeError:
            # The operation's own error is the one to show.
            changed = False
            writer.end(journal.FAILED, None, Change(), error)
        return changed

    try:
        yield
    except Interrupted as error:
        if end(journal.INTERRUPTED, error.brief):
            error.resolution = _HAD_FINISHED
        raise
    except (AptOstreeError, OSError) as raised:
        told = _full(raised)
        if not isinstance(told, AptOstreeError):
            end(journal.FAILED, str(told))
            raise
        # A detail may be what a script or a tool printed, or a line of a closed file; the journal is for everybody.
        end(journal.FAILED, told.brief)
        raise told from raised
    except Exception as error:
        # Its text may quote anything; the traceback, for root alone, has it.
        end(journal.FAILED, f"a mistake in apt-ostree: {type(error).__name__}")
        identifier = writer.entry.id
        written = journal.write_traceback(writer.stateroot, loaded.area, identifier, error)
        raise UnexpectedError(error, identifier, written) from error
    except BaseException as error:
        end(journal.FAILED, type(error).__name__)
        raise
    changed = False
    try:
        # A signal now changes nothing any more of what there is to say.
        with signals_held():
            changed = end(journal.DONE)
    except Interrupted as error:
        if changed:
            error.resolution = _HAD_FINISHED
        raise


def _order(loaded: Sysroot) -> list[tuple[str, bool]]:
    """The deployments as the user knows them, without the pins that we set for retention."""
    return [(d.id, d.pinned) for d in loaded.deployments]


def _full(error: AptOstreeError | OSError) -> AptOstreeError | OSError:
    """The error as it is, or that the disk is full: many tools say so only in passing, of a file that is "damaged"."""
    if isinstance(error, OSError):
        brief, detail = "", str(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    else:
        brief, detail = error.brief, error.detail
        # ostree keeps a part of the disk free (ostree.repo-config(5)).
        full = os.strerror(errno.ENOSPC) in detail or "min-free-space" in detail
    if not full or isinstance(error, SpaceError):
        return error
    return SpaceError(
        "no space left on the disk",
        f"{brief}\n{detail}".strip(),
        "Nothing was lost. Free some space, for instance with 'apt-ostree cleanup -b', and run the command again.",
    )


def _packages(loaded: Sysroot, osname: str) -> list[Package]:
    """The packages of what boots next; none where they cannot be read."""
    try:
        return inventory.package_list(loaded.repo, loaded.of(osname)[0].checksum)
    except Interrupted:
        raise
    except AptOstreeError:
        return []


def stateroot_of(loaded: Sysroot, osname: str) -> Path:
    return loaded.path / "ostree/deploy" / osname
