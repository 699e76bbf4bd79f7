"""Changes of the deployments of a sysroot: the one place that publishes, removes and pins them.

Each of them reads the sysroot again: right before the change, since ostree's own tools know nothing of our lock, and
after it, for the caller to go on with.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Sequence

from ..errors import ChangedError, SysrootError, ToolError
from ..host.door import Tree
from ..host.files import sync_filesystem, write_atomically
from ..host.proc import signals_held
from ..inputs import kargs
from ..model import Deployment
from ..tools import ostree
from ..tree import deploying, kernel, merging
from . import boot_menu, metadata, origin, retention, seclusion
from .sysroot import Sysroot, load

_log = logging.getLogger(__name__)

_SALT = 32
"""Bytes."""


def publish(
    before: Sysroot,
    osname: str,
    commit: str,
    new_origin: origin.Origin,
    *,
    arguments: Sequence[str] | None = None,
    keep: int = 2,
) -> Sysroot:
    """Deploy ``commit`` as what boots next: the only function that makes an operation's result visible.

    The new deployment's /etc merges from the booted one (or else from the first). Its kernel arguments are
    ``arguments``, all of them but ``ostree=``; by default those of what boots next, whose intent it follows, too.
    ``keep`` is how many deployments there may be (retention.py). Files that the origin tracks for the initramfs
    are taken from that /etc. Raises TreeError when one of them is missing, and for a
    commit or an /etc that libostree must not meet (tree/deploying.py, merging.py); SpaceError for a /boot that is too
    small, ToolError for a commit whose version is not a line of text, and ChangedError when anybody changed the
    deployments since ``before`` was read.
    """
    check_unchanged(before)
    _check_staged(before, osname)
    boot_menu.check(before)
    if (info := ostree.commit_info(before.repo, commit)) is not None:
        metadata.version(info)
    own = before.of(osname)
    merge = before.merge(osname)
    deploying.check(before.repo, commit)
    merging.check(before.repo, commit, before.path / merge.path)
    words = kargs.split(own[0].kargs) if arguments is None else arguments
    text = before.area / "tmp/origin"
    overlay = before.area / "tmp/initramfs-etc.img"
    overlays = []
    try:
        if tracked := origin.intent(new_origin).initramfs_etc:
            kernel.etc_archive(before.path / merge.path / "etc", tracked, overlay, _salt(before))
            overlays = [f"--overlay-initrd={overlay}"]
        staying = retention.kept(own, merge, keep)
        for deployment in own:
            _log.debug("deployment %s %s", deployment.id, "stays" if deployment in staying else "is removed")
        size = overlay.stat().st_size if overlays else 0
        going = retention.first_to_go(before.path, commit, own, staying, size)
        # Objects were written without fsync; ostree syncs /boot and its own links, we sync what they lead to.
        sync_filesystem(before.repo)
        before.unsynced.unlink(missing_ok=True)
        write_atomically(text, origin.render(new_origin).encode())
        with signals_held():
            # The sync may have taken minutes.
            check_unchanged(before)
            retention.hold(before.path, own, merge, staying)
            for deployment in sorted(going, key=lambda d: d.index, reverse=True):
                ostree.admin(before.path, "undeploy", str(deployment.index))
            # Without --karg-none ostree takes the arguments of the booted one, and a pending change would be lost.
            command = [
                "deploy",
                f"--os={osname}",
                f"--origin-file={text}",
                *overlays,
                "--karg-none",
                *(f"--karg-append={word}" for word in words),
                commit,
            ]
            try:
                if before.booted is not None:
                    ostree.admin(before.path, *command, "--stage")
                else:
                    etc = seclusion.etc_of(before.path / merge.path, before.area / "tmp")
                    with seclusion.away(before.path, osname), etc:
                        # What was copied is what libostree merges.
                        merging.check(before.repo, commit, before.path / merge.path)
                        ostree.admin(before.path, *command)
            except ToolError:
                # What it made of the deployment may have filled the disk.
                with contextlib.suppress(ToolError):
                    ostree.cleanup(before.path)
                raise
    finally:
        text.unlink(missing_ok=True)
        overlay.unlink(missing_ok=True)
    return load(before.path)


def _salt(before: Sysroot) -> bytes:
    """Bytes of this sysroot that nobody can guess, and only root can read: made once, so that the same files tracked
    for the initramfs are the same archive."""
    place = before.area / "salt"
    salt = Tree(before.area).read(place.name, limit=_SALT) or b""
    if len(salt) != _SALT:
        salt = secrets.token_bytes(_SALT)
        write_atomically(place, salt, 0o600)
    return salt


def check_unchanged(before: Sysroot) -> None:
    """Raises ChangedError where the deployments, their origins, pins or arguments are not what ``before`` says:
    ostree's own tools know nothing of our lock."""
    if before.again().deployments != before.deployments:
        raise ChangedError(
            "the deployments changed while this command ran",
            "another tool deployed, removed, pinned or changed one",
            "Nothing was published. Run the command again.",
        )


def _check_staged(before: Sysroot, osname: str) -> None:
    """Raises SysrootError where ostree would lose a staged deployment: it keeps one in all, and one whose /etc comes
    from another staged one is never finalised."""
    waiting = next((d for d in before.deployments if d.staged), None)
    if waiting is None:
        return
    running = before.booted.osname if before.booted is not None else None
    if waiting.osname != osname or osname != running:
        raise SysrootError(
            "a staged deployment would be lost",
            f"{waiting.checksum[:12]} of stateroot {waiting.osname} is finalised at the next shutdown",
            "Reboot first, or drop it with 'apt-ostree cleanup -p --stateroot " + waiting.osname + "'.",
        )
    if waiting.locked:
        raise SysrootError(
            "the staged deployment is locked",
            f"{waiting.checksum[:12]} waits for 'apt-ostree finalize-deployment'",
            "That command releases it and reboots; 'apt-ostree cleanup -p' drops it.",
        )


def undeploy(before: Sysroot, deployment: Deployment) -> Sysroot:
    """Remove one deployment, a pinned one as well. Raises ChangedError as ``publish`` does, SysrootError as
    ``boot_menu.check`` does, and proc.ChildError when ostree refuses (the booted one)."""
    boot_menu.check(before)
    with signals_held():
        check_unchanged(before)
        ostree.admin(before.path, "undeploy", str(deployment.index))
    return load(before.path)


def pin(before: Sysroot, deployment: Deployment, pinned: bool) -> Sysroot:
    """Keep a deployment through every pruning, or no longer. Raises ChangedError as ``publish`` does."""
    with signals_held():
        check_unchanged(before)
        retention.write_pin(before.path, deployment, pinned)
    return load(before.path)
