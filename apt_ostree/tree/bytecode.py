"""Byte-compiled Python, valid in a deployed tree, where every time is 0 (PEP 552).

A .pyc names its source's time of change. Where a script compiled a file whose time was another, Python would compile
it again at each start, and could not keep the result.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from ..host.files import replace_content
from ..host.paths import walk
from . import opt

CACHE = "__pycache__"


def shipped(lists: Iterable[Path]) -> set[str]:
    """The .pyc files that packages ship themselves, from their .list files: these stay as their md5sums say."""
    return {
        line.lstrip("/") if not line.startswith("/lib/") else f"usr{line}"
        for listing in lists
        for line in listing.read_text(errors="surrogateescape").splitlines()
        if line.endswith(".pyc")
    }


def zero_source_times(tree: Path, keep: Collection[str], spare: Path) -> None:
    """Set the source times of a tree's .pyc files to 0, except in the files ``keep``; see ``zero_source_time``."""
    for entry in walk(tree):
        if entry.name.endswith(".pyc") and entry.is_file(follow_symlinks=False):
            path = Path(entry.path)
            if path.parent.name == CACHE and _as_listed(os.path.relpath(path, tree)) not in keep:
                zero_source_time(path, spare)


def _as_listed(name: str) -> str:
    """The name under which dpkg knows what was moved to where it rolls back."""
    for place, moved in opt.PLACES.items():
        if name.startswith(f"{moved}/"):
            return name.replace(moved, place.replace("usrlocal", "usr/local"), 1)
    return name


def zero_source_time(path: Path, spare: Path) -> None:
    """Set the source time in a timestamp-based .pyc to 0; others, and what is none, stay. Never writes to a shared
    file: ``spare`` is for a copy, see files.replace_content."""
    with path.open("rb") as file:
        header = file.read(16)
    if not has_time(header) or header[8:12] == bytes(4):
        return
    if path.stat().st_nlink > 1:
        replace_content(path, path, spare)
    with path.open("r+b") as file:
        file.seek(8)
        file.write(bytes(4))


def has_time(header: bytes) -> bool:
    """True if the first 16 bytes of a file are those of a .pyc that names its source's time: every magic number ends
    so, and the flags are none."""
    return len(header) == 16 and header[2:4] == b"\r\n" and header[4:8] == bytes(4)
