"""Byte-compiled Python, valid in a deployed tree, where every time is 0 (PEP 552).

A .pyc names its source's time of change. Where a script compiled a file whose time was another, Python would compile
it again at each start, and could not keep the result.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..host.door import Tree

CACHE = "__pycache__"


def shipped(tree: Tree, info: str) -> set[str]:
    """The .pyc files that packages ship themselves, from the .list files of dpkg's directory ``info`` in a tree: these
    stay as their md5sums say."""
    return {
        line.lstrip("/") if not line.startswith("/lib/") else f"usr{line}"
        for name in tree.names(info)
        if name.endswith(".list")
        for line in (tree.text(f"{info}/{name}") or "").split("\n")
        if line.endswith(".pyc")
    }


def zero_source_times(top: Path, keep: Collection[str]) -> None:
    """Set the source times of a tree's .pyc files to 0, except in the files ``keep``; see ``zero_source_time``."""
    tree = Tree(top)
    for entry in tree.walk():
        in_cache = entry.is_file and entry.name.endswith(".pyc") and entry.name.split("/")[-2:-1] == [CACHE]
        if in_cache and entry.name not in keep:
            zero_source_time(tree, entry.name)


def zero_source_time(tree: Tree, name: str) -> None:
    """Set the source time in a timestamp-based .pyc to 0; others, and what is none, stay. Never writes to a file that
    may be shared: the name gets a file of its own. Raises TreeError for one that is too large to be byte code."""
    file = tree.open_file(name)
    if file is None:
        return
    with file:
        header = file.read(16)
    if has_time(header) and header[8:12] != bytes(4) and (content := tree.read(name)) is not None:
        tree.replace_content(name, content[:8] + bytes(4) + content[12:])


def has_time(header: bytes) -> bool:
    """True if the first 16 bytes of a file are those of a .pyc that names its source's time: every magic number ends
    so, and the flags are none."""
    return len(header) == 16 and header[2:4] == b"\r\n" and header[4:8] == bytes(4)
