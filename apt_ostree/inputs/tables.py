"""Tables of TOML, checked strictly: every problem is found, with its line, an unknown key with the nearest known one.

Manifests, the configuration and the files that ``apply`` reads go through here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from ..errors import UsageError
from ..host.files import NAMED_MAX, PIPE_SECONDS, read_regular

# TOML 1.0, "Integer": what every implementation must hold.
INTEGERS = range(-(2**63), 2**63)

# Where a key stands: ("ref",), ("files", 0, "path").
Where = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """The form a string must have, and its name in a message."""

    name: str
    pattern: re.Pattern[str]


def form(name: str, pattern: str) -> Form:
    """A form from a regular expression that the whole string must match."""
    return Form(name, re.compile(pattern, re.DOTALL))


# A NUL would end the argument of a child process.
TEXT = form("a string, not empty and without NUL", r"[^\0]+")


@dataclass(frozen=True, slots=True)
class Source:
    """A file of TOML: where it is, what messages call it, and the error that a problem becomes."""

    path: Path
    noun: str
    error: type[UsageError] = UsageError

    def read(self) -> str:
        """Its text. Raises ``error`` for a file that cannot be read, is too large or is not UTF-8."""
        try:
            content = read_regular(self.path, NAMED_MAX, pipe_seconds=PIPE_SECONDS)
        except UsageError as error:
            raise self.error(
                f"cannot read {self.noun} {self.path}", error.detail, "Check the path and its permissions."
            ) from error
        return self.decode(content)

    def decode(self, content: bytes) -> str:
        """The text of ``content``. Raises ``error`` where it is not UTF-8."""
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise self._invalid([(line, "not UTF-8, which TOML requires")]) from error

    def parse(self, text: str) -> Table:
        """The top table of ``text``. Raises ``error`` where it is not TOML."""
        try:
            values = tomli.loads(text)
        except (ValueError, RecursionError) as error:
            # Not only TOMLDecodeError: Python limits the digits of an integer, tomli the depth of a nest.
            raise self._invalid([_syntax_problem(str(error), text)]) from error
        return Table(values, Problems(text))

    def finish(self, top: Table) -> None:
        """Raises ``error`` with a line for each problem that was found, in the order of the file."""
        if top.problems.found:
            raise self._invalid(top.problems.found)

    def _invalid(self, problems: Sequence[tuple[int, str]]) -> UsageError:
        return self.error(
            f"{self.path} is not valid",
            "\n".join(f"line {line}: {message}" if line else message for line, message in sorted(problems)),
            f"Correct the {self.noun} and run the command again.",
        )


class Problems:
    """The problems of a text, as (line, message); line 0 stands for a line that is not known."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = _key_lines(text)
        self.found: list[tuple[int, str]] = []

    def add(self, where: Where, message: str) -> None:
        """A key without a line of its own (absent, or in an inline table) gets that of what encloses it."""
        enclosing = (self.lines.get(where[:depth]) for depth in range(len(where), 0, -1))
        self.found.append((next(filter(None, enclosing), 0), message))


class Table:
    """A table being read: a wrong value becomes a problem, and is replaced by one of the right type."""

    def __init__(self, values: dict[str, Any], problems: Problems, where: Where = (), suffix: str = "") -> None:
        self.values = values
        self.problems = problems
        self.where = where
        self.suffix = suffix

    def label(self, key: str) -> str:
        return f"{key!r}{self.suffix}"

    def problem(self, key: str, message: str) -> None:
        self.problems.add((*self.where, key), message)

    def reject_unknown(self, known: frozenset[str], later: frozenset[str] = frozenset()) -> None:
        """``later`` are keys that the format has, and this version does not act on."""
        for key in self.values.keys() - known:
            if key in later:
                self.problem(key, f"key {self.label(key)} is not supported by this version")
                continue
            near = difflib.get_close_matches(key, sorted(known | later), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.problem(key, f"unknown key {self.label(key)}{hint}")

    def string(self, key: str, form: Form, default: str | None = None) -> str:
        """The string ``key``; without a default it must be there."""
        if key in self.values:
            return self._checked(key, self.label(key), self.values[key], form)
        if default is None:
            self.problem(key, f"key {self.label(key)} is missing")
        return default or ""

    def strings(self, key: str, form: Form, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        if key not in self.values:
            return default
        items = enumerate(self.items(key), 1)
        checked = [self._checked(key, f"entry {n} of {self.label(key)}", item, form) for n, item in items]
        return tuple(filter(None, checked))

    def items(self, key: str) -> list[Any]:
        value = self.values.get(key, [])
        if isinstance(value, list):
            return value
        self.problem(key, f"{self.label(key)} must be a list, found {describe(value)}")
        return []

    def number(self, key: str, allowed: range, default: int) -> int:
        value = self.values.get(key, default)
        if type(value) is int and value in allowed:
            return value
        expected = f"an integer from {allowed.start} to {allowed.stop - 1}"
        self.problem(key, f"{self.label(key)} must be {expected}, found {describe(value)}")
        return default

    def boolean(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self.problem(key, f"{self.label(key)} must be true or false, found {describe(value)}")
        return value is True

    def _checked(self, key: str, label: str, value: Any, form: Form) -> str:
        if isinstance(value, str) and form.pattern.fullmatch(value):
            return value
        self.problem(key, f"{label} must be {form.name}, found {describe(value)}")
        return ""


def describe(value: Any) -> str:
    match value:
        case str():
            # A password in a URI must not reach a log.
            return repr(re.sub(r"//.*@", "//***@", value, flags=re.DOTALL))
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a float"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or time"


_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_LINE = re.compile(rf"\s*(?:\[\[\s*(?P<array>{_DOTTED})\s*\]\]|\[\s*(?P<table>{_DOTTED})\s*\]|(?P<key>{_DOTTED})\s*=)")
# Short strings and comments stand here so that quotes in them do not pass for the start of a long string.
_TOKEN = re.compile(
    r"""(?P<long>"{3}(?:\\.|[^\\])*?"{3,5}|'{3}.*?'{3,5})|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|#[^\n]*""",
    re.DOTALL,
)


def _key_lines(text: str) -> dict[Where, int]:
    """The line of each key of a valid TOML text, counted from 1.

    Only a key that begins a line is found, not one in an inline table, and only without escapes in it.
    """
    # A long string may hold a file full of lines that look like keys.
    text = _TOKEN.sub(lambda token: "\n" * token[0].count("\n") if token["long"] else token[0], text)
    lines: dict[Where, int] = {}
    table: Where = ()
    arrays: dict[Where, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not (match := _LINE.match(line)):
            continue
        path = tuple(part.strip("\"'") for part in re.findall(_KEY, match[match.lastgroup or 0]))
        if match["array"]:
            table = where = (*path, arrays.setdefault(path, 0))
            arrays[path] += 1
        elif match["table"]:
            table = where = path
        else:
            where = table + path
        for depth in range(1, len(where) + 1):
            lines.setdefault(where[:depth], number)
    return lines


def _syntax_problem(error: str, text: str) -> tuple[int, str]:
    """tomli only got attributes for the line in 2.1; its message always had it."""
    message, _, place = error.partition(" (at ")
    if line := re.match(r"line (\d+)", place):
        return int(line[1]), message
    return (text.rstrip().count("\n") + 1 if place else 0), message
