"""The kernel's mount calls, in a namespace of our own.

Everything apt-ostree mounts lives in a private mount namespace: the host never sees it, and it is gone with
the last process of the operation, however that ended. Called directly rather than through mount(8), whose
newer releases refuse option values over 256 bytes, too short for the lower directories of an overlay.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import ToolError
from . import syscalls

_READ_ONLY = (
    syscalls.MOUNT_ATTR_RDONLY
    | syscalls.MOUNT_ATTR_NOSUID
    | syscalls.MOUNT_ATTR_NODEV
    | syscalls.MOUNT_ATTR_NOEXEC
    | syscalls.MOUNT_ATTR_NOSYMFOLLOW
)

_ESCAPE = re.compile(rb"\\([0-7]{3})")
"""The form of a blank, a tab, a newline and a backslash in a name (proc_pid_mountinfo(5))."""


def enter_private_namespace() -> None:
    """Give this process a mount namespace from which nothing propagates (mount_namespaces(7)).

    In it, the files of /dev can be used but not changed: bwrap shows the host's own /dev/null to scripts, and root
    needs no capability for a chmod. Raises ToolError without CAP_SYS_ADMIN.
    """
    with _named("make a mount namespace"):
        syscalls.unshare(syscalls.CLONE_NEWNS)
    for place in tops(points()):
        _mount("none", place, None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    if not os.path.ismount("/dev"):
        _mount("/dev", "/dev", None, syscalls.MS_BIND | syscalls.MS_REC)
    kept = os.statvfs("/dev").f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
    _mount("none", "/dev", None, syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | kept)


def tops(found: list[str]) -> list[str]:
    """The mounts from which all of ``found`` can be reached: in a chroot / need not be one."""
    return ["/"] if "/" in found else found


def points() -> list[str]:
    """The mount points that this process sees."""
    return parse_points(Path("/proc/self/mountinfo").read_bytes())


def parse_points(mountinfo: bytes) -> list[str]:
    """Read the mount points in proc_pid_mountinfo(5).

    Any user may have mounted something (fusermount(1)), under a name with any byte: the kernel escapes blanks, tabs,
    newlines and backslashes, but no carriage return.
    """
    lines = (line.split(b" ") for line in mountinfo.split(b"\n"))
    names = (words[4] for words in lines if len(words) > 4)
    return [os.fsdecode(_ESCAPE.sub(lambda found: bytes([int(found[1], 8) % 256]), name)) for name in names]


def at_or_below(path: Path) -> list[str]:
    """The mount points at a directory or below it; bind mounts of the same filesystem, too, which os.path.ismount does
    not notice."""
    real = os.path.realpath(path)
    return [point for point in points() if point == real or point.startswith(f"{real.rstrip('/')}/")]


def mount_proc() -> None:
    """Show at /proc the processes of one's own pid namespace: tools look for themselves there. Raises ToolError."""
    _mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)


def bind(source: Path, target: Path) -> None:
    """Show ``source`` at ``target``, until the namespace ends. Raises ToolError."""
    _mount(os.fspath(source), os.fspath(target), None, syscalls.MS_BIND)


@contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    """Show ``source`` at ``target`` as long as the block. Raises ToolError."""
    bind(source, target)
    try:
        yield
    finally:
        with _named(f"unmount {target}"):
            syscalls.unmount(target, syscalls.MNT_DETACH)


@contextmanager
def shown(source: Path, target: Path) -> Iterator[None]:
    """Show a directory of somebody else at ``target`` as long as the block, to be read only: no link in it is followed,
    and nothing of it can get another name elsewhere (link(2), EXDEV). Raises ToolError."""
    with bound(source, target):
        with _named(f"make read-only {target}"):
            syscalls.change_mount(os.fspath(target), add=_READ_ONLY)
        yield


