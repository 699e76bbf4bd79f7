"""System calls that Python has no function for, each checked: one that fails raises OSError with its errno.

The caller knows what was tried, and says so. What Python's os module wraps is called there.
"""

from __future__ import annotations

import ctypes
import os
import signal

CLONE_NEWNS = 0x00020000  # linux/sched.h
CLONE_NEWPID = 0x20000000

MS_RDONLY = 1  # linux/mount.h
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR_NOSYMFOLLOW = 0x200000  # Linux 5.14

RESOLVE_NO_MAGICLINKS = 0x02  # linux/openat2.h
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08

_OPENAT2 = 437  # asm-generic/unistd.h: the same on every architecture; since Linux 5.6
_MOUNT_SETATTR = 442  # the same; since Linux 5.12
_AT_FDCWD = -100  # fcntl.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(kinds: int) -> None:
    """Give this process new namespaces of these kinds, CLONE_NEW… (unshare(2))."""
    _check(_libc.unshare(kinds))


def setns(descriptor: int, kind: int) -> None:
    """Let this process, or for pids its children, be in the namespace that ``descriptor`` stands for (setns(2))."""
    _check(_libc.setns(descriptor, kind))


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2): ``kind`` is the type of filesystem, ``data`` its options; None where ``flags`` ask for no new one."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    _check(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]))


class _MountAttributes(ctypes.Structure):
    """struct mount_attr of linux/mount.h."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


def change_mount(target: str, *, add: int = 0, clear: int = 0) -> None:
    """Change the flags MOUNT_ATTR_… of one mount, and leave its others as they are (mount_setattr(2))."""
    change = _MountAttributes(add, clear, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(change))
    number = ctypes.c_long(_MOUNT_SETATTR)
    _check(_libc.syscall(number, _AT_FDCWD, os.fsencode(target), 0, ctypes.byref(change), size))


def unmount(target: str | os.PathLike[str], flags: int) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags))


def sync_filesystem(descriptor: int) -> None:
    """Put everything written to the filesystem of an open file on disk (syncfs(2))."""
    _check(_libc.syncfs(descriptor))


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends (PR_SET_PDEATHSIG(2const)).

    A parent that ended before this call is not noticed: the caller has to look afterwards.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


class _OpenHow(ctypes.Structure):
    """struct open_how of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(directory: int, name: str, flags: int, resolve: int) -> int:
    """A descriptor, closed on exec, of what ``name`` leads to from ``directory`` by the rules RESOLVE_…
    (openat2(2))."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    # The C library has no function for it. syscall(2) is variadic: an argument that is not an int has to say how wide
    # it is.
    descriptor = _libc.syscall(
        ctypes.c_long(_OPENAT2), directory, os.fsencode(name), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
    )
    _check(min(descriptor, 0))
    return int(descriptor)


def _check(status: int) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
