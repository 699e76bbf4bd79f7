"""Standard output and standard error: lines that break nothing, whoever reads them and whatever is in them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Any, TextIO

from ..errors import OutputError

ERROR, WARNING, INFO, DEBUG = 3, 4, 6, 7
"""The levels of syslog(3) that are used here."""


class Lasting:
    """Standard error, for as long as somebody reads it: an operation must not fail because its terminal was closed,
    and its error must not turn into another one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError:
            self._leave()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            self._leave()

    def _leave(self) -> None:
        _leave(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _leave(stream: TextIO) -> None:
    """Write no more to a stream: what is still in its buffer would fail again at exit, and change the status."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def open_closed() -> None:
    """Open those of the descriptors 0, 1 and 2 that were closed at the start on /dev/null. A file that is opened
    later must not become the standard output, and Python has no stream object for a closed one."""
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115


def finish() -> None:
    """Write what is left in the buffer of standard output. Raises as ``line``."""
    _send(sys.stdout, "")


_UNSAFE = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys instead of showing them: the control characters of ASCII and of Latin-1, and those
that change the direction of a line (Unicode UAX #9), so that it reads as another. A newline would make of a value
another line, such as another deployment's; a tab is harmless."""

_UNSAFE_JSON = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""The same, and bytes that are not UTF-8, as Python has them in text. Newlines are the document's own."""


def shown(text: str) -> str:
    """A line in which nothing but tabs steers a terminal; also, bytes that are not UTF-8 become visible.

    Names, versions, scripts' output and changelogs come from others: all that is printed goes through here.
    """
    visible = _UNSAFE.sub(lambda found: _escape(found[0], short=True), text)
    return visible.encode(errors="surrogateescape").decode(errors="backslashreplace")


def shown_json(text: str) -> str:
    """A JSON document in which the same is written as JSON's own escapes."""
    return _UNSAFE_JSON.sub(lambda found: _escape(found[0]), text)


def _escape(mark: str, *, short: bool = False) -> str:
    return f"\\x{ord(mark):02x}" if short and ord(mark) < 256 else f"\\u{ord(mark):04x}"


def _send(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _leave(stream)
        raise OutputError(error) from error


def line(text: str = "") -> None:
    """Print one line of data on standard output, whatever bytes are in it. Raises OutputError, from the OSError; after
    that, nothing more is written."""
    _send(sys.stdout, shown(text) + "\n")


def document(text: str) -> None:
    """Print a JSON document on standard output. Raises as ``line``."""
    _send(sys.stdout, shown_json(text) + "\n")


def columns() -> int | None:
    """Return the width of standard output if it is a terminal; other output is not wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(level: int, text: str) -> None:
    """A line on standard error; the journal is told how serious it is, at its start (sd-daemon(3))."""
    mark = f"<{level}>" if _is_journal() else ""
    to = Lasting(sys.stderr)
    to.write(mark + shown(text) + "\n")
    to.flush()


def _is_journal() -> bool:
    """True if standard error is the stream that systemd connected to the journal (systemd.exec(5))."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
