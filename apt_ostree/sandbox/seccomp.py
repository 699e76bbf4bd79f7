"""libseccomp(3): what the kernel refuses to do for a sandbox, whoever asks there.

Namespaces and capabilities leave a few doors that belong to the whole machine: the keyrings of its root, since
keyrings(7) follow the user; a user namespace, in which every capability is there again; the hypervisor's sockets,
since vsock(7) knows no network namespace; and interfaces that are open to anybody and have been ways out of
containers before. The library needs no dependency of its own: apt itself cannot do without it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ToolError

UNKNOWN = (
    "add_key", "keyctl", "request_key",
    # The machine has few of them, and counts those of its root together, in whatever namespace: a script could leave
    # none for systemd (inotify(7), fanotify_init(2), io_setup(2)).
    "inotify_init", "inotify_init1", "fanotify_init", "io_setup",
    "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "perf_event_open", "userfaultfd",
    "kexec_file_load", "kexec_load", "syslog",
    "clone3",  # its flags lie in memory, where no filter looks; the C library falls back to clone
)  # fmt: skip
"""Calls that fail as on a kernel without them: programs know what to do then."""

REFUSED = ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp")
"""Calls on the inside of another process. The sandbox's first process is bwrap's own and runs as root, too: a script
that takes over its descriptors can tell the host another exit status than dpkg's."""

UNIX, INET, INET6, NETLINK = 1, 2, 10, 16  # linux/socket.h

SOCKETS = {UNIX, INET, INET6, NETLINK}
"""The families of sockets that are left. All of them end in the sandbox's own network namespace, or in its tree."""

TYPES = {1, 2, 3}
"""Of internet sockets: stream, datagram, raw (which has a capability before it). The kernel looks for a module that
has any other type, or another protocol, and loads it for whoever asks."""

PROTOCOLS = {INET: {0, 6, 17}, INET6: {0, 6, 17}, NETLINK: {0, 9, 15}}
"""TCP and UDP (linux/in.h); route, which lists interfaces, audit, kobject-uevent (linux/netlink.h). The generic
one loads a module by each name that it is asked for."""

CLONE_NEWUSER = 0x10000000  # linux/sched.h

BTRFS = 0x94 << 8
IOCTL_TYPE, IOCTL_NUMBER = 0xFF00, 0xFF
"""Requests of ioctl(2) have the type of their driver in the second byte (asm-generic/ioctl.h). Those of Btrfs make
subvolumes and snapshots for the owner of a directory: a read-only one could not be removed with the tree."""

PROJECT = 0x5820
"""FS_IOC_FSSETXATTR of linux/fs.h: it gives a file to another project's quota, which may be one of the host."""

FSCRYPT, FSVERITY = range(0x6613, 0x661B), (0x6685,)
"""What linux/fscrypt.h and linux/fsverity.h ask of a filesystem: a directory whose key is gone, or a file that nobody
can write to, would be left to the host."""

LOADING = (
    0x5423,  # TIOCSETD: a terminal's line discipline, on the sandbox's own /dev/ptmx
    0x8940, 0x8941, 0x89A0, 0x89A1,  # SIOCGIFBR, SIOCSIFBR, SIOCBRADDBR, SIOCBRDELBR
    0x8982, 0x8983,  # SIOCGIFVLAN, SIOCSIFVLAN
)  # fmt: skip
"""Requests for which the kernel loads a module for whoever asks, of any terminal or socket (asm-generic/ioctls.h,
linux/sockios.h)."""

