"""Numbers in text that others wrote."""

from __future__ import annotations

DIGITS = 19
"""The longest number that is read: more would not fit into 64 bits, and Python refuses to read 5,000."""


def decimal(text: str) -> int | None:
    """The number that ``text`` is; None for anything else than 1 to 19 ASCII digits.

    str.isdigit() and int() do not agree: the first takes "²", the second also "-1", "1_0" and Arabic digits.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None
