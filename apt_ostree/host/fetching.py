"""The watch over a child that fetches: it has to get on, and to leave the disk what the host needs.

A server may send a byte every few seconds, or bytes without end, and who owns the directory of a ``file:`` source may
put a pipe there, which nobody ever writes to. The programs that fetch have limits for silence alone, if any; meanwhile
the sysroot's lock is held.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import AptOstreeError, SpaceError
from ..text import text_of
from . import files

WINDOW = 300.0
"""Seconds in which a fetch has to get on; apt itself gives up a server that is silent after 30 s, twice."""

LEAST_BYTES = 256 << 10
"""Bytes that it has to write in that time, which is a kilobyte a second: slower than any line that anybody updates by.
What was received is written; besides, programs write some words on how far they are."""

BUSY_SHARE = 0.1
"""Of that time, in which a fetch that only computes, or waits for the disk, has to do that: apt reads its lists, ostree
syncs its objects."""

UPDATE_SECONDS = 1800.0
"""Seconds that all package lists together may take: a pipe may be filled as fast as it is read."""

PULL_SECONDS = 86400.0
"""Seconds that a pull may take. Nobody knows beforehand how much it is."""

LEAST_RATE = 4096
"""Bytes a second, on the whole, of what has a known size: who answers each request with another place to ask gets on,
and never ends."""

_INTERVAL = 0.1
"""Seconds between two looks at the disk. One that takes 2 GB/s gets 200 MB in that time: less than RESERVE."""

_LOOKS = 10
"""Looks at the disk for each at the processes."""


def seconds_for(size: int) -> float:
    """The seconds that fetching so many bytes may take."""
    return UPDATE_SECONDS + size / LEAST_RATE


class Watch:
    """Ends a child, with all of its process group, that does not get on, takes longer than ``seconds`` or fills a disk.

    ``places`` are on the disks that it writes to; ``error`` makes the error from the words why it was ended.
    """

    def __init__(self, places: Sequence[Path], error: Callable[[str], AptOstreeError], seconds: float) -> None:
        self._reserves = {place: files.reserves(os.statvfs(place))[0] for place in places}
        self._error, self._seconds = error, seconds

    @contextmanager
    def over(self, group: int) -> Iterator[None]:
        """Watch a process group as long as the block; its end raises what was reached: SpaceError, or ``error``."""
        ended = threading.Event()
        reached: list[AptOstreeError] = []
        thread = threading.Thread(target=self._look, args=(group, ended, reached), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        for error in reached:
            raise error

    def _look(self, group: int, ended: threading.Event, reached: list[AptOstreeError]) -> None:
        begun = since = time.monotonic()
        seen = _Seen(group)
        count = 0
        while not ended.wait(_INTERVAL):
            now, count = time.monotonic(), count + 1
            if count % _LOOKS == 0:
                seen.look()
            if full := next(
                (place for place, reserve in self._reserves.items() if files.free(place)[0] < reserve), None
            ):
                reached.append(_filled(full))
            elif now - begun > self._seconds:
                reached.append(self._error(f"it took longer than {self._seconds:.0f} s, and was ended"))
            elif now - since > WINDOW:
                if not seen.gets_on(now - since):
                    reached.append(
                        self._error(f"less than {LEAST_BYTES >> 10} kB arrived in {WINDOW:.0f} s, and it was ended")
                    )
                since, seen = now, _Seen(group)
            if reached:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
                return


class _Seen:
    """What the processes of a group have done since the first look (proc_pid_io(5), proc_pid_stat(5))."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._first: dict[int, tuple[int, int]] = {}
        self._last: dict[int, tuple[int, int]] = {}
        self._looks = self._waits = 0
        self.look()
        # What a process did before counts for the time before.
        self._first = dict(self._last)

    def look(self) -> None:
        self._looks += 1
        waits = False
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError, ValueError, LookupError):
                # The name, in parentheses, may have any character.
                state, _, group, *fields = text_of(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
                if int(group) == self._group:
                    words = text_of(Path(f"/proc/{pid}/io")).split()
                    self._last[pid] = int(words[words.index("wchar:") + 1]), int(fields[8]) + int(fields[9])
                    waits = waits or state == "D"
        self._waits += waits

    def gets_on(self, seconds: float) -> bool:
        self.look()
        none = (0, 0)
        written, ticks = (
            sum(last[which] - self._first.get(pid, none)[which] for pid, last in self._last.items()) for which in (0, 1)
        )
        busy = ticks / os.sysconf("SC_CLK_TCK") / seconds
        # Where /proc is of other processes, nothing is known.
        return not self._last or written >= LEAST_BYTES or busy + self._waits / self._looks >= BUSY_SHARE


def _filled(place: Path) -> SpaceError:
    return SpaceError(
        "what is fetched filled the disk",
        f"only {files.free(place)[0] / 1e6:.0f} MB were left free in {place}, and the rest of the system needs some",
        "Nothing was changed. To free space: apt-ostree cleanup -b",
    )
