"""Control groups (cgroups(7)): the kernel's own count of processes, where one can be had."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import lifetime

_PREFIX = "apt-ostree-"
_PATIENCE = 1.0
"""Seconds: in the older hierarchy a process that has died counts until it is forgotten."""


@dataclass(frozen=True, slots=True)
class Group:
    """A control group of ours."""

    path: Path

    def add(self, pid: int) -> bool:
        """Put a process, and so all that it will start, into the group; returns whether that was allowed."""
        try:
            (self.path / "cgroup.procs").write_text(str(pid))
        except OSError:
            return False
        return True

    def overran(self) -> bool:
        """True if the kernel has refused a new process in it."""
        try:
            words = (self.path / "pids.events").read_text().split()
        except OSError:
            # Nobody can remove one that is in use: whatever ran in it has ended.
            return False
        return words[words.index("max") + 1] != "0"


@contextmanager
def of_tasks(limit: int) -> Iterator[Group | None]:
    """A group that can hold ``limit`` processes and threads, as long as the block.

    None where no hierarchy that counts them is mounted and writable: in a rescue shell, in most containers.
    """
    try:
        group = _make(limit)
    except OSError:
        group = None
    try:
        yield group
    finally:
        if group is not None:
            _remove(group.path)


def _make(limit: int) -> Group | None:
    top = _hierarchy(Path("/proc/self/mounts").read_text())
    if top is None:
        return None
    control = top / "cgroup.subtree_control"
    if control.exists() and "pids" not in control.read_text().split():
        control.write_text("+pids")
    for left in top.glob(f"{_PREFIX}*"):
        # A killed run's. That of a live one may be empty, too, before its first process and after its last.
        owner = left.name.removeprefix(_PREFIX)
        if owner.isdecimal() and lifetime.start_ticks(int(owner)) is None:
            with contextlib.suppress(OSError):
                left.rmdir()
    path = top / f"{_PREFIX}{lifetime.command()}"
    path.mkdir(exist_ok=True)
    (path / "pids.max").write_text(str(limit))
    return Group(path)


def _hierarchy(mounts: str) -> Path | None:
    """The hierarchy with the controller of processes, from the text of /proc/self/mounts (proc_pid_mounts(5))."""
    for line in mounts.splitlines():
        _, place, kind, options, *_ = line.split()
        path = Path(place)
        if kind == "cgroup" and "pids" in options.split(","):
            return path
        if kind == "cgroup2" and "pids" in _words(path / "cgroup.controllers"):
            return path
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _remove(path: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while path.exists() and time.monotonic() < end:
        with contextlib.suppress(OSError):
            path.rmdir()
            return
        time.sleep(0.01)
