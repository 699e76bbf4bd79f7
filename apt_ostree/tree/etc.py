"""The administrator's /etc against what a tree ships: what ostree's three-way merge will meet.

ostree keeps every file that differs from the deployment's own /usr/etc, whatever the new tree has there
(ostree-admin-config-diff(1), "Atomic Upgrades" in ostree's manual). So where the new tree changed that file too,
the administrator's version stays, and no other tool says so.
"""

from __future__ import annotations

import filecmp
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ..tools import ostree

USR_ETC = "/usr/etc"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A path below /etc that was changed here and by the new tree; each as "added", "changed" or "removed"."""

    path: str
    here: str
    there: str


def conflicts(repo: Path, deployment: Path, old: str, new: str) -> list[Conflict]:
    """Return what was changed in a deployment's /etc and between the commits ``old``, its own, and ``new``.

    Costs a walk through /etc, and one look into each commit only if anything was changed here. What may not be
    read counts as unchanged, unless its size tells.
    """
    here = local_changes(deployment)
    if not here or old == new:
        return []
    there = _tree_changes(_listed(repo, old), _listed(repo, new))
    return [Conflict(f"/etc/{name}", here[name], there[name]) for name in sorted(here.keys() & there.keys())]


def local_changes(deployment: Path) -> dict[str, str]:
    """Files and links of a deployment's /etc that differ from its /usr/etc: path below /etc -> how."""
    shipped, own = _files(deployment / "usr/etc"), _files(deployment / "etc")
    found = dict.fromkeys(shipped.keys() - own.keys(), "removed")
    found |= dict.fromkeys(own.keys() - shipped.keys(), "added")
    for name in shipped.keys() & own.keys():
        if not _same(shipped[name], own[name]):
            found[name] = "changed"
    return found


def _files(top: Path) -> dict[str, os.DirEntry[str]]:
    """Everything below ``top`` but directories: ostree merges them, too, but people do not edit them."""
    found: dict[str, os.DirEntry[str]] = {}
    pending = [(os.fspath(top), "")]
    while pending:
        directory, prefix = pending.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((entry.path, f"{prefix}{entry.name}/"))
                    else:
                        found[prefix + entry.name] = entry
        except (PermissionError, FileNotFoundError):
            continue
    return found


def _same(a: os.DirEntry[str], b: os.DirEntry[str]) -> bool:
    old, new = a.stat(follow_symlinks=False), b.stat(follow_symlinks=False)
    if (old.st_mode, old.st_uid, old.st_gid) != (new.st_mode, new.st_uid, new.st_gid):
        return False
    if stat.S_ISLNK(old.st_mode):
        return os.readlink(a.path) == os.readlink(b.path)
    if not stat.S_ISREG(old.st_mode):
        return True
    if old.st_size != new.st_size:
        return False
    try:
        return filecmp.cmp(a.path, b.path, shallow=False)
    except PermissionError:
        return True


def _listed(repo: Path, commit: str) -> dict[str, ostree.Listed]:
    if not ostree.exists(repo, commit, USR_ETC):
        return {}
    return {
        entry.path.removeprefix(f"{USR_ETC}/"): entry for entry in ostree.ls(repo, commit, USR_ETC) if entry.kind != "d"
    }


def _tree_changes(old: dict[str, ostree.Listed], new: dict[str, ostree.Listed]) -> dict[str, str]:
    found = dict.fromkeys(old.keys() - new.keys(), "removed")
    found |= dict.fromkeys(new.keys() - old.keys(), "added")
    # A content object's checksum is one over mode, owner, attributes and content.
    return found | {
        name: "changed"
        for name in old.keys() & new.keys()
        if (old[name].checksum, old[name].target) != (new[name].checksum, new[name].target)
    }
