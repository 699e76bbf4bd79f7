"""What the filter of system calls answers: its program is run here, as the kernel would (seccomp(2))."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
import struct

import pytest

from apt_ostree.sandbox import seccomp

ALLOWED = 0
VSOCK, ALG, SCTP = 40, 38, 132
STREAM, DATAGRAM, RAW, SEQPACKET = 1, 2, 3, 5
CLOEXEC = 0o2000000

library = ctypes.CDLL("libseccomp.so.2")


@pytest.fixture(scope="module")
def filter_() -> bytes:
    with seccomp.program() as descriptor:
        return os.read(descriptor, 1 << 20)


def answer(filter_: bytes, name: str, *arguments: int) -> int:
    """The error that a native system call gets, 0 where it is let through."""
    number = library.seccomp_syscall_resolve_name(name.encode())
    assert number != -1, name
    # struct seccomp_data: number, architecture, instruction pointer, arguments.
    six = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number, library.seccomp_arch_native() & 0xFFFFFFFF, 0, *six)
    result = run(filter_, data)
    assert result & 0xFFFF0000 in {0x7FFF0000, 0x00050000}
    return ALLOWED if result == 0x7FFF0000 else result & 0xFFFF


def run(program: bytes, data: bytes) -> int:
    """The result of a classic BPF program (linux/bpf_common.h), of the instructions that libseccomp makes."""
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator = place = 0
    memory: dict[int, int] = {}
    while True:
        code, yes, no, k = instructions[place]
        place += 1
        match code:
            case 0x06:  # ret k
                return int(k)
            case 0x20:  # ld [k]
                accumulator = struct.unpack_from("=I", data, k)[0]
            case 0x60:  # ld M[k]
                accumulator = memory[k]
            case 0x02:  # st M[k]
                memory[k] = accumulator
            case 0x54:  # and k
                accumulator &= k
            case 0x05:  # ja k
                place += k
            case 0x15:
                place += yes if accumulator == k else no
            case 0x25:
                place += yes if accumulator > k else no
            case 0x35:
                place += yes if accumulator >= k else no
            case 0x45:
                place += yes if accumulator & k else no
            case _:
                pytest.fail(f"unknown instruction {code:#x}")


@pytest.mark.parametrize(
    "name",
    [
        "add_key", "keyctl", "request_key", "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup",
        "perf_event_open", "userfaultfd", "kexec_file_load", "kexec_load", "syslog", "clone3",
        "inotify_init1", "fanotify_init", "io_setup",
    ],
)  # fmt: skip
def test_a_door_to_the_whole_machine_is_not_there(filter_: bytes, name: str) -> None:
    assert answer(filter_, name) == errno.ENOSYS


@pytest.mark.parametrize("name", ["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"])
def test_the_inside_of_another_process_is_closed(filter_: bytes, name: str) -> None:
    assert answer(filter_, name) == errno.EPERM


@pytest.mark.parametrize(
    "name", ["read", "execve", "mount", "setuid", "chown", "fork" if os.uname().machine == "x86_64" else "clone"]
)
def test_other_calls_are_let_through(filter_: bytes, name: str) -> None:
    assert answer(filter_, name) == ALLOWED


@pytest.mark.parametrize("name", ["clone", "unshare"])
def test_no_user_namespace_is_made_whatever_else_is_asked_for(filter_: bytes, name: str) -> None:
    assert answer(filter_, name, seccomp.CLONE_NEWUSER) == errno.EPERM
    assert answer(filter_, name, seccomp.CLONE_NEWUSER | 0x00020011) == errno.EPERM
    assert answer(filter_, name, 0x00020011) == ALLOWED


def test_no_character_device_is_made_since_overlayfs_reads_one_as_removed(filter_: bytes) -> None:
    assert answer(filter_, "mknodat", 0, 0, stat.S_IFCHR | 0o644) == errno.EPERM
    assert answer(filter_, "mknodat", 0, 0, stat.S_IFIFO | 0o644) == ALLOWED
    assert answer(filter_, "mknodat", 0, 0, stat.S_IFREG | 0o644) == ALLOWED
    # RENAME_WHITEOUT leaves one in the place of what is renamed; 1 is RENAME_NOREPLACE.
    assert answer(filter_, "renameat2", 0, 0, 0, 0, 4) == answer(filter_, "renameat2", 0, 0, 0, 0, 5) == errno.EINVAL
    assert answer(filter_, "renameat2", 0, 0, 0, 0, 1) == ALLOWED


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((seccomp.UNIX, STREAM | CLOEXEC, 0), ALLOWED),
        ((seccomp.INET, STREAM | CLOEXEC, 6), ALLOWED),
        ((seccomp.INET6, DATAGRAM, 17), ALLOWED),
        ((seccomp.NETLINK, RAW, 0), ALLOWED),
        ((seccomp.NETLINK, RAW, 9), ALLOWED),
        ((VSOCK, STREAM, 0), errno.EAFNOSUPPORT),
        ((ALG, SEQPACKET, 0), errno.EAFNOSUPPORT),
        ((0, STREAM, 0), errno.EAFNOSUPPORT),
        ((seccomp.INET, STREAM, SCTP), errno.EPROTONOSUPPORT),
        ((seccomp.INET6, RAW, 1), errno.EPROTONOSUPPORT),
        ((seccomp.NETLINK, RAW, 16), errno.EPROTONOSUPPORT),
        ((seccomp.INET, SEQPACKET, 0), errno.ESOCKTNOSUPPORT),
        ((seccomp.INET6, SEQPACKET | CLOEXEC, 0), errno.ESOCKTNOSUPPORT),
    ],
)
def test_sockets_load_no_module_and_reach_no_hypervisor(
    filter_: bytes, arguments: tuple[int, ...], expected: int
) -> None:
    assert answer(filter_, "socket", *arguments) == expected


def test_pairs_of_sockets_are_unix_s_alone(filter_: bytes) -> None:
    assert answer(filter_, "socketpair", seccomp.UNIX, STREAM, 0) == ALLOWED
    assert answer(filter_, "socketpair", seccomp.INET, STREAM, 0) == errno.EAFNOSUPPORT


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        pytest.param(0x5000940E, errno.ENOTTY, id="BTRFS_IOC_SUBVOL_CREATE"),
        pytest.param(0x50009401, errno.ENOTTY, id="BTRFS_IOC_SNAP_CREATE"),
        pytest.param(0x4008941A, errno.ENOTTY, id="BTRFS_IOC_SUBVOL_SETFLAGS"),
        pytest.param(0x401C5820, errno.ENOTTY, id="FS_IOC_FSSETXATTR"),
        pytest.param(0x800C6613, errno.ENOTTY, id="FS_IOC_SET_ENCRYPTION_POLICY"),
        pytest.param(0xC0406618, errno.ENOTTY, id="FS_IOC_REMOVE_ENCRYPTION_KEY"),
        pytest.param(0x40806685, errno.ENOTTY, id="FS_IOC_ENABLE_VERITY"),
        pytest.param(0x5423, errno.ENOTTY, id="TIOCSETD"),
        pytest.param(0x5412, errno.ENOTTY, id="TIOCSTI"),
        pytest.param(0x8940, errno.ENOTTY, id="SIOCGIFBR"),
        pytest.param(0x8982, errno.ENOTTY, id="SIOCGIFVLAN"),
        # The kernel looks at 32 bits.
        pytest.param(0x100008982, errno.ENOTTY, id="SIOCGIFVLAN and more"),
        pytest.param(0x8912, ALLOWED, id="SIOCGIFCONF"),
        pytest.param(0x5413, ALLOWED, id="TIOCGWINSZ"),
        pytest.param(0x801C581F, ALLOWED, id="FS_IOC_FSGETXATTR"),
        pytest.param(0xC020660B, ALLOWED, id="FS_IOC_FIEMAP"),
        pytest.param(0x40086602, ALLOWED, id="FS_IOC_SETFLAGS"),
        pytest.param(0x5401, ALLOWED, id="TCGETS"),
    ],
)
def test_no_script_asks_by_ioctl_for_what_is_the_machines(filter_: bytes, request_: int, error: int) -> None:
    assert answer(filter_, "ioctl", 3, request_) == error


def test_the_machines_huge_pages_are_left_alone(filter_: bytes) -> None:
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    assert answer(filter_, "mmap", 0, 4096, 3, private) == ALLOWED
    assert answer(filter_, "mmap", 0, 4096, 3, private | 0x40000) == errno.ENOMEM
    assert answer(filter_, "memfd_create", 0, 0x1) == ALLOWED
    assert answer(filter_, "memfd_create", 0, 0x5) == errno.ENOMEM
    assert answer(filter_, "shmget", 0, 4096, 0o1000) == ALLOWED
    assert answer(filter_, "shmget", 0, 4096, 0o5000) == errno.ENOMEM


@pytest.mark.parametrize("option", [26, 50, 51, 52])
def test_no_program_is_attached_to_a_socket(filter_: bytes, option: int) -> None:
    assert answer(filter_, "setsockopt", 3, seccomp.SOCKET, option) == errno.ENOPROTOOPT
    # The kernel looks at 32 bits of each.
    assert answer(filter_, "setsockopt", 3, 1 << 32 | seccomp.SOCKET, 1 << 32 | option) == errno.ENOPROTOOPT
    assert answer(filter_, "setsockopt", 3, 41, option) == ALLOWED
    # SO_REUSEADDR, SO_DETACH_FILTER.
    assert answer(filter_, "setsockopt", 3, seccomp.SOCKET, 2) == ALLOWED
    assert answer(filter_, "setsockopt", 3, seccomp.SOCKET, 27) == ALLOWED


def test_no_algorithm_of_tcp_is_loaded(filter_: bytes) -> None:
    assert answer(filter_, "setsockopt", 3, 6, 38) == errno.ENOPROTOOPT
    assert answer(filter_, "setsockopt", 3, 6, 1) == ALLOWED  # TCP_NODELAY
    assert answer(filter_, "setsockopt", 3, 1, 38) == ALLOWED  # SOL_SOCKET
