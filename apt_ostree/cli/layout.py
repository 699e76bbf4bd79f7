"""The layout of values in text for people: sizes, and records of labelled lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

COLUMN = 15
"""The column in which the values of a record begin, on each of their lines."""


def size(count: int) -> str:
    """Return a number of bytes in the unit that fits."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        # A value that would be rounded to 1000.0 belongs to the next unit.
        if value < 999.95:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def fields(label: str, items: Sequence[str], width: int | None, gap: str = "  ") -> Iterable[str]:
    """Return the lines of a field with several values, wrapped at ``width`` if there is one."""
    lines: list[str] = []
    for item in items:
        if lines and (width is None or COLUMN + len(lines[-1] + gap + item) <= width):
            lines[-1] += gap + item
        else:
            lines.append(item)
    for number, text in enumerate(lines):
        yield field("" if number else label, text)


def field(label: str, value: str) -> str:
    """Return a line of a record, its label right-aligned."""
    return f"{label:>{COLUMN - 2}}  {value}".rstrip()
