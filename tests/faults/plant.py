"""Runs the real command line with one fault planted: ``python -m tests.faults.plant POINT WHEN FAULT -- WORDS``.

The product has no hook for this: functions of the loaded modules are exchanged here, before its main function runs.

POINT is a phase of a transaction, ``lock``, ``journal``, or a function in FUNCTIONS; ``POINT:N`` is its Nth use,
``POINT@N`` the Nth line that runs inside it. WHEN is ``before`` or ``after``. FAULT is ``kill`` (SIGKILL, as by the
kernel or a power cut's first half), another signal (``int``, ``term``, ``hup``), ``enospc``, ``eio``, ``full`` (the
disk of the sysroot, from then on), ``mistake`` (an exception that nobody expects), or ``pin``: what another tool does
meanwhile, which knows nothing of our lock.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import apt_ostree
from apt_ostree.cli import main as cli
from apt_ostree.system import journal

PHASES = ("pull", "resolve", "download", "import", "script", "commit", "deploy", "reorder", "pin", "prune")

FUNCTIONS = {
    "journal": "system.journal.write",
    "write": "host.files.write_atomically",
    "sync": "host.files.sync_filesystem",
    "ostree-commit": "tools.ostree.commit",
    "ostree-admin": "tools.ostree.admin",
    "create-ref": "tools.ostree.create_ref",
    "delete-ref": "tools.ostree.delete_ref",
    "sandbox": "host.cgroup.holding",
    "apt-refresh": "tools.apt.refresh",
    "apt-solve": "tools.apt.simulate",
    "apt-download": "tools.apt.download",
    "import-deb": "layering.importing.import_deb",
    "collect": "layering.cache.collect_garbage",
    "publish": "system.publication.publish",
    "write-pin": "system.retention.write_pin",
    "set-default": "system.bootloader.set_default",
    "loader": "system.bootloader._reorder",
    "sweep": "ops.recovery.sweep",
    "recover": "ops.recovery.recover",
}
"""A name for each function that may be met by a fault. In ``sandbox`` bwrap's first process waits for a word."""

KILLED = 128 + signal.SIGKILL
"""How the command ends when its working process was killed."""

UNREACHED = 99
"""The exit status where the point was never reached: such a trial proves nothing."""


SIGNALS = {"int": signal.SIGINT, "term": signal.SIGTERM, "hup": signal.SIGHUP}
ERRORS = {"enospc": errno.ENOSPC, "eio": errno.EIO}


class Fault:
    """Strikes once, at the use that was asked for."""

    def __init__(self, kind: str, use: int, sysroot: str) -> None:
        self.kind, self.use, self.sysroot, self.seen, self.struck = kind, use, sysroot, 0, False

    def strike(self) -> None:
        self.seen += 1
        if self.seen != self.use:
            return
        self.struck = True
        if self.kind in ERRORS:
            raise OSError(ERRORS[self.kind], os.strerror(ERRORS[self.kind]))
        if self.kind == "mistake":
            raise ZeroDivisionError("planted")
        if self.kind == "pin":
            subprocess.run(["ostree", "admin", f"--sysroot={self.sysroot}", "pin", "1"], check=True)
        elif self.kind == "full":
            fill(Path(self.sysroot), 0)
        elif self.kind == "kill":
            # For the kernel the same as SIGKILL, which the first process of a pid namespace cannot send itself.
            os._exit(KILLED)
        else:
            os.kill(os.getpid(), SIGNALS[self.kind])


def fill(place: Path, free: int) -> None:
    """Leave ``free`` bytes of a file system: none at all where that is 0. FILLERS hold the rest."""

    def left() -> int:
        status = os.statvfs(place)
        return status.f_bavail * status.f_frsize

    # Most of it at once; the rest block by block, since both files' own metadata take some.
    if (size := left() - free - (1 << 20)) > 0:
        subprocess.run(["fallocate", "-l", str(size), place / FILLERS[0]], check=True)
    with (place / FILLERS[1]).open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while left() > free:
            file.write(bytes(1024))
            os.fsync(file.fileno())


FILLERS = (".filler", ".filler2")


def _exchange(old: Any, new: Any) -> None:
    """Put ``new`` in the place of a function under every name by which a module knows it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("apt_ostree"):
            for attribute, value in list(vars(module).items()):
                if value is old:
                    setattr(module, attribute, new)


def _around(function: Callable[..., Any], when: str, fault: Fault) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*words: Any, **named: Any) -> Any:
        if when == "before":
            fault.strike()
        result = function(*words, **named)
        if when == "after":
            fault.strike()
        return result

    return run


def _inside(function: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    """Strike before the Nth line that runs in the function's own body."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            fault.strike()
        return trace

    @functools.wraps(function)
    def run(*words: Any, **named: Any) -> Any:
        def enter(frame: FrameType, event: str, argument: Any) -> Any:
            return trace if frame.f_code is function.__code__ else None

        sys.settrace(enter)
        try:
            return function(*words, **named)
        finally:
            sys.settrace(None)

    return run


def _around_context(
    function: Callable[..., Any], chosen: Callable[..., bool], when: str, fault: Fault
) -> Callable[..., Any]:
    @contextmanager
    def run(*words: Any, **named: Any) -> Iterator[Any]:
        hit = chosen(*words, **named)
        if hit and when == "before":
            fault.strike()
        with function(*words, **named) as value:
            # The lock is a point in itself: after it means while it is held.
            if hit and when == "after" and function.__name__ == "lock":
                fault.strike()
            yield value
        if hit and when == "after" and function.__name__ != "lock":
            fault.strike()

    return run


def plant(point: str, when: str, fault: str, sysroot: str) -> Fault:
    """Exchange what has to be exchanged for one fault."""
    for module in pkgutil.walk_packages(apt_ostree.__path__, "apt_ostree."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    name, at, use = point.partition("@") if "@" in point else point.partition(":")
    planted = Fault(fault, int(use or 1), sysroot)
    if name in PHASES:
        transaction = importlib.import_module("apt_ostree.ops.transaction").Transaction
        phase = transaction.phase
        transaction.phase = _around_context(phase, lambda _, given, *more: given == name, when, planted)
    elif name == "lock":
        lock = importlib.import_module("apt_ostree.system.lock").lock
        _exchange(lock, _around_context(lock, lambda *_, **__: True, when, planted))
    else:
        where, _, attribute = FUNCTIONS[name].rpartition(".")
        function = getattr(importlib.import_module(f"apt_ostree.{where}"), attribute)
        _exchange(function, _inside(function, planted) if at == "@" else _around(function, when, planted))
    return planted


def main(words: list[str]) -> None:
    point, when, fault, separator, *command = words
    assert (separator, when in {"before", "after"}, journal.SCHEMA) == ("--", True, 1)
    option, sysroot, *_ = command
    assert option == "--sysroot"
    planted = plant(point, when, fault, sysroot)
    sys.argv = ["apt-ostree", *command]
    try:
        cli.main(command)
    finally:
        if not planted.struck:
            # Whatever the command would say: the trial was none.
            print(f"uses: {planted.seen}", file=sys.stderr, flush=True)
            os._exit(UNREACHED)


if __name__ == "__main__":
    main(sys.argv[1:])
