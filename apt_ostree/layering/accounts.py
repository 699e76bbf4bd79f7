"""Accounts of a finished tree: new ones get the numbers that they have on the machine, and are made known to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..host.files import replace_content
from ..tree import state, subids, users
from .job import Job
from .stack import View


def renumber(job: Job, view: View, trees: Iterable[Path]) -> None:
    """Give new accounts the numbers they have on the machine, or free ones, in the files of ``trees`` and the lists."""
    after = users.parse(view.text("usr/etc/passwd"), view.text("usr/etc/group"))
    moves = users.choose_numbers(after, users.read(job.base.path), job.reserved.numbers)
    for conflict in moves.conflicts:
        job.reporter.warn(conflict)
    if not moves:
        return
    for name, renumbered in (("passwd", users.renumber_passwd), ("group", users.renumber_group)):
        for listing in (name, f"{name}-"):
            if (path := _written(job, view, listing)) is not None:
                _rewrite(job, path, renumbered(path.read_text(errors="surrogateescape"), moves))
    for tree in trees:
        users.renumber_files(tree, moves)


def allot_subids(job: Job, view: View) -> None:
    """Give new accounts ranges of subordinate ids that are free in the base and on the machine."""
    for name in subids.LISTS:
        if (path := _written(job, view, name)) is not None:
            text = path.read_text(errors="surrogateescape")
            base = users.read_list(job.base.path, f"usr/etc/{name}")
            _rewrite(job, path, subids.allot(text, base, job.reserved.subids.get(name, "")))


def announce(job: Job, view: View, top: Path) -> bool:
    """Write into ``top`` what the machine has to know of new accounts; returns whether there are any."""
    before = users.read(job.base.path)
    after = users.parse(view.text("usr/etc/passwd"), view.text("usr/etc/group"))
    text = users.sysusers(after, before)
    if text:
        place = top / users.SYSUSERS / "apt-ostree-layer.conf"
        state.make_parents(top, place)
        place.write_text(text, errors="surrogateescape")
    if (shadow := _written(job, view, "shadow")) is not None:
        old = job.base.path / "usr/etc/shadow"
        before_text = old.read_text(errors="surrogateescape") if old.is_file() else ""
        now = shadow.read_text(errors="surrogateescape")
        _rewrite(job, shadow, users.date_shadow(now, before_text, job.accounts_day))
    return bool(text)


def _written(job: Job, view: View, listing: str) -> Path | None:
    """A list in /etc that a layer has; None where it is the base's own, or missing."""
    path = view.find(f"usr/etc/{listing}")
    return path if path is not None and not path.is_relative_to(job.base.path) else None


def _rewrite(job: Job, path: Path, text: str) -> None:
    fresh = job.work / "fresh"
    fresh.write_text(text, errors="surrogateescape")
    replace_content(path, fresh, job.spare)
