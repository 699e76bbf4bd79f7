"""The events by which operations tell what they do; the command line shows them."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives the events of one operation, in order, from one thread."""

    def begin(self, transaction: str) -> None:
        """A transaction begins, which the journal knows by this id."""

    def phase(self, name: str) -> None:
        """It enters a phase; docs/transactions.md lists their names."""

    def step(self, message: str) -> None:
        """A step begins, in the words for users; the one before it is done."""

    def progress(self, done: int, total: int, message: str = "") -> None:
        """``done`` of ``total`` things of this step are finished."""

    def log(self, line: str) -> None:
        """A line of a child's output, shown if the user asked for detail."""

    def warn(self, message: str) -> None:
        """Something the user should know although the operation goes on."""
