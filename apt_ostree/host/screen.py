"""Children that tell how far they are by drawing on a terminal, which they get for that."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from typing import IO

from . import proc

_CURSOR_MOVES = re.compile(rb"[\r\n]+|\x1b(?:[78]|\[[0-9;]*[A-HJKsu])")
_COLOURS = re.compile(rb"\x1b\[[0-9;]*m")
"""Line ends and escape sequences (console_codes(4)) by which a program redraws a line."""


def watch(
    argv: Sequence[str | os.PathLike[str]], on_text: Callable[[str], None], during: proc.During = proc.unwatched
) -> proc.Result:
    """Run a long child that tells only a terminal how far it is: its standard output is one of its own.

    ``on_text`` gets each piece between two moves of the cursor; ``during`` is as ``proc.run`` has it. The result's
    ``stdout`` is empty; ``stderr`` is without colours. The status is not checked.
    """
    controller, terminal = os.openpty()
    with os.fdopen(controller, "rb", buffering=0) as shown, tempfile.TemporaryFile() as errors:
        try:
            with proc.spawn(argv, stdout=terminal, stderr=errors) as child, during(child.pid):
                os.close(terminal)
                terminal = -1
                rest = b""
                while piece := _read_terminal(shown):
                    *whole, rest = _CURSOR_MOVES.split((rest + piece)[-proc.BLOCK :])
                    for text in filter(None, whole):
                        on_text(text.decode(errors="surrogateescape"))
                child.wait()
        finally:
            if terminal >= 0:
                os.close(terminal)
        errors.seek(0)
        text = _COLOURS.sub(b"", proc.last_block(errors)).decode(errors="surrogateescape")
    return proc.Result(tuple(os.fspath(word) for word in argv), child.returncode, "", text)


def _read_terminal(shown: IO[bytes]) -> bytes:
    """The next bytes; none once the other side is closed, which Linux reports as an error (pty(7))."""
    try:
        return shown.read(proc.BLOCK)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""
