"""Ranges of subordinate ids, subuid(5) and subgid(5): a user's own, in which its containers' users live.

useradd(8) gives each user that is not a system's the first range that is free in the lists that it sees. A package's
script sees the image's alone, and so would give away what a user of the machine has.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import TreeError
from ..numbers import decimal
from ..text import lines

LISTS = ("subuid", "subgid")
FIRST = 100000
"""SUB_UID_MIN and SUB_GID_MIN (login.defs(5))."""

NEW_MAX = 4096
"""Ranges that a layer may add; a user has one, and packages have no users of that many people."""


class Range(NamedTuple):
    """``size`` ids from ``start`` on, and whose they are."""

    name: str
    start: int
    size: int

    @property
    def stop(self) -> int:
        return self.start + self.size


class _Taken:
    """The ids that some ranges hold, as ranges that neither overlap nor touch."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.starts: list[int] = []
        self.stops: list[int] = []
        for found in sorted(ranges, key=lambda found: found.start):
            self.add(found)

    def add(self, found: Range) -> None:
        if not found.size:
            return
        first, behind = bisect_left(self.stops, found.start), bisect_right(self.starts, found.stop)
        start, stop = found.start, found.stop
        if first < behind:
            start, stop = min(start, self.starts[first]), max(stop, self.stops[behind - 1])
        self.starts[first:behind], self.stops[first:behind] = [start], [stop]

    def overlaps(self, found: Range) -> bool:
        at = bisect_right(self.stops, found.start)
        return at < len(self.starts) and self.starts[at] < found.stop

    def free(self, size: int) -> int:
        """Where the first range of that size begins that is free."""
        start = FIRST
        at = bisect_right(self.stops, start)
        # Behind the last of all, there is room.
        while at < len(self.starts) and self.starts[at] < start + size:
            start = self.stops[at]
            at += 1
        return start


def parse(text: str) -> list[Range]:
    """The lines of such a list; those of another form are left out."""
    found = []
    for line in lines(text):
        words = line.split(":")
        if len(words) == 3 and (start := decimal(words[1])) is not None and (size := decimal(words[2])) is not None:
            found.append(Range(words[0], start, size))
    return found


def allot(text: str, base: str, reserved: str) -> str:
    """The list ``text`` of a layer where new ranges overlap neither the ``base``'s nor those that are ``reserved``.

    A name keeps a range of that size that ``reserved`` has for it; else, where its range overlaps another's, it gets
    the first that is free. Raises TreeError where the layer has too many.
    """
    of_base, known = parse(base), parse(reserved)
    old = set(of_base)
    new = [found for found in dict.fromkeys(parse(text)) if found not in old]
    if len(new) > NEW_MAX:
        raise TreeError("a script allotted too many subordinate ids", f"more than {NEW_MAX} ranges (subuid(5))")
    of: dict[str, list[Range]] = {}
    for found in known:
        of.setdefault(found.name, []).append(found)
    allotted: list[Range] = []
    taken = _Taken([*of_base, *known])
    for made in new:
        own = of.get(made.name, [])
        # Ranges that are reserved for the name itself are free for it.
        others = (
            taken if not own else _Taken([*of_base, *allotted, *(found for found in known if found.name != made.name)])
        )
        candidates = [*(found for found in own if found.size == made.size), made]
        chosen = next((found for found in candidates if not others.overlaps(found)), None)
        allotted.append(chosen or made._replace(start=others.free(made.size)))
        taken.add(allotted[-1])
    moved = dict(zip(new, allotted, strict=True))
    fresh = []
    for line in lines(text):
        made_there = next(iter(parse(line)), None)
        there = moved.get(made_there) if made_there else None
        fresh.append(":".join(map(str, there)) if there else line)
    return "".join(f"{line}\n" for line in fresh)
