"""Install, uninstall and override: edit the recorded intent, then rebuild the layer from the pristine base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import UsageError
from ..inputs import debconf, requests
from ..model import Intent
from ..reporter import Reporter
from ..system import origin
from ..tools import deb
from . import intents
from . import transaction as tx
from .goal import Options, as_is
from .intents import IntentEdit
from .layer import Outcome, reach, relayer
from .transaction import Settings


def install(
    settings: Settings, edit: IntentEdit, options: Options, reporter: Reporter, *, again: bool = False
) -> Outcome:
    """Lay further packages over the base; ``again`` fetches those named anew and runs every script once more.

    Raises UsageError, ResolveError, DownloadError, PackageError, ScriptError, SpaceError, TreeError; nothing has
    changed then."""
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        target = as_is(current)
        after = edit.apply(current, target.intent, anew=again)
        named = {*map(requests.name_of, edit.names), *(deb.control(file).package.name for file in edit.files)}
        target = replace(target, intent=after, anew=frozenset(named) if again else frozenset())
        return reach(current, settings, target, options)


def reset(settings: Settings, *, layers: bool, overrides: bool, initramfs: bool, reporter: Reporter) -> Outcome:
    """Back to the pure base: without these parts of what was asked for, or without all of them where none is named."""
    tx.require_root()
    with tx.transaction(settings, reporter) as current:
        before = as_is(current).intent
        after = requests.cleared(before, layers=layers, overrides=overrides, initramfs=initramfs)
        return relayer(current, settings, after, Options(cache_only=True))


def answers(file: Path | None) -> str:
    """What a file tells debconf. Raises UsageError."""
    return debconf.read(file) if file is not None else ""


def uninstall(
    settings: Settings, packages: Sequence[str], every: bool, reporter: Reporter, *, lenient: bool = False
) -> Outcome:
    """Drop requests, or all of them; needs no network. Raises ResolveError for what nobody requested, unless
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
        return relayer(current, settings, after, Options(cache_only=True))


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
                f"override replace needs to know by what to replace {name}",
                resolution=f"Write {name}=VERSION, {name}/SUITE, or the path of a .deb file.",
            )
    wanted, wanted_files = intents.split(installing)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        local = intents.import_files(current, files)
        native = intents.native_architecture(current)
        intents.check_overrides(current, before, requests.override(Intent(), remove, names, local, native))
        after = requests.override(before, remove, names, local, native)
        after = requests.add(after, wanted, intents.import_files(current, wanted_files), native)
        return relayer(current, settings, intents.with_recommends(current, before, after, options.recommends), options)


def override_reset(
    settings: Settings, packages: Sequence[str], every: bool, reporter: Reporter, *, lenient: bool = False
) -> Outcome:
    """Give base packages back as the base has them; needs no network. Raises ResolveError for those that are as the
    base has them, unless ``lenient``."""
    tx.require_root()
    intents.check_names(packages)
    with tx.transaction(settings, reporter) as current:
        before = origin.intent(current.basis.origin)
        native = intents.native_architecture(current)
        names = sorted(requests.overridden(before, native)) if every else packages
        after = requests.reset(before, names, native, lenient=lenient)
        return relayer(current, settings, after, Options(cache_only=True))
