"""The boots of each deployment, as a unit of ours in the tree counts them (data/note-boot)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ..errors import TreeError
from ..host.door import Tree
from ..text import lines

PLACE = "var/lib/apt-ostree/boots"
"""Below the stateroot."""

SIZE_MAX = 4 << 20
"""Bytes of it that are read: the unit keeps 1,000 lines of some 100 bytes."""


def parse(text: str) -> Mapping[str, int]:
    """The boots of each deployment in such a note, by the deployment's id: a boot counts once, by its own."""
    found = {tuple(words[:2]) for line in lines(text) if len(words := line.split()) >= 2}
    return Counter(deployment for deployment, _ in found)


def read(stateroot: Path) -> Mapping[str, int] | None:
    """The same of a stateroot; None where nothing was ever noted. Never fails: it is only news."""
    try:
        text = Tree(stateroot).text(PLACE, limit=SIZE_MAX)
    except (OSError, TreeError):
        return None
    return None if text is None else parse(text)
