"""Control groups (cgroups(7)): the kernel's own count of processes and of memory, where one can be had."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..text import text_of
from . import lifetime

_PREFIX = "apt-ostree-"
_PATIENCE = 1.0
"""Seconds: in the older hierarchy a process that has died counts until it is forgotten."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that everything in a group may take together: processes and threads; bytes of memory and of swap."""

    tasks: int
    memory: int
    swap: int


@dataclass(frozen=True, slots=True)
class Group:
    """A control group of ours: where processes are counted, and where memory is; None where nothing counts them.

    In the newer hierarchy (cgroup2) both are one directory.
    """

    tasks: Path | None
    memory: Path | None

    def add(self, pid: int) -> Group:
        """Put a process, and so all that it will start, into the group; returns the group as far as it was allowed."""
        taken = {path for path in self.paths if _written(path / "cgroup.procs", pid)}
        return Group(*(path if path in taken else None for path in (self.tasks, self.memory)))

    @property
    def paths(self) -> set[Path]:
        return {path for path in (self.tasks, self.memory) if path is not None}

    def overran(self) -> bool:
        """True if the kernel has refused a new process in it."""
        return self.tasks is not None and _count(self.tasks / "pids.events", "max") > 0

    def starved(self) -> bool:
        """True if the kernel has killed a process in it because its memory was used up."""
        # The older hierarchy tells it in another file.
        return self.memory is not None and any(
            _count(self.memory / name, "oom_kill") > 0 for name in ("memory.events", "memory.oom_control")
        )


@contextmanager
def holding(bounds: Bounds) -> Iterator[Group]:
    """A group with these bounds, as long as the block.

    Nothing is counted where no hierarchy with the controller is mounted and writable: in a rescue shell, in most
    containers.
    """
    group = Group(_counting(bounds), _bounded_memory(bounds))
    try:
        yield group
    finally:
        for path in group.paths:
            _remove(path)


def _bounded_memory(bounds: Bounds) -> Path | None:
    path = _made("memory")
    if path is None:
        return None
    if (path / "memory.max").exists():
        bound, swap = ("memory.max", bounds.memory), ("memory.swap.max", bounds.swap)
    else:
        # The older hierarchy bounds memory and swap together.
        bound = ("memory.limit_in_bytes", bounds.memory)
        swap = ("memory.memsw.limit_in_bytes", bounds.memory + bounds.swap)
    if not _written(path / bound[0], bound[1]):
        return None
    _written(path / swap[0], swap[1])  # a kernel may be built without it
    return path


def _counting(bounds: Bounds) -> Path | None:
    path = _made("pids")
    return path if path is not None and _written(path / "pids.max", bounds.tasks) else None


def _made(controller: str) -> Path | None:
    try:
        return _make(controller)
    except OSError:
        return None


def _make(controller: str) -> Path | None:
    top = _hierarchy(os.fsdecode(Path("/proc/self/mounts").read_bytes()), controller)
    if top is None:
        return None
    control = top / "cgroup.subtree_control"
    if control.exists() and controller not in text_of(control).split():
        control.write_text(f"+{controller}")
    for left in top.glob(f"{_PREFIX}*"):
        # A killed run's. That of a live one may be empty, too, before its first process and after its last.
        owner = left.name.removeprefix(_PREFIX)
        if owner.isdecimal() and lifetime.start_ticks(int(owner)) is None:
            with contextlib.suppress(OSError):
                left.rmdir()
    path = top / f"{_PREFIX}{lifetime.command()}"
    path.mkdir(exist_ok=True)
    return path


def _hierarchy(mounts: str, controller: str) -> Path | None:
    """The hierarchy with a controller, from the text of /proc/self/mounts (proc_pid_mounts(5))."""
    for line in mounts.split("\n"):
        words = line.split(" ")
        if len(words) < 4:
            continue
        _, place, kind, options, *_ = words
        path = Path(place)
        if kind == "cgroup" and controller in options.split(","):
            return path
        if kind == "cgroup2" and controller in _words(path / "cgroup.controllers"):
            return path
    return None


def _written(path: Path, value: int) -> bool:
    """Write to a file that the kernel has made; returns whether it took that."""
    try:
        path.write_text(str(value))
    except OSError:
        return False
    return True


def _count(path: Path, key: str) -> int:
    """A number of a file of keys and values; 0 where the group is gone: nobody can remove one that is in use."""
    words = _words(path)
    return int(words[words.index(key) + 1]) if key in words else 0


def _words(path: Path) -> list[str]:
    try:
        return text_of(path).split()
    except OSError:
        return []


def _remove(path: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while path.exists() and time.monotonic() < end:
        with contextlib.suppress(OSError):
            path.rmdir()
            return
        time.sleep(0.01)
