"""Lines in text that others wrote."""

from __future__ import annotations


def lines(text: str) -> list[str]:
    """The lines of a text in which a newline ends each.

    str.splitlines() knows eight more line ends, which passwd(5), dpkg and apt do not: a form feed in a user's full name
    would begin another account.
    """
    return text.removesuffix("\n").split("\n") if text else []
