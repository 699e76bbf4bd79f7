"""The manifest: the TOML file that says what goes into a base commit.

``parse`` takes text and touches no file; ``load`` reads one. Every problem of a manifest is reported at once,
each with its line, so that it can be put right in one go.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli

from apt_ostree.errors import ManifestError

# Keys that the manifest format has, but that nothing here acts on: to ignore one would build the wrong image.
UNSUPPORTED_KEYS = frozenset([
    "debconf", "default-target", "hostname", "include", "locale", "remove-files", "sources", "timezone",
    "units-disable", "units-enable", "users",
])  # fmt: skip

# A commit's /var is at best a seed for the first boot; the others are mounted over at run time.
UNSHIPPABLE = re.compile(r"/(?:dev|proc|run|sys|var)(?=/|\Z)")

# TOML 1.0, "Integer": what every implementation must hold.
INTEGERS = range(-(2**63), 2**63)

MODES = range(0o10000)

# Where a key stands: ("ref",), ("files", 0, "path").
_Where = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file that the manifest adds. Exactly one of ``content`` and ``source`` (a file to copy) is set;
    ``owner`` is always "user:group"."""

    path: str
    content: str | None = None
    source: Path | None = None
    mode: int = 0o644
    owner: str = "root:root"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read and found valid. A field is the key of its name, with '_' for '-'.

    ``architecture`` is None and ``mirrors`` is empty for the host's own. ``packages`` are archive expressions
    (``name[:arch][=version]``, ``name[:arch][/suite]``) and paths of .deb files, which always hold a slash.
    ``version`` still has its placeholders; see ``expand_version``.
    """

    ref: str
    suite: str
    architecture: str | None = None
    components: tuple[str, ...] = ("main",)
    mirrors: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    recommends: bool = False
    kernel_args: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    postprocess: tuple[str, ...] = ()
    version: str = "{date}"
    metadata: Mapping[str, str] = field(default_factory=dict)

    def expand_version(self, now: datetime) -> str:
        """``version`` with ``{date}`` replaced by YYYYMMDD in UTC; ``now`` must know its time zone."""
        return self.version.replace("{date}", now.astimezone(UTC).strftime("%Y%m%d"))


@dataclass(frozen=True, slots=True)
class _Form:
    """The form a string must have, and its name in a message."""

    name: str
    pattern: re.Pattern[str]


def _form(name: str, pattern: str) -> _Form:
    return _Form(name, re.compile(pattern, re.DOTALL))


# Debian policy 5.6.1 (names), 5.6.8 (architectures), 5.6.12 (versions); apt-get(8) for how they combine.
_NAME = r"[a-z0-9][a-z0-9+.-]+"
_ARCH = r"[a-z0-9][a-z0-9-]*"
_SUITE = r"[a-z0-9][a-z0-9.-]*"
_VERSION = r"(?:[0-9]+:)?[0-9][A-Za-z0-9.+~-]*"
_DEB = r"[^\0]*/[^\0]*\.deb"
_REF = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_USER = r"[a-z_][a-z0-9_-]*"

ANY = _form("a string", r".*")
# A NUL would end the argument of a child process.
TEXT = _form("a string, not empty and without NUL", r"[^\0]+")
# Stricter than ostree, which takes '..' for a part of a ref.
REF = _form("an OSTree ref such as 'debian/13/x86_64'", rf"{_REF}(?:/{_REF})*")
SUITE = _form("a suite such as 'trixie'", _SUITE)
ARCHITECTURE = _form("a Debian architecture such as 'amd64'", _ARCH)
COMPONENT = _form("a component such as 'main'", r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9._-]+)*")
# No '@': passwords belong in apt_auth.conf(5), a manifest gets published.
MIRROR = _form("a URI such as 'https://mirror.example.org/debian', without a password", r"[a-z][a-z0-9+.-]*:/[^\s@]+")
PACKAGE = _form(
    "'name', 'name:arch', 'name=version', 'name/suite' or './file.deb'",
    rf"{_DEB}|{_NAME}(?::{_ARCH})?(?:={_VERSION}|/{_SUITE})?",
)
NAME = _form("a package name", _NAME)
# The kernel splits at blanks outside of double quotes: its admin-guide/kernel-parameters.
KERNEL_ARG = _form("one kernel argument", r'(?:[^\s"\0]|"[^"\n\0]*")+')
# A version ends up in the boot menu, one line an entry.
VERSION = _form("one line of text", r"[^\0-\x1f\x7f]+")
PATH = _form("an absolute path without '.', '..' or '//'", r"(?:/(?!\.{1,2}(?:/|\Z))[^/\0]+)+")
MODE = _form('octal digits such as "0644"', r"0?[0-7]{3,4}")
OWNER = _form("'user' or 'user:group'", rf"{_USER}(?::{_USER})?")
# ostree commit takes KEY=VALUE.
METADATA_KEY = re.compile(r"[A-Za-z0-9._-]+")


def load(path: Path) -> Manifest:
    """Read and check the manifest ``path``. Raises ManifestError, also for a file that cannot be read."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ManifestError(
            f"cannot read manifest {path}",
            error.strerror or str(error),
            "Check the path and its permissions.",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _invalid(path, [(line, "not UTF-8, which TOML requires")]) from error
    return parse(text, path)


