"""What a user may ask for in words, and how it changes the recorded intent. Pure: values in, values out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from .errors import ResolveError, UsageError
from .model import Intent, LocalPackage, Package

_EXPRESSION = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*[a-z0-9+])(?::(?P<arch>[a-z0-9-]+))?(?:=(?P<version>[A-Za-z0-9.+:~-]+)|/(?P<suite>[a-z0-9.-]+))?"
)


def parse_expression(text: str) -> re.Match[str]:
    """Check a package expression's form (policy 5.6.1, apt-get(8)). Raises UsageError."""
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        shown = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise UsageError(
            f"'{shown}' is no package expression",
            "a package is NAME, NAME=VERSION, NAME/SUITE, NAME:ARCH, or a file: ./NAME.deb",
            "Nothing was changed. Write each package as an argument of its own.",
        )
    return match


def is_file(argument: str) -> bool:
    """Whether an argument names a .deb file: it has a slash and ends so."""
    return "/" in argument and argument.endswith(".deb")


def add(intent: Intent, names: Sequence[str], local: Sequence[LocalPackage]) -> Intent:
    """The intent with more requests; one for the same package and architecture replaces the older one."""
    requested = list(intent.requested)
    for name in names:
        if name in requested:
            continue
        new = parse_expression(name)
        same = [old for old in requested if _same_package(parse_expression(old), new)]
        # A bare name asks for no version in particular: one that is there fulfils it.
        if same and new["version"] is None and new["suite"] is None:
            continue
        requested = [old for old in requested if old not in same] + [name]
    kept = [
        old for old in intent.requested_local if not any(_is_other_version(old.package, new.package) for new in local)
    ]
    return replace(intent, requested=tuple(requested), requested_local=(*kept, *local))


def _is_other_version(a: Package, b: Package) -> bool:
    """Whether one takes the other's place: a package of all architectures is the native one (policy 5.6.8)."""
    return a.name == b.name and (a.architecture == b.architecture or "all" in (a.architecture, b.architecture))


def _same_package(a: re.Match[str], b: re.Match[str]) -> bool:
    return (a["name"], a["arch"]) == (b["name"], b["arch"])


def drop(intent: Intent, names: Sequence[str], *, lenient: bool = False) -> Intent:
    """The intent without the named requests. Raises ResolveError for what nobody requested, unless ``lenient``."""
    requested, local, unknown = list(intent.requested), list(intent.requested_local), []
    for name in names:
        asked = parse_expression(name)
        gone = [r for r in requested if r == name or (r != name and _asks_for(parse_expression(r), asked))]
        gone_local = [entry for entry in local if entry.package.name == asked["name"]]
        if not gone and not gone_local:
            unknown.append(name)
        requested = [r for r in requested if r not in gone]
        local = [entry for entry in local if entry not in gone_local]
    if unknown and not lenient:
        have = [*intent.requested, *(entry.package.name for entry in intent.requested_local)]
        raise ResolveError(
            f"not requested: {', '.join(unknown)}",
            f"requested are: {', '.join(have) or 'none'}",
            "A base package goes with 'apt-ostree override remove', a dependency with what needs it. With --idempotent "
            "what is gone already is done.",
        )
    return replace(intent, requested=tuple(requested), requested_local=tuple(local))


def _asks_for(request: re.Match[str], asked: re.Match[str]) -> bool:
    return request["name"] == asked["name"] and asked["arch"] in (None, request["arch"]) and asked["version"] is None


def override(intent: Intent, remove: Sequence[str], replacing: Sequence[str], local: Sequence[LocalPackage]) -> Intent:
    """The intent with base packages removed or replaced besides; the later word about a package wins."""
    names = {name_of(item) for item in [*remove, *replacing]} | {entry.package.name for entry in local}
    kept = reset(intent, [name for name in names if name in overridden(intent)])
    return replace(
        kept,
        remove=(*kept.remove, *remove),
        replace=(*kept.replace, *replacing),
        replace_local=(*kept.replace_local, *local),
    )


def reset(intent: Intent, names: Sequence[str], *, lenient: bool = False) -> Intent:
    """The intent without the overrides of the named packages. Raises ResolveError for names without one, unless
    ``lenient``."""
    have = overridden(intent)
    if not lenient and (unknown := [name for name in names if name not in have]):
        raise ResolveError(
            f"not overridden: {', '.join(unknown)}",
            f"overridden are: {', '.join(sorted(have)) or 'none'}",
            "Nothing was changed. With --idempotent what is so already is done.",
        )
    return replace(
        intent,
        remove=tuple(name for name in intent.remove if name not in names),
        replace=tuple(item for item in intent.replace if name_of(item) not in names),
        replace_local=tuple(entry for entry in intent.replace_local if entry.package.name not in names),
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


def overridden(intent: Intent) -> set[str]:
    """The names of base packages that an intent removes or replaces."""
    replaced = {entry.package.name for entry in intent.replace_local}
    return {*intent.remove, *map(name_of, intent.replace), *replaced}


def name_of(expression: str) -> str:
    """The package's name in an expression."""
    return str(parse_expression(expression)["name"])


def difference_key(package: Package) -> tuple[str, str]:
    """What makes two packages versions of one."""
    return (package.name, package.architecture)
