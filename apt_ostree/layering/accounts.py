"""Accounts of a finished tree: new ones get the numbers that they have on the machine, and are made known to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..host.door import Tree
from ..tree import state, subids, users
from ..tree.view import File, View
from .job import Job

_TOLD = 3
"""Accounts of which is told that they have another's number; a script may make any number of them."""


def renumber(job: Job, view: View, trees: Iterable[Path]) -> None:
    """Give new accounts the numbers they have on the machine, or free ones, in the files of ``trees`` and the lists."""
    after = users.parse(view.text("usr/etc/passwd"), view.text("usr/etc/group"))
    moves = users.choose_numbers(after, users.read(job.base.path), job.reserved)
    if moves.conflicts:
        more = len(moves.conflicts) - _TOLD
        job.reporter.warn("; ".join(moves.conflicts[:_TOLD]) + (f"; and {more} more" if more > 0 else ""))
    if not moves:
        return
    for name, renumbered in (("passwd", users.renumber_passwd), ("group", users.renumber_group)):
        for listing in (name, f"{name}-"):
            if (file := _written(job, view, listing)) is not None:
                file.write(renumbered(file.text(), moves))
    for tree in trees:
        users.renumber_files(tree, moves)


def allot_subids(job: Job, view: View) -> None:
    """Give new accounts ranges of subordinate ids that are free in the base and on the machine."""
    for name in subids.LISTS:
        if (file := _written(job, view, name)) is not None:
            base = users.read_list(job.base.path, f"usr/etc/{name}")
            file.write(subids.allot(file.text(), base, job.reserved.subids.get(name, "")))


def announce(job: Job, view: View, top: Path) -> bool:
    """Write into ``top`` what the machine has to know of new accounts; returns whether there are any."""
    before = users.read(job.base.path)
    after = users.parse(view.text("usr/etc/passwd"), view.text("usr/etc/group"))
    text = users.sysusers(after, before)
    if text:
        state.write_file(Tree(top), f"{users.SYSUSERS}/apt-ostree-layer.conf", text)
    if (shadow := _written(job, view, "shadow")) is not None:
        known = Tree(job.base.path).text("usr/etc/shadow") or ""
        shadow.write(users.date_shadow(shadow.text(), known, job.accounts_day))
    return bool(text)


def _written(job: Job, view: View, listing: str) -> File | None:
    """A list in /etc that a layer has; None where it is the base's own, or missing."""
    file = view.find(f"usr/etc/{listing}")
    return file if file is not None and file.tree.top != job.base.path else None
