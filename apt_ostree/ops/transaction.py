"""One transaction on a sysroot: root, the lock, a clean work area, signals, and the deployments as loaded."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import AptOstreeError, Interrupted, NotRootError, SpaceError, SysrootError, ToolError, UsageError
from ..host import caller, lifetime, mounts
from ..host.fs import make_beneath, remove_tree, sync_filesystem, write_atomically
from ..inputs import config
from ..inputs.config import Config
from ..layering import cache
from ..model import CommitInfo, Deployment, Package
from ..reporter import Reporter
from ..system import inventory, journal, origin, publication, reordering, sysroot
from ..system.inventory import Change
from ..system.lock import holder, lock
from ..system.sysroot import Sysroot
from ..tools import ostree

RUN = Path("/run/apt-ostree")
"""Where a transaction's own mount namespace shows apt's area: a path that the unprivileged fetcher can reach,
wherever the sysroot lies."""

LOCK = "ostree/apt-ostree.lock"

KILLED = "the process was killed, or the machine stopped"
"""What the journal says of a transaction that could not say so itself."""

PENDING_REF = "apt-ostree/pending"
"""Holds a new layer between its commit and its deployment, so that no concurrent prune takes it."""

BASE_REF = "apt-ostree/base"


AS_CONFIGURED = -1.0
"""Seconds to wait for the lock where the command line does not say."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What every mutating command takes."""

    sysroot: Path = Path("/")
    stateroot: str | None = None
    dry_run: bool = False
    wait: float | None = AS_CONFIGURED
    reboot: bool = False
    """Whether the system shall boot what comes of it at once; only a booted one can."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A locked sysroot: nobody else of us changes it while this exists."""

    id: str
    sysroot: Sysroot
    osname: str
    reporter: Reporter
    journal: journal.Writer
    config: Config
    kargs: tuple[str, ...] | None = None
    """What the next deployment boots with; None: what boots next now has."""

    @contextmanager
    def phase(self, name: str, message: str = "") -> Iterator[None]:
        """What runs inside is the phase ``name`` of this transaction: the journal knows, and with ``message`` the
        user, too. docs/transactions.md lists the names."""
        self.reporter.phase(name)
        if message:
            self.reporter.step(message)
        with self.journal.phase(name):
            yield

    def did(self, name: str) -> bool:
        """Whether a phase of this name has begun."""
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
        return merge_of(self.sysroot, self.osname)

    @property
    def log(self) -> Path:
        """Where the scripts' output of this transaction goes; kept when it fails.

        In /var/log of the stateroot, unless a link is on the way there: that leads who knows where.
        """
        place = make_beneath(self.sysroot.path / "ostree/deploy" / self.osname, journal.LOGS)
        if place is None:
            place = self.area / "log"
            place.mkdir(mode=0o700, exist_ok=True)
        return place / f"{self.id}.log"

    def reloaded(self, fresh: Sysroot) -> Transaction:
        return replace(self, sysroot=fresh)


def loaded(settings: Settings) -> Sysroot:
    """The sysroot of a question. Raises SysrootError, also for a stateroot that it does not have."""
    found = sysroot.load(settings.sysroot.absolute())
    if settings.stateroot is not None:
        found.stateroot(settings.stateroot)
    return found


def merge_of(loaded: Sysroot, osname: str) -> Deployment:
    """The deployment of a stateroot that is booted, or that boots next: a staged one has no /etc yet. Raises
    SysrootError when it has none."""
    booted, own = loaded.booted, loaded.of(osname)
    if booted is not None and booted.osname == osname:
        return booted
    return next((d for d in own if not d.staged), own[0])


def configuration(loaded: Sysroot, osname: str) -> Config:
    """The settings of the system that is worked on, whichever runs this. Raises ConfigError."""
    return config.load(loaded.path / merge_of(loaded, osname).path / "etc")


def reboot() -> None:
    """Restart the machine the orderly way, which finalises a staged deployment. Raises ToolError."""
    lifetime.outside("systemctl", "reboot")


def require_root() -> None:
    """Refuse before anything is done. Raises NotRootError."""
    if os.geteuid() != 0:
        raise NotRootError("this needs root", resolution="Run it with sudo, or as root.")


