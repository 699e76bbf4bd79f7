"""The initramfs: made here from the tree's own configuration, and files of the machine's /etc beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ..errors import UsageError
from ..model import Intent
from ..reporter import Reporter
from ..system import origin
from ..tree import kernel
from . import transaction as tx
from .goal import OFFLINE, as_is
from .layer import NOTHING_TO_DO, Outcome, deploy_goal, relayer
from .transaction import Settings


@dataclass(frozen=True, slots=True)
class State:
    """The settings of the initramfs in the next deployment's origin."""

    enabled: bool
    arguments: tuple[str, ...]
    tracked: tuple[str, ...]


def state(settings: Settings) -> State:
    """Read it; anybody may. Raises SysrootError."""
    loaded = tx.loaded(settings)
    intent = origin.intent(loaded.of(loaded.stateroot(settings.stateroot))[0].origin)
    return State(intent.initramfs, intent.initramfs_args, intent.initramfs_etc)


def configure(settings: Settings, enable: bool, arguments: Sequence[str], reporter: Reporter) -> Outcome:
    """Have the initramfs made here, with additional ``arguments`` for dracut(8), or use the base's again.

    Raises UsageError, TreeError for a tree without dracut, and what relayering raises; nothing has changed then.
    """
    for argument in arguments:
        _check_word(argument, "an argument for dracut")
    if arguments and not enable:
        raise UsageError("--arg needs --enable")
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        after = replace(before, initramfs=enable, initramfs_args=tuple(arguments))
        return relayer(current, settings, after, OFFLINE)


def track(
    settings: Settings, tracking: Sequence[str], untracking: Sequence[str], every: bool, reporter: Reporter
) -> Outcome:
    """Ship files of the machine's own /etc in a separate initramfs; neither dracut nor scripts run.

    ``every`` drops all that were tracked before. The files are read again for each deployment. Raises
    UsageError, and TreeError for a file that cannot be tracked.
    """
    for name in (*tracking, *untracking):
        _check_word(name, "a file to track")
        if not name.startswith("/etc/") or PurePosixPath(name).as_posix() != name or ".." in name.split("/"):
            raise UsageError(f"'{name}' is not a plain path below /etc", resolution="Write /etc/NAME.")
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        target = as_is(current)
        after = _tracking(target.intent, tracking, untracking, every)
        if after == target.intent:
            return NOTHING_TO_DO
        etc, archive = current.sysroot.path / current.merge.path / "etc", current.area / "tmp/initramfs-etc"
        kernel.etc_archive(etc, after.initramfs_etc, archive, b"")
        if settings.dry_run:
            return Outcome(True, f"Would track: {', '.join(after.initramfs_etc) or 'nothing'}.", dry_run=True)
        goal, inputs = replace(target, intent=after), origin.inputs(current.basis.origin)
        return deploy_goal(current, current.basis.checksum, goal, Outcome(True, ""), inputs)


def _tracking(before: Intent, tracking: Sequence[str], untracking: Sequence[str], every: bool) -> Intent:
    # As with rpm-ostree, a file that is not tracked may be untracked.
    kept = [] if every else [name for name in before.initramfs_etc if name not in untracking]
    return replace(before, initramfs_etc=tuple(dict.fromkeys([*kept, *tracking])))


def _check_word(word: str, what: str) -> None:
    # An origin is a key file: a list's items end with a semicolon.
    if not word or set(word) & set(";\n\\") or not word.isprintable() or not word.isascii():
        raise UsageError(f"'{word.encode(errors='backslashreplace').decode()}' cannot be {what}")
