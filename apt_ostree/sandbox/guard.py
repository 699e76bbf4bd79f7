"""The watch over a sandbox: it ends when its command has, or when it takes more of the machine than it may.

What lives in a sandbox lives in a pid namespace: killing its first process kills everything in it, however often it
forked, and that process is not gone before all others are (pid_namespaces(7)). A fork bomb gets no further than
its control group lets it, and is ended then; so is what takes more memory than its group has. Where there is no group,
processes are counted from here: a bomb outruns that, up to the kernel's own limit, before it is ended (measured on two
cores: 2 to 60 s; with a group 1 to 4 s). RLIMIT_NPROC does not bind root (setrlimit(2)).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import AptOstreeError, ScriptError, SpaceError, ToolError
from ..host import cgroup
from ..host.files import free, reserves
from ..text import text_of
from .limits import LIMITS, Limits

NOTHING_CHANGED = "Nothing was changed."

INTERVAL = 0.1
"""Seconds between two looks. A disk that takes 2 GB/s gets 200 MB in that time: less than RESERVE."""


class Guard:
    """Watches one sandbox, from the moment that bwrap writes its first process to ``info`` (--info-fd) and waits for
    ``block`` (--block-fd), to the end.

    When the block is left, nothing of the sandbox runs: what a script left behind must not go on changing
    trees that root reads next, and bwrap itself ends some milliseconds before the last process has (measured).
    ``place`` is on the disk that is written to; what ``doing`` returns begins the message of the ScriptError or
    SpaceError that is raised when a limit was reached.
    """

    def __init__(self, place: Path, doing: Callable[[], str], limits: Limits | None = None) -> None:
        self.place, self.doing, self.limits = place, doing, limits or LIMITS
        self._reserve, self._inode_reserve = reserves(os.statvfs(place), self.limits.reserve)
        self._bounds = cgroup.Bounds(self.limits.tasks, *_memory(self.limits, text_of(Path("/proc/meminfo"))))
        self._reached: AptOstreeError | None = None
        self._written, self.info = os.pipe()
        self._ended, self._running = os.pipe()
        self.block, self._go = os.pipe()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The thread sees the ends of both pipes: of the first one, where bwrap failed before it wrote.
        os.close(self.info)
        os.close(self._running)
        self._thread.join()
        for descriptor in (self._written, self._ended, self.block, self._go):
            os.close(descriptor)
        if self._reached is not None and kind is None:
            raise self._reached

    def _watch(self) -> None:
        text = b""
        while not text.rstrip().endswith(b"}"):
            part = os.read(self._written, 4096)
            if not part:
                return
            text += part
        pid = json.loads(text)["child-pid"]
        try:
            first = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError as error:
            # It waits for a word that must not come without a watch.
            self._reached = ToolError("cannot watch the sandbox", error.strerror or str(error))
            os.kill(pid, signal.SIGKILL)
            return
        with cgroup.holding(self._bounds) as made:
            try:
                group = made.add(pid)
                namespace = os.stat(f"/proc/{pid}/ns/pid").st_ino
                os.write(self._go, b"x")
                self._look(first, namespace, group)
            except (FileNotFoundError, ProcessLookupError):
                pass  # it died at once
            finally:
                _end(first)
                os.close(first)

    def _look(self, first: int, namespace: int, group: cgroup.Group) -> None:
        """Return as soon as the sandbox, or its time, is over."""
        poll = select.poll()
        poll.register(first, select.POLLIN)
        poll.register(self._ended, select.POLLIN)
        end = time.monotonic() + self.limits.seconds
        over = False
        while self._reached is None and not over:
            over = bool(poll.poll(INTERVAL * 1000))
            if time.monotonic() > end and not over:
                self._reached = ScriptError(
                    f"{self.doing()} took longer than {self.limits.seconds:.0f} s",
                    resolution=f"{NOTHING_CHANGED} To allow more, set script-time in /etc/apt-ostree/config.toml.",
                )
            elif group.overran() if group.tasks is not None else _tasks(namespace) > self.limits.tasks:
                self._reached = ScriptError(
                    f"{self.doing()} started more than {self.limits.tasks} processes", resolution=NOTHING_CHANGED
                )
            elif group.starved():
                self._reached = ScriptError(
                    f"{self.doing()} used more than {self._bounds.memory / 1e6:.0f} MB of memory",
                    resolution=NOTHING_CHANGED,
                )
            elif (left := free(self.place))[0] < self._reserve:
                self._reached = SpaceError(
                    f"{self.doing()} filled the disk",
                    f"only {left[0] / 1e6:.0f} MB were left free, and the rest of the system needs some",
                    f"{NOTHING_CHANGED} To free space: apt-ostree cleanup",
                )
            elif left[1] < self._inode_reserve:
                self._reached = SpaceError(
                    f"{self.doing()} filled the disk with files",
                    f"only {left[1]} inodes were left free, and the rest of the system needs some",
                    f"{NOTHING_CHANGED} To free space: apt-ostree cleanup",
                )


def _end(first: int) -> None:
    """Kill a pid namespace by its first process; returns when nothing is left of it."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(first, signal.SIGKILL)
    # Readable once it is dead, and it dies last.
    poll = select.poll()
    poll.register(first, select.POLLIN)
    poll.poll()


def _tasks(namespace: int) -> int:
    """The number of threads in a pid namespace. It cannot have another inside."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                    # A directory has a link from each directory in it, and two of its own.
                    count += os.stat(f"/proc/{name}/task").st_nlink - 2
    return count


def _memory(limits: Limits, meminfo: str) -> tuple[int, int]:
    """The bytes of memory and of swap that a run may take, from the text of /proc/meminfo (proc_meminfo(5), KiB)."""
    sizes = {words[0]: int(words[1]) << 10 for line in meminfo.split("\n") if (words := line.split())}
    memory, swap = (int(sizes[key] * limits.memory_share) for key in ("MemTotal:", "SwapTotal:"))
    return max(memory, limits.memory_least), swap