@contextmanager
def transaction(settings: Settings, reporter: Reporter) -> Iterator[Transaction]:
    """Take the lock, sweep what an earlier run left, and load the sysroot.

    Raises NotRootError, SysrootError, ConfigError, LockedError, and Interrupted once a signal came.
    """
    require_root()
    path = settings.sysroot.absolute()
    if set('"\n') & set(str(path)):
        raise UsageError("the path of a sysroot may hold no quote and no newline", str(path))
    found = sysroot.load(path)
    path = found.path
    if settings.reboot and found.booted is None:
        raise UsageError("--reboot is for the system that is running", f"nothing of {path} is booted")
    chosen = configuration(found, found.stateroot(settings.stateroot))
    wait = chosen.wait if settings.wait == AS_CONFIGURED else settings.wait
    began, identifier = journal.now(), journal.identify()
    reporter.begin(identifier)
    if wait != 0 and (at_work := holder(path / LOCK)) is not None:
        reporter.step(f"Waiting for {at_work}")
    _own_mounts(path)
    with lifetime.contained(), lock(path / LOCK, wait=wait, identifier=identifier) as killed:
        if killed is not None:
            killed.wait_for_end()
        loaded = sysroot.load(path)
        osname = loaded.stateroot(settings.stateroot)
        loaded.of(osname)
        prepare_area(loaded)
        sweep(loaded)
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
                yield Transaction(identifier, loaded, osname, reporter, writer, chosen)
        finally:
            # What cannot go now is swept by the next command, and hides no error of this one.
            with contextlib.suppress(OSError, ToolError):
                for left in (loaded.area / "tmp").iterdir():
                    remove_tree(left)
            # A publication has synced already; after a failure what was imported stays of use.
            if loaded.unsynced.exists():
                sync_filesystem(loaded.repo)
                loaded.unsynced.unlink()


def _own_mounts(path: Path) -> None:
    """What is mounted from here on is for this process and its children alone, and goes with them."""
    mounts.enter_private_namespace()
    if path == Path("/"):
        # A booted system may mount these read-only; this opens them for us alone, for the lock above all.
        mounts.make_writable(Path("/sysroot"))
        mounts.make_writable(Path("/boot"))


@contextmanager
def _recorded(writer: journal.Writer, loaded: Sysroot, osname: str) -> Iterator[None]:
    """Say in the journal how what runs inside ends, from the deployments themselves."""
    had = _packages(loaded, osname)

    def end(state: str, error: str = "") -> bool:
        try:
            fresh = sysroot.load(loaded.path)
            changed = _order(fresh) != _order(loaded)
            change = inventory.difference(had, _packages(fresh, osname)) if changed else Change()
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
            error.resolution = "It was done before: the new deployments are in force; 'apt-ostree status' shows them."
        raise
    except (AptOstreeError, OSError) as raised:
        told = _full(raised)
        if not isinstance(told, AptOstreeError):
            end(journal.FAILED, str(told))
            raise
        first = told.detail.partition("\n")[0]
        end(journal.FAILED, f"{told.brief}: {first}" if first else told.brief)
        raise told from raised
    except BaseException as error:
        end(journal.FAILED, str(error) or type(error).__name__)
        raise
    end(journal.DONE)


def _order(loaded: Sysroot) -> list[tuple[str, bool]]:
    """What the user knows of the deployments; pins of our own, for retention, are none of it."""
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
        "Nothing was lost. Free some space ('apt-ostree cleanup -b' helps) and run the command again.",
    )


def _packages(loaded: Sysroot, osname: str) -> list[Package]:
    """What boots next has these; none where that cannot be told."""
    try:
        return inventory.package_list(loaded.repo, loaded.of(osname)[0].checksum)
    except AptOstreeError:
        return []


def stateroot_of(loaded: Sysroot, osname: str) -> Path:
    return loaded.path / "ostree/deploy" / osname


def recover(loaded: Sysroot, reporter: Reporter, *, killed: bool) -> None:
    """After a transaction that was killed: say so in the journal, and remove what only it knew of.

    ``killed`` tells that the lock's holder left its note behind; a document that says "running" tells the same.
    That is: references without an owner, packages that are not whole, and with them every object and every tree
    that nothing needs. Complete packages stay: the command will be run again.
    """
    dead = []
    for stateroot in sorted((loaded.path / "ostree/deploy").iterdir()):
        # It is worth less than the operation, which warns where it cannot be written either.
        with contextlib.suppress(OSError):
            journal.tidy(stateroot)
        try:
            found = journal.read(stateroot)
        except OSError:
            continue
        dead += [(stateroot, e) for e in found if isinstance(e, journal.Entry) and e.state == journal.RUNNING]
    if not dead and not killed:
        return
    try:
        cache.drop_incomplete(loaded.repo, loaded.area)
        hold_bases(loaded)
        publication.prune(loaded.path)
        for stateroot, entry in dead:
            boots = next((d.id for d in loaded.deployments if d.osname == stateroot.name), None)
            journal.write(
                stateroot,
                replace(
                    entry,
                    state=journal.INTERRUPTED,
                    ended=journal.now(),
                    new=boots if boots != entry.old else None,
                    error=KILLED,
                ),
            )
    except (AptOstreeError, OSError) as error:
        # The next command tries again: the documents still say that it is due.
        reporter.warn(f"what an earlier command left cannot all be removed: {error}")


