"""Edits of the intent, and wishes about one package that cannot all hold: docs/requests.md has the table of pairs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import ResolveError, UsageError
from ..model import Intent, LocalPackage
from . import requests


@dataclass(frozen=True, slots=True)
class _Wish:
    """A package as it is asked for; ``text`` is how people name it."""

    key: str
    text: str
    version: str | None = None
    suite: str | None = None
    sha256: str = ""

    @classmethod
    def of(cls, expression: str, native: str) -> _Wish:
        match = requests.parse_expression(expression)
        return cls(requests.key(expression, native), expression, match["version"], match["suite"])

    @classmethod
    def of_file(cls, entry: LocalPackage, native: str) -> _Wish:
        package = entry.package
        key = requests.key_of(package, native)
        return cls(key, f"the file of {package.name} {package.version}", package.version, None, entry.sha256)

    def agrees(self, other: _Wish) -> bool:
        """True if one package fulfils both: a bare name asks for no version in particular."""
        if self.sha256 and other.sha256:
            return self.sha256 == other.sha256
        if not self._is_particular or not other._is_particular:
            return True
        return (self.version, self.suite) == (other.version, other.suite)

    @property
    def _is_particular(self) -> bool:
        return self.version is not None or self.suite is not None


@dataclass(frozen=True, slots=True)
class Named:
    """Packages that one option or list of arguments names: expressions, and files as they were imported."""

    names: Sequence[str] = ()
    files: Sequence[LocalPackage] = ()


def install(before: Intent, asked: Named, dropping: Sequence[str], native: str, *, lenient: bool = False) -> Intent:
    """The intent with requests dropped and added.

    Raises UsageError and ResolveError where wishes contradict each other, and ResolveError for names to drop that
    nobody requested, unless ``lenient``.
    """
    _check_together(asked, native)
    _check_dropped(asked, dropping, native)
    after = requests.drop(before, dropping, native, lenient=lenient)
    after = requests.add(after, asked.names, asked.files, native)
    _check_record(before, after, native)
    return after


def override(before: Intent, remove: Sequence[str], replacing: Named, installing: Named, native: str) -> Intent:
    """The intent with further overrides, and requests beside them. Raises UsageError and ResolveError as above."""
    _check_together(replacing, native)
    _check_together(installing, native)
    after = requests.override(before, remove, replacing.names, replacing.files, native)
    after = requests.add(after, installing.names, installing.files, native)
    _check_record(before, after, native)
    return after


def additions(before: Intent, after: Intent) -> list[str]:
    """What an intent asks for beyond an earlier one, as people read it."""
    more = [name for name in after.names if name not in before.names]
    return more + (["an initramfs made here"] if after.initramfs and not before.initramfs else [])


def _wishes(names: Iterable[str], files: Iterable[LocalPackage], native: str) -> list[_Wish]:
    return [*(_Wish.of(name, native) for name in names), *(_Wish.of_file(entry, native) for entry in files)]


def _check_together(asked: Named, native: str) -> None:
    """Refuse words of one command that ask for two versions of a package. Raises UsageError."""
    for one, other in itertools.combinations(_wishes(asked.names, asked.files, native), 2):
        if one.key == other.key and not one.agrees(other):
            raise UsageError(
                f"{one.text} and {other.text} cannot both be installed",
                resolution="Nothing was changed. Name each package once.",
            )


def _check_dropped(asked: Named, dropping: Sequence[str], native: str) -> None:
    """Refuse to install and to uninstall one package in a command. Raises UsageError."""
    dropped = [_Wish.of(name, native) for name in dropping]
    for wish in _wishes(asked.names, asked.files, native):
        if any(wish.key == other.key and wish.agrees(other) for other in dropped):
            raise UsageError(
                f"{wish.text} cannot be both installed and uninstalled",
                resolution="Nothing was changed. Another version or file takes the place of a request by itself.",
            )


def _check_record(before: Intent, after: Intent, native: str) -> None:
    """Refuse a package that is to be removed from the base and requested or replaced, or requested and replaced by
    another version.

    Pairs that are on record already stop nothing: who wants to be rid of one has to be able to. Raises ResolveError.
    """
    recorded = _pairs(before, native)
    for pair in _pairs(after, native):
        if pair not in recorded:
            raise _contradiction(*pair, before, native)


_Intended = tuple[str, _Wish]
"""What is to become of a package, as people read it, and the wish."""


def _pairs(intent: Intent, native: str) -> list[tuple[_Intended, _Intended]]:
    requested = [("requested", wish) for wish in _wishes(intent.requested, intent.requested_local, native)]
    replaced = [("replaced", wish) for wish in _wishes(intent.replace, intent.replace_local, native)]
    removed = [("removed", _Wish.of(name, native)) for name in intent.remove]
    return [
        (one, other)
        for one, other in itertools.combinations([*requested, *replaced, *removed], 2)
        if one[1].key == other[1].key and one[0] != other[0] and (other[0] == "removed" or not one[1].agrees(other[1]))
    ]


def _contradiction(one: _Intended, other: _Intended, before: Intent, native: str) -> ResolveError:
    name = one[1].key
    ways = ["Nothing was changed"]
    if name in requests.overridden(before, native):
        ways.append(f"To have the base's package again: apt-ostree override reset {name}")
    elif any(name == wish.key for wish in _wishes(before.requested, before.requested_local, native)):
        ways.append(f"To drop the request: apt-ostree uninstall {name}")
    ways.append(f"To have another version than the base's: apt-ostree override replace {name}=VERSION")
    told = " and ".join(
        f"{what} ({wish.text})" if wish.text != name and what != "removed" else what for what, wish in (one, other)
    )
    return ResolveError(f"{name} cannot be both {told}", resolution=". ".join(ways))
