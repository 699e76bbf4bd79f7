"""Kernel arguments: the same commit again, deployed with others. No script runs and nothing is committed."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SysrootError, ToolError, UsageError
from ..host import proc
from ..inputs import kargs
from ..inputs.kargs import Edit
from ..model import Deployment
from ..reporter import Reporter
from ..system import origin, sysroot
from ..system.sysroot import Sysroot
from ..text import text_of
from . import finish
from . import transaction as tx
from .transaction import Settings

PROC_CMDLINE = Path("/proc/cmdline")


@dataclass(frozen=True, slots=True)
class Start:
    """The line to begin with: that of a deployment (of what boots next where ``index`` is None), or of the
    running kernel."""

    index: int | None = None
    running: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """The result: the line before and after, without ``ostree=``."""

    changed: bool
    message: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    deployment: Deployment | None = None
    dry_run: bool = False


def show(settings: Settings, start: Start) -> list[str]:
    """The arguments of a deployment or of the running kernel; anybody may. Raises SysrootError."""
    if start.running:
        return _begin((), start)
    loaded = sysroot.load(settings.sysroot.absolute())
    return _begin(loaded.of(loaded.stateroot(settings.stateroot)), start)


def change(settings: Settings, start: Start, edit: Edit, reporter: Reporter) -> Changed:
    """Deploy what boots next once more, with the same origin and an edited line.

    Raises UsageError for an edit that does not fit the line, SysrootError, SpaceError, ChangedError; nothing
    has changed then.
    """
    return _deploy(settings, start, lambda words: kargs.apply(words, edit), reporter)


def edit_by_hand(settings: Settings, start: Start, reporter: Reporter) -> Changed:
    """The same, with the line edited in the user's editor; the lock is not held meanwhile.

    Raises UsageError without a terminal or an editor, and for a line that was changed meanwhile.
    """
    tx.require_root()
    if not (sys.stdin.isatty() and os.isatty(1)):
        raise UsageError("--editor needs a terminal", resolution="Use --append, --delete and --replace in scripts.")
    seen = show(settings, start)
    wanted = _ask_editor(seen)

    def replace(words: Sequence[str]) -> list[str]:
        if list(words) != seen:
            raise SysrootError(
                "the kernel arguments changed while they were edited",
                f"what you wrote: {' '.join(wanted)}",
                "Nothing was changed; run the command again.",
            )
        return wanted

    return _deploy(settings, start, replace, reporter)


def _ask_editor(words: Sequence[str]) -> list[str]:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "editor"
    with tempfile.TemporaryDirectory(prefix="apt-ostree-") as scratch:
        file = Path(scratch) / "kernel-arguments"
        file.write_text(kargs.NOTE + "\n" + " ".join(words) + "\n")
        status = proc.on_terminal([*shlex.split(editor), file])
        if status != 0:
            raise ToolError(f"the editor '{editor}' ended with status {status}", resolution="Nothing was changed.")
        return kargs.edited(text_of(file))


def _begin(own: Sequence[Deployment], start: Start) -> list[str]:
    if start.running:
        return kargs.own(text_of(PROC_CMDLINE).strip())
    if start.index is None:
        return kargs.split(own[0].kargs)
    found = next((deployment for deployment in own if deployment.index == start.index), None)
    if found is None:
        raise SysrootError(
            f"there is no deployment {start.index}", resolution="'apt-ostree status' lists them, from 0 on."
        )
    return kargs.split(found.kargs)


def _deploy(
    settings: Settings, start: Start, edit: Callable[[Sequence[str]], list[str]], reporter: Reporter
) -> Changed:
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        basis = current.basis
        now = kargs.split(basis.kargs)
        wanted = edit(_begin(current.sysroot.of(current.osname), start))
        if wanted == now:
            return Changed(False, "Nothing to do: the kernel arguments stay as they are.", tuple(now), tuple(now))
        if settings.dry_run:
            return Changed(True, "Would change the kernel arguments:", tuple(now), tuple(wanted), dry_run=True)
        fresh = deploy_with(current, wanted)
        deployment = fresh.of(current.osname)[0]
        message = f"Deployed {deployment.checksum[:12]} with new kernel arguments. It boots next."
        return Changed(True, message, tuple(now), tuple(wanted), deployment)


def deploy_with(current: tx.Transaction, words: Sequence[str]) -> Sysroot:
    """Deploy what boots next once more, with these arguments; return the sysroot as it is then."""
    basis = current.basis
    same = origin.with_intent(basis.origin, origin.intent(basis.origin), origin.inputs(basis.origin))
    return finish.deploy(current, basis.checksum, same, arguments=words)
