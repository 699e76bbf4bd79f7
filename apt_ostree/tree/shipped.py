"""What packages ship, as dpkg's lists in a stack of trees name it.

The lists of a large system have some thirty megabytes, and scripts may write more. So they are asked about names that
somebody has, line by line, and never kept whole.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ..host.door import Tree
from ..host.lookup import PATH_MAX
from . import state

INFO = f"{state.SYSIMAGE}/dpkg/info"
FILES, CONFFILES = ".list", ".conffiles"
"""Ends of the names of a package's lists (dpkg-query(1), --control-list)."""

ANYWHERE = {"/": ""}


def listed(
    stack: Sequence[Path],
    names: Collection[str],
    *,
    ways: Mapping[str, str] = ANYWHERE,
    kind: str = FILES,
    info: str = INFO,
) -> frozenset[str]:
    """Return those of ``names`` that the packages' lists of a ``kind`` have, as the trees of ``stack`` show dpkg's
    directory ``info``, the topmost first.

    ``ways`` says how a listed path begins, and a name of what is there: {"/var/": ""} for names below /var.
    """
    ends = {os.fsencode(start): os.fsencode(begin) for start, begin in ways.items()}
    starts = tuple(ends)
    wanted = {os.fsencode(name): name for name in names}
    found = set[str]()
    for line in _lines([Tree(place) for place in stack], kind, info) if wanted else ():
        if line.startswith(starts):
            start = next(start for start in starts if line.startswith(start))
            name = ends[start] + line[len(start) :].removesuffix(b"\n")
            if name in wanted:
                found.add(wanted[name])
    return frozenset(found)


def _lines(stack: Sequence[Tree], kind: str, info: str) -> Iterator[bytes]:
    seen = set[str]()
    for tree in stack:
        for name in tree.names(info):
            if not name.endswith(kind) or name in seen:
                continue
            seen.add(name)
            # One that is gone is a device in the layer that says so, and no file (overlay.py).
            if (file := tree.open_file(f"{info}/{name}")) is not None:
                with file:
                    yield from _short_lines(file)


def _short_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one that is no path for its length, nothing."""
    whole = True
    while line := file.readline(PATH_MAX + 1):
        is_end = line.endswith(b"\n")
        # The last one may lack its end.
        if whole and (is_end or len(line) <= PATH_MAX):
            yield line
        whole = is_end
