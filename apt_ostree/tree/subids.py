"""Ranges of subordinate ids, subuid(5) and subgid(5): a user's own, in which its containers' users live.

useradd(8) gives each user that is not a system's the first range that is free in the lists that it sees. A package's
script sees the image's alone, and so would give away what a user of the machine has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..numbers import decimal
from ..text import lines

LISTS = ("subuid", "subgid")
FIRST = 100000
"""SUB_UID_MIN and SUB_GID_MIN (login.defs(5))."""


class Range(NamedTuple):
    """``size`` ids from ``start`` on, and whose they are."""

    name: str
    start: int
    size: int

    @property
    def stop(self) -> int:
        return self.start + self.size

    def overlaps(self, others: Iterable[Range]) -> bool:
        return any(self.start < other.stop and other.start < self.stop for other in others)


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
    the first that is free.
    """
    of_base, known = parse(base), parse(reserved)
    new = [found for found in dict.fromkeys(parse(text)) if found not in of_base]
    allotted: list[Range] = []
    for made in new:
        taken = [*of_base, *allotted, *(other for other in known if other.name != made.name)]
        own = [other for other in known if other.name == made.name and other.size == made.size]
        starts = sorted({FIRST, *(other.stop for other in taken)})
        candidates = [*own, made, *(made._replace(start=start) for start in starts)]
        # Behind the last of all, there is room.
        allotted.append(next(range_ for range_ in candidates if not range_.overlaps(taken)))
    moved = dict(zip(new, allotted, strict=True))
    fresh = []
    for line in lines(text):
        made_there = next(iter(parse(line)), None)
        there = moved.get(made_there) if made_there else None
        fresh.append(":".join(map(str, there)) if there else line)
    return "".join(f"{line}\n" for line in fresh)
