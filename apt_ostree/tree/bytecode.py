"""Byte-compiled Python, valid in a deployed tree, where every time is 0 (PEP 552).

A .pyc names its source's time of change. Where a script compiled a file whose time was another, Python would compile
it again at each start, and could not keep the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..host.door import Tree
from . import shipped

CACHE = "__pycache__"

_WAYS = {"/lib/": "usr/lib/", "/": ""}
"""Where a tree has what a package lists."""


def zero_source_times(stack: Sequence[Path], *, info: str = shipped.INFO) -> None:
    """Set the source times of the .pyc files in the trees of ``stack``, the topmost first, to 0, except in those that
    packages ship themselves, as the lists in dpkg's directory ``info`` tell: these stay as their md5sums say. See
    ``zero_source_time``."""
    walks = ((tree, entry) for tree in map(Tree, stack) for entry in tree.walk())
    found = [(tree, entry.name) for tree, entry in walks if entry.is_file and _is(entry.name)]
    keep = shipped.listed(stack, {name for _, name in found}, ways=_WAYS, info=info)
    for tree, name in found:
        if name not in keep:
            zero_source_time(tree, name)


def _is(name: str) -> bool:
    return name.endswith(".pyc") and name.split("/")[-2:-1] == [CACHE]


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
