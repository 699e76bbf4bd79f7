"""Make a machine what a file says, in one transaction; nothing happens where it is so already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ..inputs import debconf, edits, kargs
from ..inputs.edits import Named
from ..inputs.hostfile import HostFile
from ..inputs.kargs import Edit
from ..model import Deployment, Intent, LocalPackage
from ..reporter import Reporter
from ..system import origin
from ..text import lines
from ..tools import listing
from . import kernel_args
from . import transaction as tx
from .goal import Options
from .intents import check_overrides, import_files, native_architecture, split
from .layer import Outcome, relayer
from .transaction import Settings, Transaction

T = TypeVar("T", str, LocalPackage)


@dataclass(frozen=True, slots=True)
class Divergence:
    """The differences between a file and the machine's intent: kind and value of what is added and what is removed."""

    added: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """The result: the differences in the intent, and the outcome for packages."""

    divergence: Divergence
    outcome: Outcome

    @property
    def changed(self) -> bool:
        return self.outcome.changed

    @property
    def dry_run(self) -> bool:
        return self.outcome.dry_run

    @property
    def deployment(self) -> Deployment | None:
        return self.outcome.deployment


def apply(settings: Settings, wanted: HostFile, options: Options, reporter: Reporter) -> Applied:
    """Make the intent and the kernel arguments equal to the file, in one transaction.

    A package that the base has is recorded, too, but inactive: the file is for other bases as well. What a file does
    not name is dropped; answers to debconf that were given before stay, and so do kernel arguments that it does not
    name. Raises what installing and overriding raise; nothing has changed then.
    """
    tx.require_root()
    names, files = split(wanted.packages)
    replacing, replacing_files = split(wanted.replace)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        stated = _asked(current, (names, files), (replacing, replacing_files), wanted.remove)
        after = Intent(
            tuple(_in_order(before.requested, stated.requested)),
            tuple(_in_order(before.requested_local, stated.requested_local)),
            next((said for said in (options.recommends, wanted.recommends) if said is not None), before.recommends),
            tuple(_in_order(before.remove, stated.remove)),
            tuple(_in_order(before.replace, stated.replace)),
            tuple(_in_order(before.replace_local, stated.replace_local)),
            before.debconf,
            wanted.regenerate,
            wanted.initramfs_args,
            tuple(_in_order(before.initramfs_etc, wanted.initramfs_etc)),
        )
        check_overrides(current, before, after)
        if after.empty:
            # Without packages there is nothing that recommends others, or asks questions.
            after = replace(after, recommends=None, debconf="")
        line = kargs.split(current.basis.kargs)
        edit = Edit(append_if_missing=wanted.kargs_present, delete_if_present=wanted.kargs_absent)
        words = _without(kargs.apply(line, edit), wanted.kargs_absent)
        known = lines(listing.of(current.repo, current.basis.checksum).read(f"/{debconf.PLACE}") or "")
        # Their values may be passwords: questions are named alone.
        asked = [("answer", text.split()[1]) for text in lines(wanted.answers) if text not in known]
        old, new = _items(before, line), [*_items(after, words), *asked]
        divergence = Divergence(
            tuple(item for item in new if item not in old), tuple(item for item in old if item not in new)
        )
        other = replace(current, kargs=tuple(words)) if words != line else current
        outcome = relayer(other, settings, after, replace(options, answers=wanted.answers, allow_inactive=True))
        if not outcome.changed and words != line and not options.download_only:
            outcome = _arguments_alone(current, settings, words)
        return Applied(divergence if outcome.changed else Divergence(), outcome)


def _asked(
    current: Transaction,
    packages: tuple[list[str], list[Path]],
    replacing: tuple[list[str], list[Path]],
    remove: Sequence[str],
) -> Intent:
    """The packages and overrides of a file; of each, expressions and files. Raises what edits.override raises."""
    native = native_architecture(current)
    wanted, others = (Named(names, import_files(current, files)) for names, files in (packages, replacing))
    return edits.override(Intent(), remove, others, wanted, native)


def _in_order(before: Sequence[T], wanted: Sequence[T]) -> list[T]:
    """``wanted`` in the order of ``before``, new items last: the order of a file's lists makes no difference."""
    kept = [item for item in before if item in wanted]
    return kept + [item for item in wanted if item not in kept]


def _without(words: Sequence[str], absent: Sequence[str]) -> list[str]:
    """The words without all ``absent`` ones; --delete-if-present removes one of several equal arguments only."""
    return [word for word in words if word not in absent]


def _arguments_alone(current: Transaction, settings: Settings, words: Sequence[str]) -> Outcome:
    if settings.dry_run:
        return Outcome(True, "Would change:", dry_run=True)
    fresh = kernel_args.deploy_with(current, words)
    return Outcome(True, "", deployment=fresh.of(current.osname)[0], commit=current.basis.checksum)


def _items(intent: Intent, line: Sequence[str]) -> list[tuple[str, str]]:
    recommends = [] if intent.recommends is None else [str(intent.recommends).lower()]
    return [
        *(("package", name) for name in intent.requested),
        *(("package", str(entry.package)) for entry in intent.requested_local),
        *(("recommends", value) for value in recommends),
        *(("override remove", name) for name in intent.remove),
        *(("override replace", name) for name in intent.replace),
        *(("override replace", str(entry.package)) for entry in intent.replace_local),
        *(("kernel argument", word) for word in line),
        *(("initramfs", "made on this machine") for _ in [0] if intent.initramfs),
        *(("initramfs argument", word) for word in intent.initramfs_args),
        *(("initramfs file", name) for name in intent.initramfs_etc),
    ]
