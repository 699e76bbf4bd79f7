"""The boots of each deployment, as a unit of ours in the tree counts them (data/note-boot)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ..host.paths import beneath

PLACE = "var/lib/apt-ostree/boots"
"""Below the stateroot."""


def parse(text: str) -> Mapping[str, int]:
    """The boots of each deployment in such a note, by the deployment's id: a boot counts once, by its own."""
    found = {tuple(words[:2]) for line in text.splitlines() if len(words := line.split()) >= 2}
    return Counter(deployment for deployment, _ in found)


def read(stateroot: Path) -> Mapping[str, int] | None:
    """The same of a stateroot; None where nothing was ever noted. Never fails: it is only news."""
    place = beneath(stateroot, PLACE)
    try:
        return None if place is None or place.is_symlink() else parse(place.read_text(errors="replace"))
    except OSError:
        return None
