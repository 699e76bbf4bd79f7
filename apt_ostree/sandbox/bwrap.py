"""bwrap(1): the sandbox in which maintainer scripts run.

A script is root over the tree and over nothing else: it has no network, no process, path, terminal or socket
of the host, and only the capabilities that dpkg, adduser, su and chown need. There is no user namespace: in
one, a chown to a package's user would fail. docs/sandbox.md lists what a script may and may not do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ScriptError
from ..host import proc
from ..host.door import Tree
from ..host.proc import PATH
from . import seccomp
from .guard import NOTHING_CHANGED, Guard
from .limits import FILE_BYTES, FILES, LIMITS, PROCESSES, RUN_BYTES, SHM_BYTES, SIGNALS, TMP_SHARE, Limits

CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
    "CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP", "CAP_SYS_CHROOT",
)  # fmt: skip
"""mount, mknod, hostname, module loading, the clock and raw networking stay impossible."""

HOSTNAME = "localhost"

_LIMITED = [
    # The first process of the sandbox is bwrap's, and every script can read its environment: ours may hold the
    # password of a proxy.
    "env", "-i", f"PATH={PATH}",
    # Where memory runs out, the sandbox goes first (proc_pid_oom_score_adj(5)); it cannot take that back.
    "choom", "-n", "1000", "--",
    # A core of one byte: the kernel then does not call the host's program that takes dumps (core(5)).
    # Pending signals and message queues are counted for all of the machine's root together (getrlimit(2)).
    "prlimit", f"--fsize={FILE_BYTES}", "--core=1", f"--sigpending={SIGNALS}", "--msgqueue=0",
    f"--nofile={FILES}", f"--nproc={PROCESSES}",
    # Priorities that the caller's limits allow without a capability (sched(7)).
    "--rtprio=0", "--nice=0",
    "--",
]  # fmt: skip

_MASKED = (
    "kallsyms", "kcore", "keys", "key-users", "kpagecgroup", "kpagecount", "kpageflags", "sched_debug", "sysrq-trigger",
    "timer_list",
)  # fmt: skip
"""Files of /proc that tell of the whole machine what its root alone may know. Others who may read no such file, by its
mode, are masked, too: which there are is the kernel's configuration."""

_EMPTY = ("acpi", "asound", "bus", "driver", "fs", "scsi", "tty/driver")
"""Directories of /proc about the machine's disks and devices."""

_PROC = Path("/proc")

ENVIRONMENT = {
    "PATH": PATH,
    "HOME": "/root",
    "SHELL": "/bin/sh",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    # Keeps systemctl, deb-systemd-invoke and sysctl from looking for a running system (systemd's ENVIRONMENT.md).
    "SYSTEMD_OFFLINE": "1",
    # So udevadm, systemd 257's, does nothing and succeeds, as it does in the chroot that scripts know.
    "SYSTEMD_IN_CHROOT": "1",
}


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A root directory to run commands in.

    ``root`` is the mounted tree with its /etc in ``usr/etc`` (or in ``etc`` for a plain root: ``plain``),
    ``var`` and ``boot`` directories that serve as /var and /boot, ``read_only`` further directories by the path at
    which the sandbox sees them, ``limits`` what each run may take.
    """

    root: Path
    var: Path | None = None
    boot: Path | None = None
    read_only: Mapping[str, Path] | None = None
    plain: bool = False
    limits: Limits = LIMITS

    def run(
        self,
        command: list[str],
        *,
        log: Path | None = None,
        on_line: Callable[[str], None] = lambda line: None,
        doing: Callable[[], str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> proc.Result:
        """Run a command; when this returns, nothing that it started is left.

        Its output goes to ``on_line`` and, if given, the file ``log``; see proc.stream for what the result holds.
        ``doing`` names the current step, for the ScriptError or SpaceError that is raised when a limit was reached. It
        gets the descriptors ``pass_fds`` of ours.
        """
        with seccomp.program() as filter_, Guard(self.root, doing or (lambda: command[0]), self.limits) as guard:
            watched = ["--seccomp", str(filter_), "--info-fd", str(guard.info), "--block-fd", str(guard.block)]
            argv = self.argv(command, watched)
            inherited = (filter_, guard.info, guard.block, *pass_fds)
            if log is None:
                return proc.stream(argv, on_line, pass_fds=inherited)
            return proc.logged(argv, log, on_line, pass_fds=inherited)

    def argv(self, command: list[str], options: Collection[str] = ()) -> list[str]:
        """The command line that runs ``command``, with bwrap's further ``options``."""
        words = [
            *_LIMITED,
            "bwrap",
            *options,
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
            # Packages write it into their configuration; the name of this machine does not belong into a tree.
            "--hostname", HOSTNAME,
            "--unshare-cgroup-try",
            "--die-with-parent",
            "--new-session",
            "--cap-drop", "ALL",
        ]  # fmt: skip
        for capability in CAPABILITIES:
            words += ["--cap-add", capability]
        words += ["--bind", os.fspath(self.root), "/"]
        if not self.plain:
            words += ["--bind", os.fspath(self._etc()), "/etc"]
        if self.var is not None:
            words += ["--bind", os.fspath(self.var), "/var"]
        if self.boot is not None:
            words += ["--bind", os.fspath(self.boot), "/boot"]
        words += ["--dev", "/dev", *_tmpfs("/dev/shm", SHM_BYTES, "1777")]
        words += ["--remount-ro", "/dev", "--proc", "/proc"]
        for name in _masked():
            # A device where none may be used: it cannot be opened.
            words += ["--ro-bind", "/dev/null", f"/proc/{name}"]
        for name in _EMPTY:
            if (_PROC / name).is_dir():
                words += ["--tmpfs", f"/proc/{name}", "--remount-ro", f"/proc/{name}"]
        words += [
            # Root may write most of /proc/sys without any capability, and that is the host's: core_pattern
            # names a program that the kernel runs as root.
            "--remount-ro", "/proc",
            *_tmpfs("/run", RUN_BYTES, "0755"),
            "--dir", "/run/lock",
            # By it scripts know a system that OSTree deploys: any file will do, and each tree has this one.
            "--symlink", "/usr/lib/os-release", "/run/ostree-booted",
            # A tree's /media is a link to it: dpkg replaces a link that leads nowhere by a directory.
            "--dir", "/run/media",
            *_tmpfs("/tmp", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // TMP_SHARE, "1777"),
        ]  # fmt: skip
        for place, source in (self.read_only or {}).items():
            words += ["--ro-bind", os.fspath(source), place]
        words += ["--clearenv"]
        for key, value in ENVIRONMENT.items():
            words += ["--setenv", key, value]
        return [*words, "--chdir", "/", "--", *command]

    def _etc(self) -> Path:
        """The tree's /etc. A link that a script has put there would show the host's. Raises ScriptError."""
        name = "usr/etc" if not self.plain else "etc"
        if not Tree(self.root).has_directory(name):
            raise ScriptError("a script removed or replaced /etc", f"/{name} is no longer a directory", NOTHING_CHANGED)
        return self.root / name


def _masked() -> list[str]:
    """The files of this machine's /proc that a script must not read."""
    private = {
        entry.name
        for entry in os.scandir(_PROC)
        if entry.is_file(follow_symlinks=False) and not entry.stat().st_mode & stat.S_IROTH
    }
    return sorted(private | {name for name in _MASKED if (_PROC / name).exists()})


def _tmpfs(place: str, size: int, mode: str) -> list[str]:
    return ["--perms", mode, "--size", str(size), "--tmpfs", place]
