"""Recovery from killed runs and power cuts: sweep what they left, complete the journal, drop damaged objects."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from ..errors import AptOstreeError, Interrupted
from ..host.door import Tree
from ..host.files import remove_tree, write_atomically
from ..layering import cache
from ..reporter import Reporter
from ..system import bootloader, journal, origin, seclusion
from ..system.commits import PENDING_REF, hold_bases
from ..system.sysroot import Sysroot
from ..text import text_of
from ..tools import ostree

KILLED = "the process was killed, or the machine stopped"
"""The error in the journal of a transaction that could not write it itself."""


def recover(loaded: Sysroot, reporter: Reporter, *, killed: bool) -> None:
    """After a transaction that was killed: say so in the journal, and remove what only it knew of.

    ``killed`` says that the lock's holder left its note behind; a document in the state "running" says the same.
    Removed are references without an owner, incomplete packages, and every object and tree that nothing needs then.
    Complete packages stay, since the command will be run again.
    """
    dead = []
    for stateroot in sorted((loaded.path / "ostree/deploy").iterdir()):
        # The journal matters less than the operation, which warns if it cannot write to the journal either.
        with contextlib.suppress(OSError):
            journal.trim(stateroot)
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
        ostree.cleanup(loaded.path)
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
    except Interrupted:
        raise
    except (AptOstreeError, OSError) as error:
        # The next command tries again: the documents still say that it is due.
        reporter.warn(f"cannot remove everything that an earlier command left: {error}")


def prepare_area(loaded: Sysroot) -> None:
    """Make the work area: root's alone, except for apt's, into which the fetcher writes and whose lists anybody may
    search. The other directories hold setuid programs and files of other systems, which no user may reach.

    From here on they are ours. Raises TreeError for a link in the place of one: what is emptied would be elsewhere.
    """
    repo, area = Tree(loaded.repo), os.fspath(loaded.area.relative_to(loaded.repo))
    for name, mode in (("", 0o711), ("/apt", 0o755), ("/base", 0o700), ("/pkgs", 0o700), ("/tmp", 0o700)):
        repo.make_directory(area + name)
        repo.set_mode(area + name, mode)


def empty(loaded: Sysroot, name: str) -> None:
    """Remove everything in a directory of the work area. Raises TreeError where something is mounted there."""
    area = Tree(loaded.area)
    for left in area.names(name):
        area.remove(f"{name}/{left}")


def sweep(loaded: Sysroot, reporter: Reporter) -> None:
    """Remove what a killed run left: its work directories, its downloads and its unpublished commit.

    Its mounts and processes ended with it: they lived in namespaces of its own (host/lifetime.py).
    """
    empty(loaded, "tmp")
    empty(loaded, "apt/archives")
    seclusion.reopen(loaded.path)
    area = Tree(loaded.area)
    for name in area.names():
        if name.startswith("."):
            area.remove(name)
    for left in (loaded.path / "boot" / bootloader.SWAP, *loaded.path.glob("ostree/deploy/*/deploy/.*.origin.*")):
        remove_tree(left)
    if loaded.unsynced.exists() and not is_unknown(loaded):
        # Damaged, it names another boot than this one, and nothing that was synced. What a deployment asks for was,
        # before that was published; and a package that was given as a file can be fetched from nowhere.
        boot, *kept = text_of(loaded.unsynced).split() or [""]
        if boot != _boot_id():
            given = {entry.sha256 for d in loaded.deployments for entry in origin.intent(d.origin).local}
            _forget_unsynced(loaded, {*kept, *given})
    drop_unpublished(loaded, reporter)


def drop_unpublished(loaded: Sysroot, reporter: Reporter) -> None:
    """Remove a commit that was made and not published, with its objects: some may be set-user-ID programs, and anybody
    may search the repository. Does nothing where there is none, and warns where it cannot; then the next command tries
    again. Raises Interrupted."""
    try:
        if PENDING_REF in ostree.refs(loaded.repo, "apt-ostree"):
            _drop_pending(loaded)
    except Interrupted:
        raise
    except (AptOstreeError, OSError) as error:
        reporter.warn(f"cannot remove the files of a layer that was not deployed: {error}")


def _drop_pending(loaded: Sysroot) -> None:
    checksum = ostree.ref(loaded.repo, PENDING_REF)
    ostree.delete_ref(loaded.repo, PENDING_REF)
    with contextlib.ExitStack() as undo:
        if checksum is not None:
            undo.callback(ostree.create_ref, loaded.repo, PENDING_REF, checksum)
        # Of what is deployed by now.
        hold_bases(loaded.again())
        ostree.cleanup(loaded.path)
        undo.pop_all()


def is_unknown(loaded: Sysroot) -> bool:
    """True if an origin cannot be read, so that nobody knows which packages were given as files and have to stay: the
    mark of unsynced objects waits for the next command that knows."""
    return any(d.damaged for d in loaded.deployments)


def mark_unsynced(loaded: Sysroot) -> None:
    """Note that objects will be written without fsync from here on, until they are synced all at once; and
    which packages were imported, and synced, before."""
    if not loaded.unsynced.exists():
        known = sorted(place.name for place in (loaded.area / "pkgs").iterdir())
        write_atomically(loaded.unsynced, "\n".join([_boot_id(), *known]).encode())


def _boot_id() -> str:
    return text_of(Path("/proc/sys/kernel/random/boot_id")).strip()


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
