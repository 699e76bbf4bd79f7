"""Kernel arguments: one line of words, and what rpm-ostree's options make of it.

The rules are those of ``rpm-ostree kargs`` and libostree's ostree_kernel_args_*(): deletions come first, then
replacements, additions, additions where missing, and deletions where present. The kernel splits the line at blanks
outside of double quotes (its admin-guide/kernel-parameters). ``ostree=`` is libostree's own: nobody else sets it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..text import lines

# libostree takes nothing but the blank for a separator; a quote that is never closed reaches to the end.
_WORD = re.compile(r'(?:[^" ]|"[^"]*(?:"|\Z))+')

_OF_A_BOOT = ("BOOT_IMAGE=", "initrd=", "ostree=")
"""Arguments that a boot loader adds to /proc/cmdline (GRUB, systemd-boot), and the one that names the deployment."""

_UNCHANGED = "Nothing was changed. To see the arguments: apt-ostree kargs"
_NAME_ONE = "Nothing was changed. Name one of them: KEY=VALUE, or KEY=VALUE=NEW to replace it."

NOTE = """\
# The kernel arguments of the next deployment. Lines that are empty or begin with '#' are left out.
# Arguments are separated by spaces; their order matters. 'ostree=' is not shown.
"""


@dataclass(frozen=True, slots=True)
class Edit:
    """Changes of a line, as the options of the same names ask for them, each in the order given."""

    append: tuple[str, ...] = ()
    append_if_missing: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    delete_if_present: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.append or self.append_if_missing or self.delete or self.delete_if_present or self.replace)


def split(line: str) -> list[str]:
    """The arguments of a line; quotes stay as they are."""
    return _WORD.findall(line)


def own(line: str) -> list[str]:
    """The arguments of a line without those that each boot sets itself."""
    return [word for word in split(line) if not word.startswith(_OF_A_BOOT)]


def check(words: Sequence[str]) -> None:
    """Refuse what a loader entry cannot hold or the kernel would not read as written. Raises UsageError."""
    for word in words:
        if not word or not word.isprintable():
            # A newline would begin another key of the loader entry: another kernel, say.
            raise UsageError(
                f"{word!r} is not a valid kernel argument", "it is empty, or has a character that does not print"
            )
        if word.count('"') % 2:
            raise UsageError(f"{word!r} is not a valid kernel argument", "it has a quote that is not closed")
        if word[0] == "=":
            raise UsageError(f"{word!r} is not a valid kernel argument", "it has no name")
        if word.partition("=")[0] == "ostree":
            raise UsageError(
                "the kernel argument 'ostree' cannot be changed",
                "it names the deployment to boot, and each deployment gets its own",
                "To boot another deployment: apt-ostree rollback --to",
            )


def apply(line: Sequence[str], edit: Edit) -> list[str]:
    """The arguments after ``edit``. Raises UsageError, in rpm-ostree's words, for what is not there or ambiguous."""
    words = list(line)
    for argument in _words(edit.delete):
        _delete(words, argument)
    for argument in _words(edit.replace):
        _replace(words, argument)
    words += _words(edit.append)
    for argument in _words(edit.append_if_missing):
        if argument not in words:
            words.append(argument)
    for argument in _words(edit.delete_if_present):
        # As rpm-ostree: only what was there before this edit.
        if argument in line:
            _delete(words, argument)
    return words


def _words(arguments: Sequence[str]) -> list[str]:
    # As libostree: one option may hold several arguments, and a value with blanks stands in quotes.
    found = []
    for argument in arguments:
        check([argument])
        inside = split(argument)
        check(inside or [argument.strip(" ")])
        found += inside
    return found


def _of_key(words: Sequence[str], key: str) -> list[int]:
    places = [number for number, word in enumerate(words) if word.partition("=")[0] == key]
    if not places:
        raise UsageError(f"No key '{key}' found", f"the arguments are: {' '.join(words)}", _UNCHANGED)
    return places


def _delete(words: list[str], argument: str) -> None:
    key, equals, _ = argument.partition("=")
    places = _of_key(words, key)
    if len(places) == 1 and not equals:
        del words[places[0]]
    elif argument in words:
        words.remove(argument)
    elif equals:
        raise UsageError(f"No karg '{argument}' found", _values(words, places), _UNCHANGED)
    else:
        raise UsageError(f"Multiple values for key '{key}' found", _values(words, places), _NAME_ONE)


def _replace(words: list[str], argument: str) -> None:
    key, equals, value = argument.partition("=")
    places = _of_key(words, key)
    old, inner, new = value.partition("=")
    if inner:
        if f"{key}={old}" not in words:
            raise UsageError(f"No karg '{key}={old}' found", _values(words, places), _UNCHANGED)
        words[words.index(f"{key}={old}")] = f"{key}={new}"
    elif len(places) > 1:
        raise UsageError(f"Multiple values for key '{key}' found", _values(words, places), _NAME_ONE)
    else:
        words[places[0]] = f"{key}{equals}{value}"


def _values(words: Sequence[str], places: Sequence[int]) -> str:
    return "it has: " + " ".join(words[place] for place in places)


def edited(text: str) -> list[str]:
    """The arguments in a text that an editor left, as ``NOTE`` describes it. Raises UsageError."""
    stripped = [line.strip() for line in lines(text)]
    words = [word for line in stripped if line and not line.startswith("#") for word in split(line)]
    if not words:
        raise UsageError("The kernel arguments can not be empty", resolution="Nothing was changed.")
    check(words)
    return words
