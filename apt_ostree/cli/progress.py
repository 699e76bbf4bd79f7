"""The reporters: for a terminal, for a log, and for a program that reads JSON lines."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TextIO, cast

from ..errors import UsageError
from .streams import DEBUG, INFO, WARNING, Lasting, say, shown


class Plain:
    """One line for each step on standard error, for logs, pipes and the journal."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose

    def begin(self, transaction: str) -> None:
        """Nothing: people need no number."""

    def phase(self, name: str) -> None:
        """Nothing: the step tells people."""

    def step(self, message: str) -> None:
        if not self.quiet:
            say(INFO, f"{message}…")

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Nothing: a log has no use for it."""

    def log(self, line: str) -> None:
        if self.verbose:
            say(DEBUG, f"  {line}")

    def warn(self, message: str) -> None:
        say(WARNING, f"warning: {message}")

    def close(self) -> None:
        """Nothing: each line stands for itself."""


class Events:
    """JSON lines on a file descriptor, for programs that wrap us, beside what another reporter shows."""

    def __init__(self, descriptor: int, shown: Plain | Terminal) -> None:
        self.descriptor: int | None = descriptor
        self.shown = shown
        self.transaction: str | None = None
        self.name: str | None = None

    def begin(self, transaction: str) -> None:
        self.transaction = transaction
        self._write()
        self.shown.begin(transaction)

    def phase(self, name: str) -> None:
        self.name = name
        self._write()
        self.shown.phase(name)

    def step(self, message: str) -> None:
        self._write(message=message)
        self.shown.step(message)

    def progress(self, done: int, total: int, message: str = "") -> None:
        self._write(done, total, message)
        self.shown.progress(done, total, message)

    def log(self, line: str) -> None:
        """Only shown: a script's output may hold anything."""
        self.shown.log(line)

    def warn(self, message: str) -> None:
        self._write(message=message, warning=True)
        self.shown.warn(message)

    def close(self) -> None:
        self.shown.close()

    def _write(self, done: int = 0, total: int = 0, message: str = "", **more: bool) -> None:
        if self.descriptor is None:
            return
        event = {"transaction": self.transaction, "phase": self.name, "done": done, "total": total, "message": message}
        try:
            os.write(self.descriptor, (json.dumps({**event, **more}) + "\n").encode())
        except OSError:
            # The reader is gone or too slow; the operation is more important.
            self.descriptor = None


class Terminal:
    """A line for each step with its time, and a bar while something is counted."""

    REFRESH_SECONDS = 0.1

    def __init__(self, *, verbose: bool = False) -> None:
        from rich.console import Console

        self.console = Console(file=cast(TextIO, Lasting(sys.stderr)), markup=False, highlight=False, soft_wrap=True)
        self.verbose = verbose
        self._step = ""
        self._begun = 0.0
        self._shown = 0.0

    def begin(self, transaction: str) -> None:
        """Nothing: people need no number."""

    def phase(self, name: str) -> None:
        """Nothing: the step tells people."""

    def step(self, message: str) -> None:
        self.close()
        self._step, self._begun = shown(message), time.monotonic()
        self.console.print(f"{self._step}…", end="")

    def progress(self, done: int, total: int, message: str = "") -> None:
        now = time.monotonic()
        if total and (now - self._shown > self.REFRESH_SECONDS or done == total):
            self._shown = now
            width = 20
            filled = width * done // total
            text = f"{self._step} [{'#' * filled}{'.' * (width - filled)}] {done}/{total} {shown(message)}"
            self.console.print("\r" + text[: self.console.width - 1].ljust(self.console.width - 1), end="")

    def log(self, line: str) -> None:
        if self.verbose:
            self.console.print(f"\r  {shown(line)}")

    def warn(self, message: str) -> None:
        self.console.print(f"\rwarning: {shown(message)}".ljust(self.console.width - 1), style="yellow")

    def close(self) -> None:
        if self._step:
            text = f"{self._step} ({time.monotonic() - self._begun:.1f} s)"
            self.console.print("\r" + text.ljust(self.console.width - 1))
            self._step = ""


def reporter(
    *, quiet: bool, verbose: bool, debug: bool = False, progress_fd: int | None = None
) -> Plain | Terminal | Events:
    """The reporter that fits standard error; NO_COLOR and TERM=dumb are honoured (no-color.org).

    Raises UsageError if ``progress_fd`` is not an open file descriptor.
    """
    # Lines of the trace would break the progress bar.
    shown = Plain(quiet=quiet, verbose=verbose) if debug else _shown(quiet=quiet, verbose=verbose)
    if progress_fd is None:
        return shown
    try:
        # Children must not inherit it.
        os.set_inheritable(progress_fd, False)
    except OSError as error:
        raise UsageError(f"--progress-fd {progress_fd} is not an open file descriptor", error.strerror or "") from error
    return Events(progress_fd, shown)


def _shown(*, quiet: bool, verbose: bool) -> Plain | Terminal:
    if sys.stderr.isatty() and not quiet and os.environ.get("TERM", "dumb") != "dumb":
        return Terminal(verbose=verbose)
    return Plain(quiet=quiet, verbose=verbose)
