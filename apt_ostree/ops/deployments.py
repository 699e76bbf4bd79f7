"""Operations on whole deployments: rollback, pin, finalize and cleanup."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SysrootError, ToolError, TreeError
from ..host.door import Tree
from ..host.files import remove_tree
from ..layering import cache
from ..model import Deployment
from ..reporter import Reporter
from ..system import bootloader, commits, publication, staged, sysroot
from ..tools import ostree
from . import finish
from . import transaction as tx
from .transaction import Settings


@dataclass(frozen=True, slots=True)
class Done:
    """The result of such an operation."""

    changed: bool
    message: str
    deployment: Deployment | None = None
    dry_run: bool = False


def rollback(settings: Settings, to: str | None, reporter: Reporter) -> Done:
    """Let an earlier deployment boot next, as it is, with its own /etc.

    Without ``to`` (an index or the start of a checksum): the booted one where another boots next, else the
    one after it; so a second rollback undoes the first. Raises SysrootError when there is none.
    """
    with tx.transaction(settings, reporter, lenient=True) as current:
        chosen = _choose(current.sysroot.of(current.osname), to)
        if chosen.index == 0:
            return Done(False, f"Nothing to do: deployment {chosen.checksum[:12]} already boots next.", chosen)
        if current.sysroot.deployments[0].staged:
            raise SysrootError(
                "a staged deployment would be lost",
                f"{current.sysroot.deployments[0].checksum[:12]} is finalised at the next shutdown",
                "Reboot into it, or drop it with 'apt-ostree cleanup -p'.",
            )
        if settings.dry_run:
            return Done(True, f"Would boot {chosen.checksum[:12]} next.", chosen, dry_run=True)
        with current.phase("reorder", "Reordering deployments"):
            fresh = bootloader.set_default(current.sysroot, chosen.index)
        return Done(True, f"Deployment {chosen.checksum[:12]} boots next.", fresh.deployments[0])


@dataclass(frozen=True, slots=True)
class Choice:
    """A deployment that a rollback could boot, with the version and time of its commit."""

    deployment: Deployment
    version: str
    timestamp: int
    chosen: bool
    """True if the same command without --list would make it boot next."""


def choices(settings: Settings, to: str | None) -> list[Choice]:
    """The deployments that ``rollback`` can choose from; needs no root. Raises SysrootError."""
    loaded = sysroot.load(settings.sysroot.absolute(), lenient=True)
    own = loaded.of(loaded.stateroot(settings.stateroot))
    chosen = _choose(own, to) if to is not None or len(own) > 1 else None
    infos = [commits.look(loaded.repo, deployment)[0] for deployment in own]
    return [Choice(d, info.version, info.timestamp, d is chosen) for d, info in zip(own, infos, strict=True)]


def _choose(own: Sequence[Deployment], to: str | None) -> Deployment:
    if to is not None:
        checksum, _, serial = to.partition(".")
        found = [
            d
            for d in own
            if str(d.index) == to
            or (len(checksum) >= 6 and d.checksum.startswith(checksum) and serial in ("", str(d.serial)))
        ]
        if len(found) != 1:
            raise SysrootError(
                f"'{to}' {'does not name a deployment' if not found else 'names more than one deployment'}",
                "\n".join(f"{d.index}  {d.checksum[:12]}.{d.serial}" for d in own),
                "Name one of these by its index or the start of its checksum; if several share it, by CHECKSUM.SERIAL.",
            )
        return found[0]
    booted = next((d for d in own if d.booted), None)
    if booted is not None and booted.index != own[0].index:
        return booted
    if len(own) < 2:
        raise SysrootError(
            "there is no other deployment to roll back to",
            f"the only one is {own[0].checksum[:12]}",
            "Nothing was changed. Each new deployment keeps the one before it for a rollback.",
        )
    return own[1]


def pin(settings: Settings, index: str, pinned: bool, reporter: Reporter) -> Done:
    """Keep a deployment, by its index or its checksum, through every pruning, or no longer.

    Raises SysrootError where there is none, and for a staged one, of which libostree keeps no pin.
    """
    with tx.transaction(settings, reporter) as current:
        chosen = _choose(current.sysroot.of(current.osname), index)
        name, state = f"deployment {chosen.index} ({chosen.checksum[:12]})", "pinned" if pinned else "unpinned"
        if chosen.pinned == pinned:
            return Done(False, f"Nothing to do: {name} is already {state}.", chosen)
        if chosen.staged:
            raise SysrootError(
                f"deployment {chosen.index} is staged and cannot be pinned yet",
                resolution="Reboot into it first. To keep a way back, pin the booted deployment.",
            )
        if settings.dry_run:
            return Done(True, f"Would {'pin' if pinned else 'unpin'} {name}.", chosen, dry_run=True)
        with current.phase("pin"):
            fresh = publication.pin(current.sysroot, chosen, pinned)
        return Done(True, f"{'Pinned' if pinned else 'Unpinned'} {name}.", fresh.deployments[chosen.index])


def finalize(settings: Settings, checksum: str | None, reporter: Reporter, *, allow_unlocked: bool = False) -> Done:
    """Let the shutdown finalise the staged deployment, which has to be of the commit ``checksum`` where that is given.

    Raises SysrootError where none is staged, another one, or one that was not locked, unless that is allowed.
    """
    with tx.transaction(settings, reporter) as current:
        waiting = next((d for d in current.sysroot.of(current.osname) if d.staged), None)
        if waiting is None:
            raise SysrootError(
                "no deployment is staged", resolution="Nothing was changed. 'apt-ostree status' shows what boots next."
            )
        if checksum not in (None, waiting.checksum):
            raise SysrootError(
                "another commit is staged",
                f"expected: {checksum}\nstaged:   {waiting.checksum}",
                "Nothing was changed. See 'apt-ostree status', and name the staged commit if it is the right one.",
            )
        if not (waiting.locked or allow_unlocked):
            raise SysrootError(
                "the staged deployment is not locked",
                f"{waiting.checksum[:12]} will be finalised at the next shutdown",
                "Nothing was changed. Reboot, or add --allow-unlocked.",
            )
        name = waiting.checksum[:12]
        if settings.dry_run:
            return Done(True, f"Would reboot into {name}.", waiting, dry_run=True)
        if waiting.locked:
            staged.release(current.sysroot.path)
        return Done(True, f"Rebooting into {name}.", waiting)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a cleanup removes."""

    pending: bool = False
    rollback: bool = False
    base: bool = False
    metadata: bool = False