def parse(text: str, origin: Path) -> Manifest:
    """The manifest that ``text`` holds.

    ``origin`` is the file it came from: messages name it, and relative paths start from its directory.
    Raises ManifestError, whose detail has a line for each problem, in the order of the file.
    """
    try:
        values = tomli.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: Python limits the digits of an integer, tomli the depth of a nest.
        raise _invalid(origin, [_syntax_problem(str(error), text)]) from error

    top = _Table(values, _Problems(text))
    top.reject_unknown(_keys(Manifest))
    manifest = Manifest(
        ref=top.string("ref", REF),
        suite=top.string("suite", SUITE),
        architecture=top.string("architecture", ARCHITECTURE, "") or None,
        components=_components(top),
        mirrors=top.strings("mirrors", MIRROR),
        packages=_packages(top, origin.parent),
        exclude=top.strings("exclude", NAME),
        recommends=top.boolean("recommends", False),
        kernel_args=top.strings("kernel-args", KERNEL_ARG),
        files=_files(top, origin.parent),
        postprocess=top.strings("postprocess", TEXT),
        version=_version(top),
        metadata=_metadata(top),
    )
    if top.problems.found:
        raise _invalid(origin, top.problems.found)
    return manifest


def _components(top: _Table) -> tuple[str, ...]:
    components = top.strings("components", COMPONENT, ("main",))
    if top.values.get("components") == []:
        top.problem("components", "'components' must name at least one")
    return components


def _packages(top: _Table, directory: Path) -> tuple[str, ...]:
    packages = [
        _with_slash(directory / item) if re.fullmatch(_DEB, item) else item for item in top.strings("packages", PACKAGE)
    ]
    for item in dict.fromkeys(packages):
        if packages.count(item) > 1:
            top.problem("packages", f"'packages' has {item!r} more than once")
    return tuple(packages)


def _with_slash(path: Path) -> str:
    # Path drops a leading './', and without a slash the file would pass for the name of a package.
    return str(path) if "/" in str(path) else f"./{path}"


def _files(top: _Table, directory: Path) -> tuple[File, ...]:
    files: dict[str, File] = {}
    for index, values in enumerate(top.items("files")):
        if not isinstance(values, dict):
            top.problem("files", f"entry {index + 1} of 'files' must be a table, found {_describe(values)}")
            continue
        table = _Table(values, top.problems, ("files", index), f" of [[files]] {index + 1}")
        file = _file(table, directory)
        if file.path and file.path in files:
            table.problem("path", f"{table.label('path')} is {file.path!r}, as in an earlier one")
        files[file.path] = file
    return tuple(files.values())


def _file(table: _Table, directory: Path) -> File:
    table.reject_unknown(_keys(File))
    path = table.string("path", PATH)
    if unshippable := UNSHIPPABLE.match(path):
        table.problem("path", f"{table.label('path')} is in {unshippable[0]}, which a commit does not ship")
    content = table.string("content", ANY) if "content" in table.values else None
    source = directory / table.string("source", TEXT) if "source" in table.values else None
    if (content is None) == (source is None):
        message = f"exactly one of 'content' and 'source'{table.suffix} must be set"
        table.problems.add(table.where, message)
    user, _, group = table.string("owner", OWNER, "root:root").partition(":")
    return File(path, content, source, _mode(table), f"{user}:{group or user}")


def _mode(table: _Table) -> int:
    value = table.values.get("mode", "0644")
    if type(value) is not int:
        return int(table.string("mode", MODE, "0644") or "0", 8)
    # TOML hands over 644 and 0o1204 as the same number; only the text tells a forgotten 0o from a mode.
    text = table.problems.text.replace("_", "")
    if value not in MODES or not re.search(rf"\b0o0*{value:o}\b", text):
        table.problem("mode", f"{table.label('mode')} must be {MODE.name} or 0o644, found another integer")
    return value


