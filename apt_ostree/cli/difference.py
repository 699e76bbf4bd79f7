"""The differences between two trees, for people: packages, their changelogs, files of /etc."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..model import Package
from ..text import lines as lines_of
from . import layout

if TYPE_CHECKING:
    from ..changes import Change
    from ..tree.changelog import News
    from ..tree.etc import Conflict


def lines(change: Change, security: Sequence[Package] = ()) -> list[str]:
    """Return the lines of a difference of packages; the new packages in ``security`` are marked."""

    def mark(package: Package) -> str:
        return "  (security)" if package in security else ""

    found = []
    for title, packages in (("Added", change.added), ("Removed", change.removed)):
        if packages:
            found.append(f"{title}:")
            found += [f"  {p.name} {p.version} {p.architecture}{mark(p)}" for p in packages]
    if change.changed:
        found.append("Changed:")
        found += [f"  {old.name} {_step(old, new)}{mark(new)}" for old, new in change.changed]
    return found


def _step(old: Package, new: Package) -> str:
    if old.architecture == new.architecture:
        return f"{old.version} -> {new.version}"
    return f"{old.version} {old.architecture} -> {new.version} {new.architecture}"


def news(found: Sequence[News]) -> Iterable[str]:
    """Return the new changelog entries of packages."""
    for each in found:
        yield ""
        yield f"{', '.join(each.packages)}:"
        if each.releases is None:
            yield "  The image has no changelog."
        elif not each.releases:
            yield "  The changelog has no newer entries."
        for release in each.releases or ():
            yield from (f"  {text}".rstrip() for text in lines_of(release.text))


def kept_in_etc(conflicts: Sequence[Conflict], width: int | None = None) -> Iterable[str]:
    """Return the lines of files that were changed both on this machine and by the new tree."""
    label = "Kept in /etc"
    for conflict in conflicts:
        words = f"{conflict.path} ({conflict.here} here, {conflict.there} by the new tree)".split(" ")
        yield from layout.fields(label, words, width, " ")
        label = ""
