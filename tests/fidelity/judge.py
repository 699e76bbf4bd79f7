"""The judge: every difference between what Debian's own tools made and what apt-ostree made."""

from __future__ import annotations

from collections import Counter
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


def compare(plain: Tree, again: Tree, ours: Tree) -> list[Difference]:
    """What ``ours`` differs from ``plain`` in, apart from what two plain runs differ in themselves.

    The excuse is as narrow as the plain runs' difference: one attribute of one path, or one entry of the
    database.
    """
    found: list[Difference] = []
    owners = {**ours.owners, **plain.owners}

    def note(path: str, attribute: str, a: object, b: object) -> None:
        package = owners.get(path) or path.partition(" ")[2].partition(":")[0] or "(none)"
        found.append(Difference(path, attribute, _short(a), _short(b), package))

    for path in sorted(plain.paths.keys() | ours.paths.keys()):
        one, two, three = plain.paths.get(path), again.paths.get(path), ours.paths.get(path)
        if one is None or three is None:
            if (one is None) == (two is None):
                note(path, "existence", _kind(one), _kind(three))
            elif one is None and two is not None and three is not None:
                continue
            continue
        for attribute in ATTRIBUTES:
            a, b = getattr(one, attribute), getattr(three, attribute)
            if a != b and two is not None and getattr(two, attribute) == a:
                note(path, attribute, a, b)
    for group in sorted(plain.links, key=sorted):
        if group in again.links and not any(group <= other for other in ours.links):
            note(sorted(group)[0], "hard links", ", ".join(sorted(group)), "separate files")
    for key in sorted(plain.database.keys() | ours.database.keys()):
        text, twice, other = plain.database.get(key), again.database.get(key), ours.database.get(key)
        if text != other and text == twice:
            note(f"dpkg {key}", "database", _first_difference(text, other), _first_difference(other, text))
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
