"""bwrap(1): the sandbox in which maintainer scripts run.

A script is root over the tree and over nothing else: it has no network, no process, path, terminal or socket
of the host, and only the capabilities that dpkg, adduser, su and chown need. There is no user namespace: in
one, a chown to a package's user would fail.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from .proc import PATH

CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
    "CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP", "CAP_SYS_CHROOT",
)  # fmt: skip
"""mount, mknod, hostname, module loading, the clock and raw networking stay impossible."""

HOSTNAME = "localhost"

ENVIRONMENT = {
    "PATH": PATH,
    "HOME": "/root",
    "SHELL": "/bin/sh",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    # Keeps systemctl, deb-systemd-invoke and sysctl from looking for a running system (systemd's ENVIRONMENT.md).
    "SYSTEMD_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class Stub:
    """A script that covers a program of the tree; ``package`` is whose the program is."""

    package: str
    text: str


STUBS = {
    # invoke-rc.d(8): 101 is "action forbidden by policy". No package has this file: see argv.
    "usr/sbin/policy-rc.d": Stub("", "#!/bin/sh\nexit 101\n"),
    "usr/sbin/start-stop-daemon": Stub("dpkg", "#!/bin/sh\nexit 0\n"),
    # ischroot(1): 0 is "yes"; scripts then leave the running system alone.
    "usr/bin/ischroot": Stub("debianutils", "#!/bin/sh\nexit 0\n"),
    # Each kernel's script and a trigger would run it; one run when all is done is enough.
    "usr/bin/dracut": Stub("dracut-core", "#!/bin/sh\n: >/boot/initramfs-wanted\n"),
    # It refuses to remove the kernel that runs, which is the host's.
    "usr/bin/linux-check-removal": Stub("linux-base", "#!/bin/sh\nexit 0\n"),
}
"""Programs that would touch a running system, each covered by a script without changing the tree."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A root directory to run commands in.

    ``root`` is the mounted tree with its /etc in ``usr/etc`` (or in ``etc`` for a plain root: ``plain``),
    ``var`` and ``boot`` directories that serve as /var and /boot, ``stubs`` a directory holding STUBS,
    ``read_only`` further directories by the path at which the sandbox sees them.
    """

    root: Path
    var: Path | None = None
    boot: Path | None = None
    stubs: Path | None = None
    read_only: Mapping[str, Path] | None = None
    plain: bool = False

    def argv(
        self,
        command: list[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        unpacked: Collection[str] = (),
        covered: bool = True,
    ) -> list[str]:
        """The command line that runs ``command`` in the sandbox.

        ``covered`` is whether the stubs take part; not those of the packages ``unpacked``, whose programs dpkg
        is about to replace: it cannot where something is mounted.
        """
        words = [
            "bwrap",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
            # Packages write it into their configuration; the name of the machine at hand is none of a tree's.
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
            words += ["--bind", os.fspath(self.root / "usr/etc"), "/etc"]
        if self.var is not None:
            words += ["--bind", os.fspath(self.var), "/var"]
        if self.boot is not None:
            words += ["--bind", os.fspath(self.boot), "/boot"]
        words += [
            "--dev", "/dev",
            "--proc", "/proc",
            # Root may write most of /proc/sys without any capability, and that is the host's: core_pattern
            # names a program that the kernel runs as root.
            "--remount-ro", "/proc",
            "--tmpfs", "/run",
            "--dir", "/run/lock",
            "--perms", "1777", "--tmpfs", "/tmp",
        ]  # fmt: skip
        for place, source in (self.read_only or {}).items():
            words += ["--ro-bind", os.fspath(source), place]
        if self.stubs is not None and covered:
            for name, stub in STUBS.items():
                if stub.package in unpacked:
                    continue
                # policy-rc.d is in no package: bwrap makes an empty file to mount on, which the engine
                # takes out of the layer again.
                if name.endswith("policy-rc.d") or (self.root / name).exists():
                    words += ["--ro-bind", os.fspath(self.stubs / name), "/" + name]
        words += ["--clearenv"]
        for key, value in {**ENVIRONMENT, **(env or {})}.items():
            words += ["--setenv", key, value]
        return [*words, "--chdir", cwd, "--", *command]


def write_stubs(target: Path) -> Path:
    """Write STUBS below ``target`` and return it."""
    for name, stub in STUBS.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(stub.text)
        path.chmod(0o755)
    return target
