"""The one lock of a sysroot, and who holds it.

The lock is the kernel's (flock(2)), so it ends with its holder, however that ends. The file's content is only
information: who holds it, for everybody to read. Content that outlives its holder tells that it was killed.
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

from . import caller
from .errors import LockedError

POLL_SECONDS = 0.2
"""How often a waiting command looks whether the lock is free; nothing signals that."""

GLANCE_SECONDS = 0.3
"""Longer than anybody who only looks at the lock keeps it: a command that waits for nobody waits so long."""


@dataclass(frozen=True, slots=True)
class Holder:
    """What a lock's holder tells of itself; without a ``pid``, nothing that can be read.

    ``ticks`` is when the process started, as proc_pid_stat(5) counts: a pid alone may be another process by now.
    """

    pid: int | None = None
    started: str = ""
    command: tuple[str, ...] = ()
    id: str = ""
    ticks: int | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return "its holder left no description"
        return f"process {self.pid}, since {self.started or '?'}: {' '.join(self.command) or '?'}"


@contextmanager
def lock(path: Path, *, wait: float | None = 0, identifier: str = "") -> Iterator[Holder | None]:
    """Hold the lock at ``path``, under the id of a transaction; gives the holder before, if that was killed.

    ``wait`` is in seconds: 0 fails at once, None waits for ever. Raises LockedError, which names the holder.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    deadline = None if wait is None else time.monotonic() + max(wait, GLANCE_SECONDS)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise LockedError(
                        "another transaction is in progress",
                        str(holder(path) or Holder()),
                        "Wait for it to end (--wait does that) and run the command again.",
                    ) from None
                time.sleep(POLL_SECONDS if wait != 0 else GLANCE_SECONDS / 10)
        text = os.pread(descriptor, 1 << 16, 0)
        note = {
            "pid": os.getpid(),
            "ticks": start_ticks(os.getpid()),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": caller.words(),
            "id": identifier,
        }
        # On a full disk the note is lost, not the lock: that is when cleanup is needed.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
        try:
            yield parse(text) if text else None
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(path: Path) -> Holder | None:
    """Who holds the lock at ``path``; None when it is free, or cannot be read."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except BlockingIOError:
                return parse(file.read())
    except OSError:
        return None


def parse(text: bytes) -> Holder:
    """Read a lock's content; whatever makes no sense counts as missing."""
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        return Holder()
    if not isinstance(note, dict) or not _is_number(note.get("pid")):
        return Holder()
    command = note.get("command")
    return Holder(
        note["pid"],
        str(note.get("started", "")),
        tuple(map(str, command)) if isinstance(command, list) else (),
        str(note.get("id", "")),
        note["ticks"] if _is_number(note.get("ticks")) else None,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot (proc_pid_stat(5), field 22); None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the name in parentheses, and may hold any character.
    return int(text.rpartition(")")[2].split()[19])