def _version(top: _Table) -> str:
    version = top.string("version", VERSION, "{date}")
    for placeholder in dict.fromkeys(re.findall(r"\{[^{}]*\}|[{}]", version)):
        if placeholder != "{date}":
            top.problem("version", f"'version' has the unknown placeholder {placeholder!r}; there is only '{{date}}'")
    return version


def _metadata(top: _Table) -> Mapping[str, str]:
    values = top.values.get("metadata", {})
    if not isinstance(values, dict):
        top.problem("metadata", f"'metadata' must be a table, found {_describe(values)}")
        return {}
    table = _Table(values, top.problems, ("metadata",), " of [metadata]")
    metadata = {}
    for key, value in values.items():
        if not METADATA_KEY.fullmatch(key):
            table.problem(key, f"{table.label(key)} must be made of letters, digits, '.', '_' and '-'")
        if isinstance(value, bool):
            metadata[key] = str(value).lower()
        elif isinstance(value, int) and value in INTEGERS:
            metadata[key] = str(value)
        elif isinstance(value, str) and "\0" not in value:
            metadata[key] = value
        else:
            expected = "a string, a boolean or an integer of 64 bits"
            table.problem(key, f"{table.label(key)} must be {expected}, found {_describe(value)}")
    return metadata


class _Problems:
    """What is wrong with a text, as (line, message); line 0 stands for a line that is not known."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = _key_lines(text)
        self.found: list[tuple[int, str]] = []

    def add(self, where: _Where, message: str) -> None:
        """A key without a line of its own (absent, or in an inline table) gets that of what encloses it."""
        enclosing = (self.lines.get(where[:depth]) for depth in range(len(where), 0, -1))
        self.found.append((next(filter(None, enclosing), 0), message))


class _Table:
    """A table being read: a wrong value becomes a problem, and something of the right type in its stead."""

    def __init__(self, values: dict[str, Any], problems: _Problems, where: _Where = (), suffix: str = "") -> None:
        self.values = values
        self.problems = problems
        self.where = where
        self.suffix = suffix

    def label(self, key: str) -> str:
        return f"{key!r}{self.suffix}"

    def problem(self, key: str, message: str) -> None:
        self.problems.add((*self.where, key), message)

    def reject_unknown(self, known: frozenset[str]) -> None:
        later = frozenset() if self.where else UNSUPPORTED_KEYS
        for key in self.values.keys() - known:
            if key in later:
                self.problem(key, f"key {self.label(key)} is not supported by this version")
                continue
            near = difflib.get_close_matches(key, sorted(known | later), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.problem(key, f"unknown key {self.label(key)}{hint}")

    def string(self, key: str, form: _Form, default: str | None = None) -> str:
        """The string ``key``; without a default it must be there."""
        if key in self.values:
            return self._checked(key, self.label(key), self.values[key], form)
        if default is None:
            self.problem(key, f"key {self.label(key)} is missing")
        return default or ""

    def strings(self, key: str, form: _Form, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        if key not in self.values:
            return default
        items = enumerate(self.items(key), 1)
        checked = [self._checked(key, f"entry {n} of {self.label(key)}", item, form) for n, item in items]
        return tuple(filter(None, checked))

    def items(self, key: str) -> list[Any]:
        value = self.values.get(key, [])
        if isinstance(value, list):
            return value
        self.problem(key, f"{self.label(key)} must be a list, found {_describe(value)}")
        return []

    def boolean(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self.problem(key, f"{self.label(key)} must be true or false, found {_describe(value)}")
        return value is True

    def _checked(self, key: str, label: str, value: Any, form: _Form) -> str:
        if isinstance(value, str) and form.pattern.fullmatch(value):
            return value
        self.problem(key, f"{label} must be {form.name}, found {_describe(value)}")
        return ""


def _keys(kind: type[File] | type[Manifest]) -> frozenset[str]:
    return frozenset(each.name.replace("_", "-") for each in dataclasses.fields(kind))


def _describe(value: Any) -> str:
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


def _key_lines(text: str) -> dict[_Where, int]:
    """Where the keys of a valid TOML text stand, counted from 1.

    Only a key that begins a line is found, not one in an inline table, and only without escapes in it.
    """
    # A long string may hold a file full of lines that look like keys.
    text = _TOKEN.sub(lambda token: "\n" * token[0].count("\n") if token["long"] else token[0], text)
    lines: dict[_Where, int] = {}
    table: _Where = ()
    arrays: dict[_Where, int] = {}
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


def _invalid(origin: Path, problems: Iterable[tuple[int, str]]) -> ManifestError:
    return ManifestError(
        f"manifest {origin} is not valid",
        "\n".join(f"line {line}: {message}" if line else message for line, message in sorted(problems)),
        "Correct the manifest and run the command again.",
    )
