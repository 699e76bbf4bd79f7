"""The administrator's /etc against what a tree ships: what ostree's three-way merge will meet.

ostree keeps every file that differs from the deployment's own /usr/etc, whatever the new tree has there
(ostree-admin-config-diff(1), "Atomic Upgrades" in ostree's manual). So where the new tree changed that file too,
the administrator's version stays, and no other tool says so.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..host.door import Entry, Tree
from ..tools import listing
from ..tools.listing import Listed

SHIPPED, OWN = "usr/etc", "etc"
USR_ETC = "/usr/etc"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A path below /etc that was changed here and by the new tree; each as "added", "changed" or "removed"."""

    path: str
    here: str
    there: str


def conflicts(repo: Path, deployment: Path, old: str, new: str) -> list[Conflict]:
    """Return what was changed in a deployment's /etc and between the commits ``old``, its own, and ``new``.

    Costs one look into each commit, and one at each path of which they have something else: however much a machine
    has in its /etc. What may not be read counts as unchanged, unless its size tells.
    """
    if old == new:
        return []
    there = _tree_changes(_listed(repo, old), _listed(repo, new))
    tree = Tree(deployment)
    here = differences(tree, _entries(tree, SHIPPED, there), _entries(tree, OWN, there))
    return [Conflict(f"/etc/{name}", here[name], there[name]) for name in sorted(here)]


def differences(tree: Tree, shipped: Mapping[str, Entry], own: Mapping[str, Entry]) -> dict[str, str]:
    """How the entries of a deployment's /etc differ from those of its /usr/etc, both by their paths below it: path ->
    "added", "changed" or "removed"."""
    found = dict.fromkeys(shipped.keys() - own.keys(), "removed")
    found |= dict.fromkeys(own.keys() - shipped.keys(), "added")
    for name in shipped.keys() & own.keys():
        if not _same(tree, shipped[name], own[name]):
            found[name] = "changed"
    return found


def _entries(tree: Tree, top: str, names: Iterable[str]) -> dict[str, Entry]:
    """What is below ``top`` under these names, but for directories: ostree merges them, too, but people do not edit
    them."""
    found = {}
    for name in names:
        with suppress(PermissionError):
            if (status := tree.status(f"{top}/{name}")) is not None and not stat.S_ISDIR(status.st_mode):
                found[name] = Entry(f"{top}/{name}", status)
    return found


def _same(tree: Tree, a: Entry, b: Entry) -> bool:
    old, new = a.status, b.status
    if (old.st_mode, old.st_uid, old.st_gid) != (new.st_mode, new.st_uid, new.st_gid):
        return False
    if a.is_link:
        return tree.link(a.name) == tree.link(b.name)
    if not a.is_file:
        return True
    if old.st_size != new.st_size:
        return False
    try:
        return tree.has_same_content(a.name, tree, b.name)
    except PermissionError:
        return True


def _listed(repo: Path, commit: str) -> dict[str, Listed]:
    below = listing.of(repo, commit).below(USR_ETC)
    return {entry.path.removeprefix(f"{USR_ETC}/"): entry for entry in below if entry.kind != "d"}


def _tree_changes(old: dict[str, Listed], new: dict[str, Listed]) -> dict[str, str]:
    found = dict.fromkeys(old.keys() - new.keys(), "removed")
    found |= dict.fromkeys(new.keys() - old.keys(), "added")
    # A content object's checksum is one over mode, owner, attributes and content.
    return found | {
        name: "changed"
        for name in old.keys() & new.keys()
        if (old[name].checksum, old[name].target) != (new[name].checksum, new[name].target)
    }