OF_TERMINALS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX, which type into a terminal."""

TCP, TCP_AUTHENTICATION = 6, (38, 39, 40)
"""TCP_AO_ADD_KEY and its like of linux/tcp.h: the kernel loads a module by the name of an algorithm."""

SOCKET, PROGRAMS = 1, (26, 50, 51, 52)
"""SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF and its like of eBPF, at SOL_SOCKET (asm-generic/socket.h):
programs in the kernel, as bpf(2) loads them."""

HUGE_PAGES = (("mmap", 3, 0x40000), ("mmap2", 3, 0x40000), ("memfd_create", 1, 0x4), ("shmget", 2, 0o4000))
"""The calls that take the machine's few huge pages, which no limit of memory counts: the flag's argument, and the flag
(linux/mman.h, memfd.h, shm.h). i386 has an older mmap with its arguments in memory, where no filter looks."""

_ALLOW = 0x7FFF0000  # linux/seccomp.h
_FAIL = 0x00050000  # SECCOMP_RET_ERRNO; the error's number is added
_ON_OTHER_ARCHITECTURE = 2  # SCMP_FLTATR_ACT_BADARCH
_EQUAL, _GREATER, _MASKED = 4, 6, 7  # enum scmp_compare
_SOCKETCALL_SOCKET, _SOCKETCALL_SOCKETPAIR, _SOCKETCALL_SETSOCKOPT = 1, 8, 14  # linux/net.h
_FILE_TYPE = 0o170000  # S_IFMT of linux/stat.h
_RENAME_WHITEOUT = 4  # linux/fs.h
_SOCKET_TYPE = 0xF  # SOCK_TYPE_MASK of linux/net.h; flags stand above

_COMPANIONS = {b"x86_64": b"x86", b"aarch64": b"arm"}
"""The 32-bit programs that a 64-bit kernel runs, too: packages of a foreign architecture have them."""


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp: an argument of the call, by number, against one value or two."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def _others(argument: int, allowed: set[int]) -> list[_Comparison]:
    """Comparisons that match every value of an argument but the ``allowed``; one a rule, since a rule looks at an
    argument once."""
    last = max(allowed)
    between = sorted(set(range(last)) - allowed)
    return [*(_Comparison(argument, _EQUAL, value, 0) for value in between), _Comparison(argument, _GREATER, last, 0)]


@contextmanager
def program() -> Iterator[int]:
    """A descriptor from which bwrap(1) reads the filter, as long as the block. Raises ToolError."""
    descriptor = os.memfd_create("seccomp")
    try:
        _export(descriptor)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _export(descriptor: int) -> None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise ToolError("libseccomp is not installed", str(error), "Install the package libseccomp2.") from error
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))

    def call(name: str, *arguments: object) -> None:
        status = getattr(library, name)(context, *arguments)
        if status != 0:
            raise ToolError("cannot make the sandbox's filter of system calls", f"{name}: {os.strerror(-status)}")

    def refuse(name: str, code: int, *comparisons: _Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        array = (_Comparison * len(comparisons))(*comparisons)
        call("seccomp_rule_add_array", ctypes.c_uint32(_FAIL | code), number, len(comparisons), array)

    try:
        native = library.seccomp_arch_native()
        for name, companion in _COMPANIONS.items():
            if library.seccomp_arch_resolve_name(name) == native:
                call("seccomp_arch_add", library.seccomp_arch_resolve_name(companion))
        call("seccomp_attr_set", _ON_OTHER_ARCHITECTURE, ctypes.c_uint32(_FAIL | errno.ENOSYS))
        for unknown in UNKNOWN:
            refuse(unknown, errno.ENOSYS)
        for call_on_another in REFUSED:
            refuse(call_on_another, errno.EPERM)
        for maker in ("clone", "unshare"):
            refuse(maker, errno.EPERM, _Comparison(0, _MASKED, CLONE_NEWUSER, CLONE_NEWUSER))
        for maker, argument in (("mknod", 1), ("mknodat", 2)):
            # A device of number 0/0 needs no capability: overlayfs takes it for a file that was removed.
            refuse(maker, errno.EPERM, _Comparison(argument, _MASKED, _FILE_TYPE, stat.S_IFCHR))
        # It leaves such a device in the place of what it renames.
        refuse("renameat2", errno.EINVAL, _Comparison(4, _MASKED, _RENAME_WHITEOUT, _RENAME_WHITEOUT))
        refuse("ioctl", errno.ENOTTY, _Comparison(1, _MASKED, IOCTL_TYPE, BTRFS))
        for request in (PROJECT, *FSCRYPT, *FSVERITY, *LOADING, *OF_TERMINALS):
            refuse("ioctl", errno.ENOTTY, _Comparison(1, _MASKED, IOCTL_TYPE | IOCTL_NUMBER, request))
        for level, option in (*((TCP, option) for option in TCP_AUTHENTICATION), *((SOCKET, p) for p in PROGRAMS)):
            whole = 0xFFFFFFFF
            of_it, this = _Comparison(1, _MASKED, whole, level), _Comparison(2, _MASKED, whole, option)
            refuse("setsockopt", errno.ENOPROTOOPT, of_it, this)
        for maker, argument, flag in HUGE_PAGES:
            refuse(maker, errno.ENOMEM, _Comparison(argument, _MASKED, flag, flag))
        for other in _others(0, SOCKETS):
            refuse("socket", errno.EAFNOSUPPORT, other)
        for other in _others(0, {UNIX}):
            refuse("socketpair", errno.EAFNOSUPPORT, other)
        for family, protocols in PROTOCOLS.items():
            for other in _others(2, protocols):
                refuse("socket", errno.EPROTONOSUPPORT, _Comparison(0, _EQUAL, family, 0), other)
        for family in (INET, INET6):
            for kind in sorted(set(range(_SOCKET_TYPE + 1)) - TYPES):
                other = _Comparison(1, _MASKED, _SOCKET_TYPE, kind)
                refuse("socket", errno.ESOCKTNOSUPPORT, _Comparison(0, _EQUAL, family, 0), other)
        # i386 also has these, with their arguments in memory.
        for number in (_SOCKETCALL_SOCKET, _SOCKETCALL_SOCKETPAIR):
            refuse("socketcall", errno.EAFNOSUPPORT, _Comparison(0, _EQUAL, number, 0))
        refuse("socketcall", errno.ENOPROTOOPT, _Comparison(0, _EQUAL, _SOCKETCALL_SETSOCKOPT, 0))
        call("seccomp_export_bpf", descriptor)
    finally:
        library.seccomp_release(context)
