"""Text that others wrote: of files, and its lines."""

from __future__ import annotations

from typing import Protocol


class _File(Protocol):
    def read_bytes(self) -> bytes: ...


def text_of(file: _File) -> str:
    """The text of a file as it is; bytes that are not UTF-8 become lone surrogates.

    Path.read_text() makes a newline of each carriage return, which a name may have.
    """
    return file.read_bytes().decode(errors="surrogateescape")


def lines(text: str) -> list[str]:
    """The lines of a text in which a newline ends each.

    str.splitlines() knows eight more line ends, which passwd(5), dpkg and apt do not: a form feed in a user's full name
    would begin another account.
    """
    return text.removesuffix("\n").split("\n") if text else []
