"""The judge: every difference between what Debian's own tools made and what apt-ostree made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .trees import ATTRIBUTES, Facts, Tree


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One finding: a path or an entry of the database, what differs, and both values."""

    path: str
    attribute: str
    plain: str
    ours: str
    package: str


def compare(plain: Sequence[Tree], ours: Tree) -> list[Difference]:
    """What ``ours`` differs from the plain runs in, apart from what those differ in among themselves.

    The excuse is as narrow as the plain runs' difference: one attribute of one path, or one entry of the
    database. One run excuses nothing.
    """
    found: list[Difference] = []
    first = plain[0]
    owners = {**ours.owners, **first.owners}

    def note(path: str, attribute: str, a: object, b: object) -> None:
        package = owners.get(path) or path.partition(" ")[2].partition(":")[0] or "(none)"
        found.append(Difference(path, attribute, _short(a), _short(b), package))

    for path in sorted({*ours.paths, *(name for tree in plain for name in tree.paths)}):
        theirs, mine = [tree.paths.get(path) for tree in plain], ours.paths.get(path)
        kinds = {_kind(facts) for facts in theirs}
        if len(kinds) > 1:
            continue
        if kinds != {_kind(mine)}:
            note(path, "kind", kinds.pop(), _kind(mine))
            continue
        for attribute in ATTRIBUTES:
            values = {getattr(facts, attribute) for facts in theirs}
            if len(values) == 1 and getattr(mine, attribute) not in values:
                note(path, attribute, values.pop(), getattr(mine, attribute))
    for group in sorted(first.links, key=sorted):
        if all(group in tree.links for tree in plain) and not any(group <= other for other in ours.links):
            note(min(group), "hard links", ", ".join(sorted(group)), "separate files")
    for key in sorted({*ours.database, *(name for tree in plain for name in tree.database)}):
        texts, text = {tree.database.get(key) for tree in plain}, ours.database.get(key)
        if len(texts) == 1 and text not in texts:
            theirs_text = texts.pop()
            note(f"dpkg {key}", "database", _first_difference(theirs_text, text), _first_difference(text, theirs_text))
    return found


def _kind(facts: Facts | None) -> str:
    return "missing" if facts is None else facts.kind


def _short(value: object) -> str:
    text = f"{value:o}" if isinstance(value, int) else str(value)
    return text if len(text) <= 200 else text[:200] + "…"


def _first_difference(text: str | None, other: str | None) -> str:
    if text is None:
        return "missing"
    lines, others = text.splitlines(), (other or "").splitlines()
    for number, line in enumerate(lines):
        if number >= len(others) or others[number] != line:
            return line
    return "(ends)"


def report(differences: list[Difference], compared: int) -> str:
    """The findings as text: each, then a count a package."""
    lines = [f"{d.path}: {d.attribute}: plain {d.plain!r}, ours {d.ours!r}" for d in differences]
    for package, count in sorted(Counter(d.package for d in differences).items()):
        lines.append(f"{count:6} {package}")
    lines.append(f"{len(differences)} differences in {compared} paths and entries")
    return "\n".join(lines)