def prepare_area(loaded: Sysroot) -> None:
    """Make the work area: root's alone, except for apt's, into which the fetcher writes and whose lists anybody may
    search. What lies beside them there holds setuid programs and files of other systems that nobody shall reach."""
    for name, mode in (("", 0o711), ("apt", 0o755), ("base", 0o700), ("pkgs", 0o700), ("tmp", 0o700)):
        place = loaded.area / name
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(mode)


def sweep(loaded: Sysroot) -> None:
    """Remove what a killed run left: its work directories, its downloads and its unpublished commit.

    Its mounts and processes ended with it: they lived in namespaces of its own (lifetime.py).
    """
    archives = loaded.area / "apt/archives"
    partial = [
        loaded.path / "boot" / reordering.SWAP,
        *loaded.area.glob(".*"),
        *archives.glob("*"),
        *archives.glob(".*"),
    ]
    partial += loaded.path.glob("ostree/deploy/*/deploy/.*.origin.*")
    for left in [*sorted((loaded.area / "tmp").iterdir()), *partial]:
        remove_tree(left)
    if loaded.unsynced.exists():
        # Damaged, it names another boot than this one, and nothing that was synced. What a deployment asks for was,
        # before that was published; and a package that was given as a file can be fetched from nowhere.
        boot, *kept = loaded.unsynced.read_text(errors="replace").split() or [""]
        if boot != _boot_id():
            given = {entry.sha256 for d in loaded.deployments for entry in origin.intent(d.origin).local}
            _forget_unsynced(loaded, {*kept, *given})
    if PENDING_REF in ostree.refs(loaded.repo, "apt-ostree"):
        ostree.delete_ref(loaded.repo, PENDING_REF)


def mark_unsynced(loaded: Sysroot) -> None:
    """Note that objects will be written without fsync from here on, until they are synced all at once; and
    which packages were imported, and synced, before."""
    if not loaded.unsynced.exists():
        known = sorted(place.name for place in (loaded.area / "pkgs").iterdir())
        write_atomically(loaded.unsynced, "\n".join([_boot_id(), *known]).encode())


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _forget_unsynced(loaded: Sysroot, kept: set[str]) -> None:
    """After a power cut: drop every object that was written without fsync and not published.

    OSTree takes an object that exists for whole, so a damaged one would go into later commits. Deployments
    were synced, and so were the packages in ``kept``; what only others and an unpublished layer reach goes.
    """
    remove_tree(loaded.area / "base")
    # The files of refs, not ostree: a ref may be damaged, too.
    heads = loaded.repo / "refs/heads"
    remove_tree(heads / PENDING_REF)
    for directory in (loaded.area / "pkgs", heads / cache.REF):
        for place in sorted(directory.iterdir()) if directory.is_dir() else []:
            if place.name not in kept:
                remove_tree(place)
    ostree.prune(loaded.repo)
    loaded.unsynced.unlink()


def base_of(repo: Path, deployment: Deployment) -> CommitInfo:
    """The base commit of a deployment: its own where nothing is layered. Raises SysrootError."""
    info = commit_of(repo, deployment)
    if not info.layered:
        return info
    base = ostree.commit_info(repo, info.parent) if info.parent else None
    if base is None:
        raise SysrootError(
            f"the base of deployment {deployment.index} is missing",
            f"commit {info.parent} is not in {repo}",
            "Pull it again, or deploy another commit.",
        )
    return base


def commit_of(repo: Path, deployment: Deployment) -> CommitInfo:
    """A deployment's own commit. Raises SysrootError when the repository lost it."""
    info = ostree.commit_info(repo, deployment.checksum)
    if info is None:
        raise SysrootError(
            f"the commit of deployment {deployment.index} is missing",
            f"{deployment.checksum} is not in {repo}",
            "Pull it again (ostree pull), or boot another deployment ('apt-ostree rollback --list').",
        )
    return info


def hold_bases(loaded: Sysroot, also: str | None = None) -> None:
    """Keep the base commits of all deployments (and ``also``) through a prune, and no others of ours.

    Where a deployment's cannot be told, none is let go.
    """
    wanted, known = set() if also is None else {also}, also is None
    for deployment in loaded.deployments:
        try:
            wanted.add(base_of(loaded.repo, deployment).checksum)
        except SysrootError:
            known = False
    held = {ref: ref.rpartition("/")[2] for ref in ostree.refs(loaded.repo, BASE_REF)}
    for checksum in sorted(wanted - set(held.values())):
        ostree.create_ref(loaded.repo, f"{BASE_REF}/{checksum}", checksum)
    if known:
        for ref, checksum in held.items():
            if checksum not in wanted:
                ostree.delete_ref(loaded.repo, ref)
