"""The deployments that stay when another one is made, and room for the new one's kernel.

By itself ostree keeps the booted deployment, the one whose /etc is merged, and pinned ones; a staged deployment drops
all others at shutdown, when nothing of ours runs. So what else is to stay is pinned, with a note in the origin that
the pin is for retention alone: then every ostree keeps it, and the next publication lets go of what is one too many.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import SpaceError
from ..host.door import Tree
from ..host.files import write_atomically
from ..model import Deployment
from ..tools import listing, ostree
from . import origin


def kept(own: Sequence[Deployment], merge: Deployment, count: int) -> list[Deployment]:
    """The deployments of a stateroot, in boot order, that stay beside a new one.

    ``count`` is how many there may be with it; the booted one, ``merge`` and pinned ones stay in any case, and
    the pinned ones are not counted. So does what a rollback has chosen and no boot has tried yet: it may be the only
    one that is known to work. A staged one is replaced, as ostree has it.
    """
    running = any(d.booted for d in own)
    chosen = own[0] if running and not (own[0].booted or own[0].staged) else None
    free = count - 1 - len({d.id for d in own if (d.booted or d is merge) and not d.pinned and not d.staged})
    staying = []
    for deployment in own:
        if deployment.staged:
            continue
        if deployment.booted or deployment is merge or deployment is chosen or deployment.pinned:
            staying.append(deployment)
        elif free > 0:
            staying.append(deployment)
            free -= 1
    return staying


def hold(path: Path, own: Sequence[Deployment], merge: Deployment, staying: Sequence[Deployment]) -> None:
    """Let ostree keep ``staying`` and no others of ``own``, whichever tool deploys next."""
    for deployment in own:
        if deployment.pinned or deployment.staged:
            continue
        # Those that ostree keeps by itself need no note.
        wanted = deployment in staying and not deployment.booted and deployment is not merge
        if wanted != deployment.retained:
            write_pin(path, deployment, wanted, for_retention=True)


def write_pin(path: Path, deployment: Deployment, pin: bool, *, for_retention: bool = False) -> None:
    """Pin a deployment, or not, where libostree looks for that: in its origin."""
    text = origin.render(origin.with_pin(deployment.origin, pin, for_retention=for_retention))
    write_atomically(path / f"{deployment.path}.origin", text.encode(errors="surrogateescape"))


def first_to_go(
    path: Path, commit: str, own: Sequence[Deployment], staying: Sequence[Deployment], overlay: int = 0
) -> list[Deployment]:
    """The deployments to remove before the kernel of ``commit`` fits into /boot: mostly none.

    Only a /boot of its own can be full while the rest is not. ``overlay`` are the bytes of an overlay initramfs.
    Raises SpaceError where even without all that are not ``staying`` it would not fit.
    """
    boot = path / "boot"
    if not _has_own_boot(path):
        return []
    needed = overlay + _kernel_size(path / "ostree/repo", commit, [path / d.path for d in own])
    status = os.statvfs(boot)
    free = status.f_bavail * status.f_frsize
    removed: list[Deployment] = []
    for group in by_kernel(own, staying):
        if free >= needed:
            break
        removed += group
        kernel = f"ostree/{group[0].osname}-{group[0].boot_checksum}"
        free += sum(file.stat().st_size for file in boot.glob(f"{kernel}/*"))
    if free < needed:
        raise SpaceError(
            "too little space in /boot for the kernel and its initramfs",
            f"{needed / 1e6:.1f} MB are needed; without the deployments that go anyway, {boot} has {free / 1e6:.1f} MB "
            "free",
            "Unpin or remove an older deployment ('apt-ostree unpin', 'apt-ostree cleanup -r'), or enlarge /boot.",
        )
    return removed


def _has_own_boot(path: Path) -> bool:
    """True if /boot is another file system than the deployments lie on."""
    return (path / "boot").stat().st_dev != (path / "ostree").stat().st_dev


def by_kernel(own: Sequence[Deployment], staying: Sequence[Deployment]) -> list[list[Deployment]]:
    """The deployments of a stateroot that need not stay, by kernel, the oldest first. Without those whose kernel one
    that stays has, too: removing them would free nothing in /boot."""
    needed = {d.boot_checksum for d in own if d in staying}
    groups: dict[str, list[Deployment]] = {}
    for deployment in reversed(own):
        if not deployment.staged and deployment.boot_checksum not in needed:
            groups.setdefault(deployment.boot_checksum, []).append(deployment)
    return list(groups.values())


def _kernel_size(repo: Path, commit: str, deployed: Sequence[Path]) -> int:
    """Bytes that the kernel of ``commit`` takes in /boot; 0 where a deployment has the very same one there."""
    entries = listing.of(repo, commit)
    for directory in entries.inside("/usr/lib/modules").values():
        if directory.kind != "d":
            continue
        files = {
            entry.path.rpartition("/")[2]: ostree.object_path(repo, entry.checksum)
            for entry in entries.inside(directory.path).values()
            if entry.kind == "-" and entry.path.rpartition("/")[2] in {"vmlinuz", "initramfs.img"}
        }
        if "vmlinuz" not in files:
            continue
        for tree in deployed:
            place = directory.path.lstrip("/")
            if all(_is(Tree(tree).status(f"{place}/{name}"), file) for name, file in files.items()):
                return 0
        return sum(file.stat().st_size for file in files.values())
    return 0


def _is(status: os.stat_result | None, file: Path) -> bool:
    """True for the status of the very same file: a checkout links the objects."""
    return status is not None and os.path.samestat(status, file.stat())
