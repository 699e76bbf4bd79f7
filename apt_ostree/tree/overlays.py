"""/opt and /usr/local: the image's in the tree, the machine's own files over them in an overlay.

Packages' files lie there as dpkg wrote them. On a booted machine, opt.mount and usr-local.mount show what the machine
wrote (in /var/lib/apt-ostree/overlays) over them. A copy that the machine changed hides the tree's file. As dpkg would
at an upgrade, settle-overlays removes such a copy when the tree's file is another than it was before. For that the tree
has a list of its packages' files in each of these places; conffiles, which dpkg keeps, are in none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..host.door import Tree
from . import shipped, state
from .view import View

PLACES = {"opt": "opt", "usr-local": "usr/local"}
"""The directories that have an overlay, by the name that systemd gives their mount unit."""

LISTS = "usr/lib/apt-ostree/overlays.d"
"""A list for each place, a line a file: a digest and its path in the place, as state.escape writes it."""


def write(view: View, target: Path) -> bool:
    """Put the lists of what packages have in PLACES into the tree ``target``, as far as ``view`` has others; returns
    whether it has."""
    changed = False
    files = _files(view)
    ours = sorted(shipped.listed(view.stack, files) - shipped.listed(view.stack, files, kind=shipped.CONFFILES))
    for name, place in PLACES.items():
        inside = [path for path in ours if path.startswith(f"{place}/")]
        text = "".join(
            f"{digest} {state.escape(path.removeprefix(f'{place}/'))}\n"
            for path in inside
            if (digest := _digest(view, path)) is not None
        )
        if text != view.text(f"{LISTS}/{name}"):
            state.write_file(Tree(target), f"{LISTS}/{name}", text)
            changed = True
    return changed


def _files(view: View) -> set[str]:
    """What any of the trees has there beside directories; few have anything."""
    return {
        entry.name
        for tree in map(Tree, view.stack)
        for place in PLACES.values()
        for entry in tree.walk(place)
        if not entry.is_directory
    }


def _digest(view: View, path: str) -> str | None:
    """A SHA-256 over all that an upgrade may change in a file or link, but its owner, whose number is the machine's;
    None for what is neither, or not there."""
    tree = view.tree_of(path)
    status = None if tree is None else tree.status(path)
    if tree is None or status is None:
        return None
    digest = hashlib.sha256(f"{status.st_mode:o}\n".encode())
    if (target := tree.link(path)) is not None:
        digest.update(target.encode(errors="surrogateescape"))
    elif (file := tree.open_file(path)) is not None:
        with file:
            while block := file.read(1 << 20):
                digest.update(block)
    else:
        return None
    return digest.hexdigest()
