"""Package expressions, and how they change the recorded intent. Values in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..errors import ResolveError, UsageError
from ..model import Intent, LocalPackage, Package

_EXPRESSION = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*[a-z0-9+])(?::(?P<arch>[a-z0-9-]+))?(?:=(?P<version>[A-Za-z0-9.+:~-]+)|/(?P<suite>[a-z0-9.-]+))?"
)


def parse_expression(text: str) -> re.Match[str]:
    """Check a package expression's form (policy 5.6.1, apt-get(8)). Raises UsageError."""
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        shown = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise UsageError(f"'{shown}' is not a valid package name", *_advice(text))
    return match


def _advice(text: str) -> tuple[str, str]:
    """The detail and the resolution for a text that is not a package expression."""
    if _EXPRESSION.fullmatch(text.lower()):
        return "package names are lower case", f"Nothing was changed. Did you mean '{text.lower()}'?"
    return (
        "a package is NAME, NAME=VERSION, NAME/SUITE, NAME:ARCH, or a file: ./NAME.deb",
        "Nothing was changed. Give each package as a separate argument.",
    )


def is_file(argument: str) -> bool:
    """True if an argument names a .deb file: it has a slash and ends in .deb."""
    return "/" in argument and argument.endswith(".deb")


def key(expression: str, native: str) -> str:
    """A key for the package that an expression means: equal for all expressions of one package, whatever the version.

    It is the name, and the architecture where that is another one than the ``native``; a package of all
    architectures is the native one (policy 5.6.8).
    """
    qualified = re.split("[=/]", expression, maxsplit=1)[0]
    name, _, architecture = qualified.partition(":")
    return name if architecture in ("", "all", native) else qualified


def key_of(package: Package, native: str) -> str:
    """The key of a package."""
    return key(package.qualified, native)


def add(intent: Intent, names: Sequence[str], local: Sequence[LocalPackage], native: str) -> Intent:
    """The intent with more requests: one for a package, by an expression or by a file, replaces the older one.

    What is asked for together must not contradict itself (edits.py); a file goes before an expression then.
    """
    requested, files = list(intent.requested), list(intent.requested_local)
    for name in names:
        if name in requested:
            continue
        new = parse_expression(name)
        same = [old for old in requested if key(old, native) == key(name, native)]
        given = [entry for entry in files if key_of(entry.package, native) == key(name, native)]
        # A bare name asks for no version in particular: one that is there fulfils it.
        bare = new["version"] is None and new["suite"] is None
        if (bare and (same or given)) or any(entry.package.version == new["version"] for entry in given):
            continue
        requested = [old for old in requested if old not in same] + [name]
        files = [entry for entry in files if entry not in given]
    keys = {key_of(entry.package, native) for entry in local}
    return replace(
        intent,
        requested=tuple(name for name in requested if key(name, native) not in keys),
        requested_local=(
            *(entry for entry in files if key_of(entry.package, native) not in keys),
            *dict.fromkeys(local),
        ),
    )


def drop(intent: Intent, names: Sequence[str], native: str, *, lenient: bool = False) -> Intent:
    """The intent without the named requests. Raises ResolveError for what nobody requested, unless ``lenient``."""
    requested, local, unknown = list(intent.requested), list(intent.requested_local), []
    for name in names:
        gone = [request for request in requested if _drops(name, request, native)]
        gone_local = [entry for entry in local if _drops(name, entry.package.exactly, native)]
        if not gone and not gone_local:
            unknown.append(name)
        requested = [r for r in requested if r not in gone]
        local = [entry for entry in local if entry not in gone_local]
    if unknown and not lenient:
        have = [*intent.requested, *(entry.package.name for entry in intent.requested_local)]
        raise ResolveError(
            f"not requested: {', '.join(unknown)}",
            f"requested: {', '.join(have) or 'none'}",
            "Nothing was changed. --idempotent ignores packages that are not requested. "
            "To remove a package of the base: apt-ostree override remove NAME",
        )
    return replace(intent, requested=tuple(requested), requested_local=tuple(local))


def _drops(name: str, request: str, native: str) -> bool:
    """True if uninstalling ``name`` drops a request; without an architecture, ``name`` means all of them."""
    asked, other = parse_expression(name), parse_expression(request)
    same = asked["name"] == other["name"] if asked["arch"] is None else key(name, native) == key(request, native)
    return same and asked["version"] in (None, other["version"])


def override(
    intent: Intent, remove: Sequence[str], replacing: Sequence[str], local: Sequence[LocalPackage], native: str
) -> Intent:
    """The intent with further base packages removed or replaced; the later override of a package wins."""
    new = Intent(
        remove=tuple({key(name, native): name for name in remove}.values()),
        replace=tuple({key(item, native): item for item in replacing}.values()),
        replace_local=tuple(dict.fromkeys(local)),
    )
    kept = reset(intent, overridden(new, native), native, lenient=True)
    return replace(
        kept,
        remove=kept.remove + new.remove,
        replace=kept.replace + new.replace,
        replace_local=kept.replace_local + new.replace_local,
    )


def reset(intent: Intent, names: Iterable[str], native: str, *, lenient: bool = False) -> Intent:
    """The intent without the overrides of the named packages. Raises ResolveError for names without one, unless
    ``lenient``."""
    keys = {key(name, native): name for name in names}
    have = overridden(intent, native)
    if not lenient and (unknown := [name for each, name in keys.items() if each not in have]):
        raise ResolveError(
            f"not overridden: {', '.join(unknown)}",
            f"overridden: {', '.join(sorted(have)) or 'none'}",
            "Nothing was changed. --idempotent ignores packages without an override.",
        )
    return replace(
        intent,
        remove=tuple(name for name in intent.remove if key(name, native) not in keys),
        replace=tuple(item for item in intent.replace if key(item, native) not in keys),
        replace_local=tuple(entry for entry in intent.replace_local if key_of(entry.package, native) not in keys),
    )


def cleared(intent: Intent, *, layers: bool, overrides: bool, initramfs: bool) -> Intent:
    """The intent without these parts; without all of them where none is named, which leaves the pure base."""
    every = not (layers or overrides or initramfs)
    if layers or every:
        intent = replace(intent, requested=(), requested_local=())
    if overrides or every:
        intent = replace(intent, remove=(), replace=(), replace_local=())
    if initramfs or every:
        intent = replace(intent, initramfs=False, initramfs_args=(), initramfs_etc=())
    return replace(intent, recommends=None) if every else intent


def overridden(intent: Intent, native: str) -> set[str]:
    """The keys of base packages that an intent removes or replaces."""
    named = {key(item, native) for item in (*intent.remove, *intent.replace)}
    return named | {key_of(entry.package, native) for entry in intent.replace_local}


def name_of(expression: str) -> str:
    """The package's name in an expression."""
    return str(parse_expression(expression)["name"])
