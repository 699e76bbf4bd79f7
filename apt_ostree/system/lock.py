"""The one lock of a sysroot, and who holds it.

The lock is the kernel's (flock(2)), so it ends with its holder, however that ends. It is taken on a file of root's
alone: whoever may open a file may lock it, and so stop all updates. The file beside it is only information: who holds
the lock, for everybody to read. A note that outlives its holder tells that it was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeGuard

from ..errors import LockedError
from ..host import caller, lifetime

POLL_SECONDS = 0.2
"""Time between two attempts of a waiting command to take the lock: nothing signals that it is free."""

GLANCE_SECONDS = 0.3
"""Longer than anybody who only looks at the lock keeps it: a command that waits for nobody waits so long."""


NOTE_MAX = 1 << 16
"""Bytes of a note that are read."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a lock, as its note says; without a ``pid``, the note could not be read.

    ``ticks`` is when the process started, as proc_pid_stat(5) counts: a pid alone may be another process by now.
    """

    pid: int | None = None
    started: str = ""
    command: tuple[str, ...] = ()
    id: str = ""
    ticks: int | None = None
    worker: tuple[int, int] | None = None
    """The process that does the work, and when it started: see lifetime.py."""

    def open(self) -> int | None:
        """A descriptor of the process that took the lock, and no other; None where it is gone or cannot be told.

        Between a look and a signal a pid could become another process: see pidfd_open(2).
        """
        if self.pid is None or self.ticks is None:
            return None
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return None
        if lifetime.start_ticks(self.pid) != self.ticks:
            os.close(descriptor)
            return None
        return descriptor

    def wait_for_end(self) -> None:
        """Return once nothing of it runs: a killed process lets go of its lock some moments before its children are
        gone, and is itself gone after them."""
        while self.worker is not None and lifetime.start_ticks(self.worker[0]) == self.worker[1]:
            time.sleep(GLANCE_SECONDS / 10)

    def __str__(self) -> str:
        if self.pid is None:
            return "the process that holds it is unknown"
        return f"process {self.pid}, since {self.started or '?'}: {' '.join(self.command) or '?'}"


def locked_file(path: Path) -> Path:
    """The file that is locked; ``path`` is the note beside it."""
    return path.with_name(f"{path.stem}.flock")


@contextmanager
def lock(path: Path, *, wait: float | None = 0, identifier: str = "") -> Iterator[Holder | None]:
    """Hold the lock at ``path``, under the id of a transaction; gives the holder before, if that was killed.

    ``wait`` is in seconds: 0 fails at once, None waits for ever. Raises LockedError, which names the holder.
    """
    descriptor = os.open(locked_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _take(descriptor, path, wait)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644), "r+b") as note:
            # Whatever the caller's umask: it is for everybody.
            os.fchmod(note.fileno(), 0o644)
            before = note.read(NOTE_MAX)
            _describe(note.fileno(), identifier)
            try:
                yield parse(before) if before else None
            finally:
                os.ftruncate(note.fileno(), 0)
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, wait: float | None) -> None:
    deadline = None if wait is None else time.monotonic() + max(wait, GLANCE_SECONDS)
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if deadline is not None and time.monotonic() >= deadline:
                raise LockedError(
                    "another transaction is in progress",
                    str(holder(path) or Holder()),
                    "Run the command again later, or with --wait.",
                ) from None
            time.sleep(POLL_SECONDS if wait != 0 else GLANCE_SECONDS / 10)


def _describe(note: int, identifier: str) -> None:
    command, worker = lifetime.command(), lifetime.worker()
    told = {
        "pid": command,
        "ticks": lifetime.start_ticks(command),
        "worker": [worker, lifetime.start_ticks(worker)],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": caller.words(),
        "id": identifier,
    }
    # On a full disk the note is lost, not the lock: that is when cleanup is needed.
    with contextlib.suppress(OSError):
        os.ftruncate(note, 0)
        os.pwrite(note, json.dumps(told).encode(), 0)


def holder(path: Path) -> Holder | None:
    """The holder of the lock at ``path``; None if the lock is free, or if that cannot be told.

    Who may not look at the lock itself has to believe the note, as long as the process that it names runs.
    """
    try:
        with locked_file(path).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                return _noted(path)
    except PermissionError:
        told = _noted(path)
        return told if told.pid is not None and lifetime.start_ticks(told.pid) == told.ticks else None
    except OSError:
        return None


def _noted(path: Path) -> Holder:
    try:
        with path.open("rb") as note:
            return parse(note.read(NOTE_MAX))
    except OSError:
        return Holder()


def parse(text: bytes) -> Holder:
    """Read a lock's note; values that make no sense count as missing."""
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        return Holder()
    if not isinstance(note, dict) or not _is_pid(note.get("pid")):
        return Holder()
    command, worker = note.get("command"), note.get("worker")
    process: tuple[int, int] | None = None
    if isinstance(worker, list) and len(worker) == 2 and _is_pid(worker[0]) and _is_number(worker[1]):
        process = (worker[0], worker[1])
    return Holder(
        note["pid"],
        str(note.get("started", "")),
        tuple(map(str, command)) if isinstance(command, list) else (),
        str(note.get("id", "")),
        note["ticks"] if _is_number(note.get("ticks")) else None,
        process,
    )


def _is_pid(value: object) -> TypeGuard[int]:
    """True for what the kernel takes for a process: more is no pid_t."""
    return _is_number(value) and value < 1 << 31


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63