def cleanup(settings: Settings, parts: Parts, reporter: Reporter) -> Done:
    """Remove pending or rollback deployments, the work area and unused packages, or apt's lists.

    Caches go whatever else is damaged. Raises SysrootError, before anything is removed, where a deployment is to go and
    an origin cannot be read: ostree refuses then.
    """
    with tx.transaction(settings, reporter, lenient=True) as current:
        gone = _going(current, parts)
        if gone:
            current.sysroot.require_origins()
        files = _unused(current, parts, gone)
        if not (gone or files):
            return Done(False, "Nothing to clean up.")
        what = f"{len(gone)} deployment{'s' if len(gone) != 1 else ''} and {_size(files) / 1e6:.1f} MB of cached files"
        if settings.dry_run:
            names = "".join(f"\n  {d.checksum[:12]}.{d.serial}" for d in gone)
            return Done(True, f"Would remove {what}.{names}", dry_run=True)
        fresh = current.sysroot
        # The caches first: on a full disk ostree needs what they free.
        for place in files:
            remove_tree(place)
        for deployment in reversed(gone):
            with current.phase("deploy", f"Removing deployment {deployment.checksum[:12]}"):
                fresh = publication.undeploy(fresh, deployment)
        with current.phase("prune"):
            finish.drop_unneeded(current.reloaded(fresh))
            if any(d.damaged for d in fresh.deployments):
                reporter.warn("nothing was removed from the repository: ostree cannot read the origin of a deployment")
            else:
                ostree.cleanup(fresh.path)
        return Done(True, f"Removed {what}.")


def _unused(current: tx.Transaction, parts: Parts, gone: Sequence[Deployment]) -> list[Path]:
    """The caches that go; downloads that were not imported are swept before every command."""
    area, found = current.area, []
    if parts.base:
        found += [area / "base"] if any((area / "base").iterdir()) else []
        # Where it cannot be told what is needed, nothing goes.
        with contextlib.suppress(SysrootError, ToolError):
            stay = [d for d in current.sysroot.deployments if d not in gone]
            found += cache.garbage(area, finish.needed(current.repo, stay))
    if parts.metadata:
        found += [place for name in ("lists", "cache", "lists.json") if (place := area / "apt" / name).exists()]
    return found


def _going(current: tx.Transaction, parts: Parts) -> list[Deployment]:
    own = current.sysroot.of(current.osname)
    booted = next((d for d in own if d.booted), None)
    # On a sysroot that is not booted, what boots next takes the booted one's part.
    # A staged one is never that: it only waits.
    first = next((d.index for d in own if not d.staged), len(current.sysroot.deployments))
    anchor = booted.index if booted is not None else first
    gone = []
    for deployment in own:
        if deployment.pinned or deployment.index == anchor:
            continue
        if (parts.pending and deployment.index < anchor) or (parts.rollback and deployment.index > anchor):
            gone.append(deployment)
    return gone


def _size(places: Sequence[Path]) -> int:
    """Bytes on disk; what is linked into the repository as well would not be freed."""
    found = [place.lstat() for place in places]
    # What lies deeper than a path can name is not counted, and is removed as well.
    with contextlib.suppress(TreeError):
        for place in places:
            found += (entry.status for entry in Tree(place).walk())
    return sum(status.st_blocks * 512 for status in found if status.st_nlink == 1)