@contextmanager
def overlay(area: Path, lower: Sequence[str], upper: str, work: str, target: str) -> Iterator[Path]:
    """An overlay mount at ``area/target``; all names are relative to ``area``, ``lower`` topmost first.

    Options are stated since kernels' defaults vary: index=on leaks a write through one name of an object
    to its others, redirect_dir=off makes the rename of a lower directory fail with EXDEV, metacopy=on would
    leave files without their data in the layer (kernel documentation, overlayfs).
    """
    data = ",".join(
        [
            f"lowerdir={':'.join(lower)}",
            f"upperdir={upper}",
            f"workdir={work}",
            "redirect_dir=on",
            "index=off",
            "metacopy=off",
            "xino=off",
            "volatile",
        ]
    )
    # Relative names keep the option page (4096 bytes) free for layers and need no escaping of colons.
    # By descriptor: the directory we were started in may be gone.
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(area)
    try:
        syscalls.mount("overlay", target, "overlay", 0, data)
    except OSError as error:
        raise _no_overlay(area, target, error) from error
    finally:
        os.fchdir(before)
        os.close(before)
    try:
        yield area / target
    finally:
        with _named(f"unmount {area / target}"):
            syscalls.unmount(area / target, syscalls.MNT_DETACH)


LOCAL = frozenset({"btrfs", "ext4", "f2fs", "tmpfs", "xfs"})
"""Filesystems of a disk, or of memory, on which overlayfs can have its writable directory."""


def _no_overlay(area: Path, target: str, error: OSError) -> ToolError:
    kind = kind_at(area)
    if error.errno != errno.EINVAL or kind in LOCAL:
        return ToolError(f"cannot mount overlay on {target}", error.strerror or "")
    return ToolError(
        "the filesystem of the sysroot cannot hold layers",
        f"{area} is on the type {kind}, on which Linux mounts no overlay that can be written",
        "Put the sysroot on ext4, XFS or Btrfs; in a container, on a volume of one of these.",
    )


def kind_at(path: Path) -> str:
    """The type of the filesystem that a path is on, links followed."""
    return kind_of(os.path.realpath(path), Path("/proc/self/mountinfo").read_bytes())


def kind_of(path: str, mountinfo: bytes) -> str:
    """The type of the filesystem that an absolute path without links is on, by proc_pid_mountinfo(5); empty where that
    does not say it."""
    found, longest = "", -1
    for line in mountinfo.split(b"\n"):
        before, _, after = line.partition(b" - ")
        for point in parse_points(before):
            # The last mount of those on one point is the one that is seen.
            if len(point) >= longest and f"{path}/".startswith(f"{point.rstrip('/')}/"):
                found, longest = os.fsdecode(after.split(b" ")[0]), len(point)
    return found


def make_writable(path: Path) -> None:
    """Let this namespace write below the mount point ``path``, whatever the host may; fine if it is not one. Raises
    ToolError."""
    _change(path, "make writable", clear=syscalls.MOUNT_ATTR_RDONLY)


def close_to_others(path: Path) -> None:
    """Let no program below the mount point ``path`` run with its owner's rights, or with capabilities of its own, and
    nobody write there, until the namespace ends (nosuid and ro, mount(8)); fine if it is not one. Raises ToolError."""
    _change(path, "forbid set-user-ID programs in", add=syscalls.MOUNT_ATTR_NOSUID)
    _change(path, "make read-only", add=syscalls.MOUNT_ATTR_RDONLY)


def _change(path: Path, what: str, *, add: int = 0, clear: int = 0) -> None:
    # Not ismount(3): / and /sysroot of a booted deployment are the same filesystem, which it takes for no mount.
    if os.fspath(path) in points():
        with _named(f"{what} {path}"):
            syscalls.change_mount(os.fspath(path), add=add, clear=clear)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    with _named(f"mount {kind or source} on {target}"):
        syscalls.mount(source, target, kind, flags, data)


@contextmanager
def _named(action: str) -> Iterator[None]:
    """Say which ``action`` failed, in a ToolError."""
    try:
        yield
    except OSError as error:
        raise ToolError(f"cannot {action}", error.strerror or "") from error
