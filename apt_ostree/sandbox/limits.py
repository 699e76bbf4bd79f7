"""How much a sandbox or a package may take: the numbers, each with its reason. guard.py, bwrap.py and unpacking.py
enforce them."""

from __future__ import annotations

from dataclasses import dataclass

from ..host.files import RESERVE

FILE_BYTES = 10**10
"""No file of a package is larger: the size of a member has ten digits (deb(5)). A sparse file would have no
other limit, and root reads it from end to end."""

SHM_BYTES = RUN_BYTES = 64 << 20
TMP_SHARE = 4
"""In memory, which no end of a process frees: /tmp takes up to a fourth of it."""

SIGNALS = 1024
"""Signals and timers that wait; by default the kernel allows four for each MiB of memory."""

FILES = 512
"""Open files of a process. A user's descriptors in flight are counted for the whole machine (unix(7)), and the user
that a script becomes is one of the host's, too. A sender with fewer than its own limit may add 253 more: scripts alone
stay below the 1024 that a service of the host has at least (systemd.exec(5))."""

PROCESSES = 512
"""Processes and threads of each user but root, whom this limit does not bind (setrlimit(2)). The kernel counts those of
the host's user of that number, too: fewer than a busy database has would keep its package's scripts from becoming
its user."""

PATH_MAX = 3072
"""Bytes of a path in a package: the kernel's 4096 (path_resolution(7)), less what the work area and dpkg add before and
behind."""

TARGET_MAX = 4095
"""Bytes of a link's target: no kernel holds more (symlink(2))."""

MEMBERS_MAX = 500_000
"""Files and directories of one package: all of their headers are in memory at once, some 500 MB of them."""

NAMES_BYTES = 32 << 20
"""Bytes of all paths and targets in one package, each of which is in memory several times; icon themes have 10 MB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one run in a sandbox may take."""

    seconds: float = 3600
    """A desktop of hundreds of packages is configured in minutes, with kernel modules built on a slow machine, too."""
    tasks: int = 4096
    """Processes and threads. make -j starts some hundreds; a kernel's default pid_max is 32768."""
    memory_share: float = 0.5
    """Of the machine's memory, and of its swap; the other half is the host's."""
    memory_least: int = 1 << 30
    """Bytes of memory, however small the machine is: making an initramfs or a kernel module takes some hundred MB."""
    reserve: int = RESERVE
    """Bytes of the disk that stay free, or RESERVE_SHARE of a small one."""


LIMITS = Limits()
