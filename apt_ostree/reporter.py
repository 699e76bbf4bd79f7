"""How operations tell what they do. They emit events; the command line renders them."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives the events of one operation, in order, from one thread."""

    def begin(self, transaction: str) -> None:
        """A transaction begins, which the journal knows by this id."""

    def phase(self, name: str) -> None:
        """It enters a phase; docs/transactions.md lists their names."""

    def step(self, message: str) -> None:
        """What users are told of that: a step begins; the one before it is done."""

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Within the step: ``done`` of ``total`` things."""

    def log(self, line: str) -> None:
        """A line of a child's output, shown when the user asked for detail."""

    def warn(self, message: str) -> None:
        """Something the user should know although the operation goes on."""


class Silent:
    """A Reporter that tells nobody."""

    def begin(self, transaction: str) -> None: ...
    def phase(self, name: str) -> None: ...
    def step(self, message: str) -> None: ...
    def progress(self, done: int, total: int, message: str = "") -> None: ...
    def log(self, line: str) -> None: ...
    def warn(self, message: str) -> None: ...
