"""Numbers that others wrote: read from text, and shown as times."""

from __future__ import annotations

from datetime import UTC, datetime

DIGITS = 19
"""The longest number that is read: more would not fit into 64 bits, and Python refuses to read 5,000."""


def decimal(text: str) -> int | None:
    """The number that ``text`` is; None for anything else than 1 to 19 ASCII digits.

    str.isdigit() and int() do not agree: the first takes "²", the second also "-1", "1_0" and Arabic digits.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None


def moment(seconds: int) -> str:
    """Return a time in UTC to the minute; the number itself where no calendar has it (a commit may say anything)."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"
