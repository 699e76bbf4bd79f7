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
from ..host.files import check_space, on_disk, write_atomically
from ..model import Deployment
from ..tools import listing, ostree
from . import origin

_COPIED = (("vmlinuz",), ("initramfs.img", "initramfs"), ("devicetree",), (".vmlinuz.hmac",), ("aboot.img",))
"""What libostree copies to /boot of a kernel's directory, besides ``dtb``, a directory, where there is no
``devicetree`` (ostree-sysroot-deploy.c)."""


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

    Only a /boot of its own can be full while the rest is not; else there has to be room beside the reserve.
    ``overlay`` are the bytes of an overlay initramfs. The new deployment may still fail, on a running system in the
    shutdown: so two others stay until then, what boots now and one to go back to. Raises SpaceError where without the
    rest the kernel would not fit.
    """
    boot = path / "boot"
    needed = on_disk(overlay) + _kernel_size(path / "ostree/repo", commit, [path / d.path for d in own])
    if not _has_own_boot(path):
        check_space(boot, needed, "the kernel and what OSTree copies with it to /boot", reserve=True)
        return []
    status = os.statvfs(boot)
    free = status.f_bavail * status.f_frsize
    removed: list[Deployment] = []
    for group in by_kernel(own, staying_meanwhile(own, staying)):
        if free >= needed:
            break
        removed += group
        kernel = boot / f"ostree/{group[0].osname}-{group[0].boot_checksum}"
        free += sum(file.lstat().st_blocks * 512 for file in kernel.rglob("*"))
    if free < needed:
        raise SpaceError(
            "too little space in /boot for the kernel and its initramfs",
            f"{needed / 1e6:.1f} MB are needed; without the deployments that can go, {boot} has {free / 1e6:.1f} MB "
            "free. The last one to go back to stays until the new one is in place",
            "Remove that one by 'apt-ostree cleanup -r', unpin another with 'apt-ostree unpin', or enlarge /boot.",
        )
    return removed


def staying_meanwhile(own: Sequence[Deployment], staying: Sequence[Deployment]) -> list[Deployment]:
    """``staying``, and where that is but one, the next to boot of those that go once a new deployment is in place."""
    others = [d for d in own if d not in staying and not d.staged]
    return [*staying, *others[: max(0, 2 - len(staying))]]


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
    """Bytes that the kernel of ``commit`` and what libostree copies with it take in /boot; 0 where a deployment has the
    very same there."""
    entries = listing.of(repo, commit)
    for directory in entries.inside("/usr/lib/modules").values():
        if directory.kind != "d":
            continue
        found = entries.inside(directory.path)
        names = {path.rpartition("/")[2] for path, entry in found.items() if entry.kind == "-"}
        if "vmlinuz" not in names:
            continue
        # Each once: libostree takes the first that it finds.
        chosen = [next((name for name in choice if name in names), "") for choice in _COPIED]
        files = [found[f"{directory.path}/{name}"] for name in chosen if name]
        if "devicetree" not in names and f"{directory.path}/dtb" in found:
            files += [entry for entry in entries.below(f"{directory.path}/dtb") if entry.kind == "-"]
        for tree in map(Tree, deployed):
            if all(
                _is(tree.status(entry.path.lstrip("/")), ostree.object_path(repo, entry.checksum)) for entry in files
            ):
                return 0
        return sum(on_disk(entry.size) for entry in files)
    return 0


def _is(status: os.stat_result | None, file: Path) -> bool:
    """True for the status of the very same file: a checkout links the objects."""
    return status is not None and os.path.samestat(status, file.stat())
