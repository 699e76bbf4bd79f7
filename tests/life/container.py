"""A tree that runs: its own systemd, as the first process of namespaces of its own.

A boot takes a second, where an emulated machine takes a minute, and everything above the kernel is real: PID 1,
generators, units, their order and their mounts. The tree gets a /dev of its own and no path of the host, no network
but a loopback, and none of the capabilities with which root changes a kernel.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

BOOT_SECONDS = 300
"""Only against a hang: a boot takes about a second."""

HOST_NAME = "life"
"""Of a tree that has no other: certificates have it."""

_NUMBERS = itertools.count()

_FIRST = """
set -eu
group=$1 root=$2 cmdline=$3; shift 3
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 dev/tty c 5 0
mkdir -m 755 dev/pts
mkdir -m 1777 dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "dev/${number#*:}"; done
mount -t tmpfs -o mode=755 tmpfs run
mount --bind "$cmdline" proc/cmdline
hostname "$HOST_NAME"
ip link set lo up
# A group of its own below the root of the hierarchy, which is all that the tree sees of it.
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir "sys/fs/cgroup/$group"
echo 0 >"sys/fs/cgroup/$group/cgroup.procs"
umount sys/fs/cgroup
exec unshare --cgroup sh -eu -c "$SECOND" sh "$@"
"""

_SECOND = """
mount -t cgroup2 cgroup2 sys/fs/cgroup
{mounts}
mkdir run/host
pivot_root . run/host
cd /
umount -l run/host
rmdir run/host
# As systemd has it on a machine; in a container it leaves that to whoever made it.
mount --make-rshared /
exec env -i container=life PATH=/usr/sbin:/usr/bin setpriv --bounding-set=-sys_module,-sys_rawio,-sys_time,-mknod \
    /sbin/init $(cat /proc/cmdline)
"""

_CLEAN = """
mount -t cgroup2 cgroup2 /sys/fs/cgroup
[ ! -d "/sys/fs/cgroup/$1" ] || find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir '{}' +
"""


class Container:
    """A running tree; a context manager that ends it, whatever happened."""

    def __init__(
        self, root: Path, place: Path, *, mounts: str = "", arguments: Sequence[str] = (), words: Sequence[str] = ()
    ) -> None:
        """Boot the tree at ``root``, with the kernel's ``arguments``.

        ``mounts`` is a shell script that runs in the tree before its systemd, and ``words`` are its arguments;
        ``place`` is a directory for what is left to look at.
        """
        place.mkdir(parents=True, exist_ok=True)
        self._group = f"life-{os.getpid()}-{next(_NUMBERS)}"
        cmdline = place / "cmdline"
        cmdline.write_text(" ".join(arguments) + "\n")
        argv = [
            "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
            "--net", "--uts", "--ipc",
            "sh", "-c", _FIRST, "sh",
            self._group, os.fspath(root), os.fspath(cmdline), *words,
        ]  # fmt: skip
        self._console = place / "console"
        with self._console.open("ab") as console:
            self._outer = subprocess.Popen(
                argv,
                env={**os.environ, "HOST_NAME": HOST_NAME, "SECOND": _SECOND.replace("{mounts}", mounts)},
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip

    def __enter__(self) -> Container:
        try:
            self._pid = self._wait_for_systemd()
            self.state = self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._outer.kill()
        self._outer.wait()
        subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-eu", "-c", _CLEAN, "sh", self._group],
            check=False, capture_output=True,
        )  # fmt: skip

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script in the tree as root."""
        argv = [
            "nsenter", "--target", str(self._pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--",
            "/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME=/root",
            "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
            "/bin/sh", "-c", script,
        ]  # fmt: skip
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="surrogateescape", check=False,
        )  # fmt: skip

    def say(self, script: str) -> str:
        """What a script printed that has to succeed."""
        done = self.run(script)
        assert done.returncode == 0, f"{script}: exit {done.returncode}\n{done.stdout}"
        return done.stdout

    def power_off(self) -> None:
        """Shut down as a machine does, so that everything is written."""
        self.run("systemctl poweroff")
        try:
            self._outer.wait(BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError("the tree does not shut down") from None

    def _wait_for_systemd(self) -> int:
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._outer.poll() is None:
            children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
            if children and Path(f"/proc/{children[0]}/cmdline").read_bytes().startswith(b"/sbin/init"):
                return int(children[0])
            time.sleep(0.02)
        raise AssertionError(f"no systemd:\n{self._console.read_text(errors='replace')[-2000:]}")

    def _wait_until_up(self) -> str:
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._outer.poll() is None:
            # Until systemd listens, the command fails.
            state = self.run("systemctl is-system-running --wait").stdout.strip()
            if state in {"running", "degraded"}:
                return state
            time.sleep(0.05)
        raise AssertionError(f"no system: {state}\n{self._console.read_text(errors='replace')[-2000:]}")
