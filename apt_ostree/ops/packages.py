"""Install, uninstall and override: edit the recorded intent, then rebuild the layer from the pristine base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import UsageError
from ..inputs import debconf, edits, requests
from ..inputs.edits import Named
from ..model import Intent
from ..reporter import Reporter
from ..system import origin
from . import intents
from . import transaction as tx
from .goal import OFFLINE, Options, as_is
from .intents import IntentEdit
from .layer import NOTHING_TO_DO, Outcome, reach, relayer
from .transaction import Settings


def install(
    settings: Settings, edit: IntentEdit, options: Options, reporter: Reporter, *, again: bool = False
) -> Outcome:
    """Install packages on top of the base; ``again`` fetches those named again and runs every script again.

    Raises UsageError, ResolveError, DownloadError, PackageError, ScriptError, SpaceError, TreeError; nothing has
    changed then."""
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        goal = as_is(current)
        local = intents.import_files(current, edit.files, again=again)
        after = edit.apply(current, goal.intent, local)
        named = {*map(requests.name_of, edit.names), *(entry.package.name for entry in local)}
        goal = replace(goal, intent=after, again=frozenset(named) if again else frozenset())
        outcome = reach(current, settings, goal, options)
        if outcome == NOTHING_TO_DO and named and not edit.dropping:
            are = "is" if len(named) == 1 else "are"
            return replace(outcome, message=f"Nothing to do: {', '.join(sorted(named))} {are} already requested.")
        return outcome


def reset(settings: Settings, *, layers: bool, overrides: bool, initramfs: bool, reporter: Reporter) -> Outcome:
    """Return to the base: drop these parts of the intent, or all of it where none is named."""
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        before = as_is(current).intent
        after = requests.cleared(before, layers=layers, overrides=overrides, initramfs=initramfs)
        return relayer(current, settings, after, OFFLINE)


def answers(file: Path | None) -> str:
    """The answers to debconf in a file. Raises UsageError."""
    return debconf.read(file) if file is not None else ""


def uninstall(
    settings: Settings, packages: Sequence[str], every: bool, reporter: Reporter, *, lenient: bool = False
) -> Outcome:
    """Drop requests, or all of them; no network is needed. Raises ResolveError for what is not requested, unless
    ``lenient``."""
    tx.require_root()
    for name in packages:
        requests.parse_expression(name)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        if every:
            after = replace(before, requested=(), requested_local=())
        else:
            after = requests.drop(before, packages, intents.native_architecture(current), lenient=lenient)
        return relayer(current, settings, after, OFFLINE)


def override_remove(
    settings: Settings, packages: Sequence[str], installing: Sequence[str], options: Options, reporter: Reporter
) -> Outcome:
    """Leave base packages out, as ``apt-get remove`` would; further ones may come in their place.

    Raises ResolveError when another package that stays needs one of them.
    """
    return _override(settings, packages, [], installing, options, reporter)


def override_replace(
    settings: Settings, packages: Sequence[str], installing: Sequence[str], options: Options, reporter: Reporter
) -> Outcome:
    """Replace base packages by version, by suite or by file; further ones may come with them.

    Raises ResolveError and UsageError.
    """
    return _override(settings, [], packages, installing, options, reporter)


def _override(
    settings: Settings,
    remove: Sequence[str],
    replacing: Sequence[str],
    installing: Sequence[str],
    options: Options,
    reporter: Reporter,
) -> Outcome:
    tx.require_root()
    intents.check_names(remove)
    names, files = intents.split(replacing)
    for name in names:
        match = requests.parse_expression(name)
        if match["version"] is None and match["suite"] is None:
            raise UsageError(
                f"override replace needs a version, suite or file for {name}",
                resolution=f"Write {name}=VERSION, {name}/SUITE, or the path of a .deb file.",
            )
    wanted, wanted_files = intents.split(installing)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        local = intents.import_files(current, files)
        native = intents.native_architecture(current)
        intents.check_overrides(current, before, requests.override(Intent(), remove, names, local, native))
        further = Named(wanted, intents.import_files(current, wanted_files))
        after = edits.override(before, remove, Named(names, local), further, native)
        return relayer(current, settings, intents.with_recommends(current, before, after, options.recommends), options)


def override_reset(
    settings: Settings, packages: Sequence[str], every: bool, reporter: Reporter, *, lenient: bool = False
) -> Outcome:
    """Drop overrides, so that packages are the base's again; no network is needed. Raises ResolveError for packages
    that have none, unless ``lenient``."""
    tx.require_root()
    intents.check_names(packages)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        native = intents.native_architecture(current)
        names = sorted(requests.overridden(before, native)) if every else packages
        after = requests.reset(before, names, native, lenient=lenient)
        return relayer(current, settings, after, OFFLINE)
