"""How far one dpkg is and what failed in it, as it says itself over a descriptor (--status-fd in dpkg(1)).

What it prints comes together with what scripts print, and a script may print the same lines. The descriptor is closed
in every script, and a socket: no name in /proc opens it. A script that changes dpkg itself, or its memory, speaks with
its voice; so only names of packages that are there count, and of a failure only what has dpkg's own form.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

_NAME = r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)?"
_PROCESSING = re.compile(rf"processing: (?P<stage>[a-z]+): (?P<package>{_NAME})")
_ERROR = re.compile(r"status: (?P<what>\S+) : error : (?P<message>.*)")
_SCRIPT = re.compile(
    r"(?:new|old|installed) \S+ package (?P<script>[a-z-]+) script subprocess "
    r"(?:returned error (?P<status>exit status [0-9]{1,3})"
    r"|was (?P<signal>interrupted|killed by signal \([A-Za-z0-9 +/-]{1,40}\))(?:, core dumped)?)"
)

_STAGES = {
    "install": "preinst",
    "upgrade": "preinst",
    "configure": "postinst",
    "trigproc": "postinst",
    "remove": "prerm",
    "purge": "postrm",
}
"""Which script it runs first, or runs at all, in each stage."""

_SCRIPTS = {
    "pre-installation": "preinst",
    "post-installation": "postinst",
    "pre-removal": "prerm",
    "post-removal": "postrm",
}

_LINE = 1 << 16
"""The longest line, in bytes: what it names has 4096 at the most."""

_BYTES = 16 << 20
"""What is looked at in all: a thousand packages take some hundred kilobytes."""


class Status:
    """What one dpkg says, as long as the block: it gets ``descriptor``, and everything that has it ends in the block.

    ``known`` are the names of the packages that it may speak of.
    """

    def __init__(self, known: Collection[str]) -> None:
        self.known = known
        self.doing = "dpkg"
        """Whose script runs, as text."""
        self.triggered: list[str] = []
        """The packages whose triggers it ran."""
        self._failed: str | None = None
        self._script_failed: str | None = None
        self._here, self._there = socket.socketpair()
        self._thread = threading.Thread(target=self._read, daemon=True)

    @property
    def descriptor(self) -> int:
        return self._there.fileno()

    @property
    def failure(self) -> str | None:
        """What failed last, in one line; None where dpkg did not say. A script's failure says more than the dependency
        problems that it causes or that come before it."""
        return self._script_failed or self._failed

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._there.close()
        self._thread.join()
        self._here.close()

    def _read(self) -> None:
        left = _BYTES
        with self._here.makefile("rb") as lines:
            # To the end: dpkg waits for who does not read.
            while line := lines.readline(_LINE):
                left -= len(line)
                if left >= 0:
                    self.take(line.decode(errors="replace").rstrip("\n"))

    def take(self, line: str) -> None:
        """Note what a line says."""
        if (match := _PROCESSING.fullmatch(line)) and match["name"] in self.known:
            if script := _STAGES.get(match["stage"]):
                self.doing = f"the {script} script of {match['name']}"
            if match["stage"] == "trigproc" and match["package"] not in self.triggered:
                self.triggered.append(match["package"])
        elif match := _ERROR.fullmatch(line):
            # A package, or the file of one.
            name = Path(match["what"]).name.partition("_")[0].partition(":")[0]
            if name not in self.known:
                return
            self._failed = f"{name} could not be installed"
            if (how := _SCRIPT.fullmatch(match["message"])) and (script := _SCRIPTS.get(how["script"])):
                self._script_failed = f"the {script} script of {name} failed ({how['status'] or how['signal']})"
