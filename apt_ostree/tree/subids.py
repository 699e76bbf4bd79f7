"""Ranges of subordinate ids, subuid(5) and subgid(5): a user's own, in which its containers' users live.

useradd(8) gives each user that is not a system's the first range that is free in the lists that it sees. A package's
script sees the image's alone, and so would give away what a user of the machine has.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..errors import TreeError
from ..numbers import decimal
from ..text import lines

LISTS = ("subuid", "subgid")
FIRST = 100000
"""SUB_UID_MIN and SUB_GID_MIN (login.defs(5))."""

NEW_MAX = 4096
"""Ranges that a layer may add; a user has one, and packages have no users of that many people."""

NEW_SIZES_MAX = 16
"""Different sizes of these. useradd knows one; for each, room is looked for among all ranges of the machine."""


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
        self.full: dict[int, int] = {}
        """Size -> where no range of that size is free before: none becomes free again."""
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
        start = self.full.get(size, FIRST)
        at = bisect_right(self.stops, start)
        # Behind the last of all, there is room.
        while at < len(self.starts) and self.starts[at] < start + size:
            start = self.stops[at]
            at += 1
        self.full[size] = start
        return start


class _Count:
    """The number of given ranges that overlap another."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        held = [found for found in ranges if found.size]
        self.starts = sorted(found.start for found in held)
        self.stops = sorted(found.stop for found in held)

    def overlapping(self, found: Range) -> int:
        return bisect_left(self.starts, found.stop) - bisect_right(self.stops, found.start)


class _Known:
    """The ranges that names have on a machine."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.all = list(ranges)
        of: dict[str, list[Range]] = {}
        for found in self.all:
            of.setdefault(found.name, []).append(found)
        self._every = _Count(self.all)
        self._of = {name: _Count(own) for name, own in of.items()}
        by_size: dict[tuple[str, int], list[Range]] = {}
        for found in self.all:
            by_size.setdefault((found.name, found.size), []).append(found)
        self._left = {key: iter(own) for key, own in by_size.items()}

    def is_anothers(self, found: Range) -> bool:
        """True if any of a range's ids is in one that another name has."""
        own = self._of.get(found.name)
        return self._every.overlapping(found) > (own.overlapping(found) if own else 0)

    def own(self, made: Range) -> Iterator[Range]:
        """The ranges of that name and size, each once: what is not taken at first never is."""
        return self._left.get((made.name, made.size), iter(()))


def ids(text: str) -> Callable[[int], bool]:
    """Read which ids are in any of the ranges of such a list: a function that is true for them."""
    taken = _Taken(parse(text))
    return lambda number: taken.overlaps(Range("", number, 1))


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
    of_base, known = parse(base), _Known(parse(reserved))
    old = set(of_base)
    new = [found for found in dict.fromkeys(parse(text)) if found not in old]
    if len(new) > NEW_MAX or len({found.size for found in new}) > NEW_SIZES_MAX:
        raise TreeError(
            "a script allotted too many subordinate ids",
            f"more than {NEW_MAX} ranges, or {NEW_SIZES_MAX} sizes of ranges (subuid(5))",
        )
    allotted: list[Range] = []
    taken, of_layer = _Taken([*of_base, *known.all]), _Taken(of_base)
    for made in new:
        # Ranges that are reserved for the name itself are free for it.
        candidates = itertools.chain(known.own(made), [made])
        chosen = next(
            (found for found in candidates if not (of_layer.overlaps(found) or known.is_anothers(found))), None
        )
        allotted.append(chosen or made._replace(start=taken.free(made.size)))
        taken.add(allotted[-1])
        of_layer.add(allotted[-1])
    moved = dict(zip(new, allotted, strict=True))
    fresh = []
    for line in lines(text):
        made_there = next(iter(parse(line)), None)
        there = moved.get(made_there) if made_there else None
        fresh.append(":".join(map(str, there)) if there else line)
    return "".join(f"{line}\n" for line in fresh)
