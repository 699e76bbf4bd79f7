"""The manifest: the TOML file that says what goes into a base commit.

``parse`` takes text and touches no file; ``load`` reads one. Every problem of a manifest is reported at once,
each with its line, so that all can be corrected at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ManifestError
from ..tools import apt_sources
from .tables import INTEGERS, TEXT, Source, Table, describe, form

# Keys that the manifest format has, but that nothing here acts on: to ignore one would build the wrong image.
UNSUPPORTED_KEYS = frozenset([
    "debconf", "default-target", "hostname", "include", "locale", "remove-files", "sources", "timezone",
    "units-disable", "units-enable", "users",
])  # fmt: skip

# A commit's /var is at best a seed for the first boot; the others are mounted over at run time.
UNSHIPPABLE = re.compile(r"/(?:dev|proc|run|sys|var)(?=/|\Z)")

MODES = range(0o10000)


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


# Debian policy 5.6.1 (names), 5.6.8 (architectures), 5.6.12 (versions); apt-get(8) for how they combine.
_NAME = r"[a-z0-9][a-z0-9+.-]+"
_ARCH = r"[a-z0-9][a-z0-9-]*"
_SUITE = r"[a-z0-9][a-z0-9.-]*"
_VERSION = r"(?:[0-9]+:)?[0-9][A-Za-z0-9.+~-]*"
_DEB = r"[^\0]*/[^\0]*\.deb"
_REF = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_USER = r"[a-z_][a-z0-9_-]*"

ANY = form("a string", r".*")
# Stricter than ostree, which takes '..' for a part of a ref.
REF = form("an OSTree ref such as 'debian/13/x86_64'", rf"{_REF}(?:/{_REF})*")
SUITE = form("a suite such as 'trixie'", _SUITE)
ARCHITECTURE = form("a Debian architecture such as 'amd64'", _ARCH)
COMPONENT = form("a component such as 'main'", r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9._-]+)*")
# No '@': passwords belong in apt_auth.conf(5), a manifest gets published. A list of mirrors that is a file
# (mirror+file) may be changed by its owner while apt reads it.
_SCHEMES = "|".join(re.escape(name) for name in sorted(apt_sources.SCHEMES - {apt_sources.LIST}))
MIRROR = form("a URI such as 'https://mirror.example.org/debian', without a password", rf"(?:{_SCHEMES}):/[^\s@]+")
PACKAGE = form(
    "'name', 'name:arch', 'name=version', 'name/suite' or './file.deb'",
    rf"{_DEB}|{_NAME}(?::{_ARCH})?(?:={_VERSION}|/{_SUITE})?",
)
NAME = form("a package name", _NAME)
QUALIFIED = form("'name' or 'name:arch'", rf"{_NAME}(?::{_ARCH})?")
# The kernel splits at blanks outside of double quotes: its admin-guide/kernel-parameters.
KERNEL_ARG = form("one kernel argument", r'(?:[^\s"\0-\x1f\x7f-\x9f]|"[^"\0-\x1f\x7f-\x9f\u2028\u2029]*")+')
# A version ends up in the boot menu, one line an entry.
VERSION = form("one line of text", r"[^\0-\x1f\x7f]+")
PATH = form("an absolute path without '.', '..' or '//'", r"(?:/(?!\.{1,2}(?:/|\Z))[^/\0]+)+")
MODE = form('octal digits such as "0644"', r"0?[0-7]{3,4}")
OWNER = form("'user' or 'user:group'", rf"{_USER}(?::{_USER})?")
# ostree commit takes KEY=VALUE.
METADATA_KEY = re.compile(r"[A-Za-z0-9._-]+")


def load(path: Path) -> Manifest:
    """Read and check the manifest ``path``. Raises ManifestError, also for a file that cannot be read."""
    return parse(_source(path).read(), path)


def parse(text: str, origin: Path) -> Manifest:
    """The manifest that ``text`` holds.

    ``origin`` is the file it came from: messages name it, and relative paths start from its directory.
    Raises ManifestError, whose detail has a line for each problem, in the order of the file.
    """
    source = _source(origin)
    top = source.parse(text)
    top.reject_unknown(_keys(Manifest), UNSUPPORTED_KEYS)
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
    source.finish(top)
    return manifest


def _source(path: Path) -> Source:
    return Source(path, "manifest", ManifestError)


def _components(top: Table) -> tuple[str, ...]:
    components = top.strings("components", COMPONENT, ("main",))
    if top.values.get("components") == []:
        top.problem("components", "'components' must name at least one")
    return components


def _packages(top: Table, directory: Path) -> tuple[str, ...]:
    packages = [
        _with_slash(directory / item) if re.fullmatch(_DEB, item) else item for item in top.strings("packages", PACKAGE)
    ]
    for item, count in Counter(packages).items():
        if count > 1:
            top.problem("packages", f"'packages' has {item!r} more than once")
    return tuple(packages)


def _with_slash(path: Path) -> str:
    # Path drops a leading './', and without a slash the file would pass for the name of a package.
    return str(path) if "/" in str(path) else f"./{path}"


def _files(top: Table, directory: Path) -> tuple[File, ...]:
    files: dict[str, File] = {}
    for index, values in enumerate(top.items("files")):
        if not isinstance(values, dict):
            top.problem("files", f"entry {index + 1} of 'files' must be a table, found {describe(values)}")
            continue
        table = Table(values, top.problems, ("files", index), f" of [[files]] {index + 1}")
        file = _file(table, directory)
        if file.path and file.path in files:
            table.problem("path", f"{table.label('path')} is {file.path!r}, as in an earlier one")
        files[file.path] = file
    return tuple(files.values())


def _file(table: Table, directory: Path) -> File:
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


def _mode(table: Table) -> int:
    value = table.values.get("mode", "0644")
    if type(value) is not int:
        return int(table.string("mode", MODE, "0644") or "0", 8)
    # TOML hands over 644 and 0o1204 as the same number; only the text tells a forgotten 0o from a mode.
    text = table.problems.text.replace("_", "")
    if value not in MODES or not re.search(rf"\b0o0*{value:o}\b", text):
        table.problem("mode", f"{table.label('mode')} must be {MODE.name} or 0o644, found another integer")
    return value


def _version(top: Table) -> str:
    version = top.string("version", VERSION, "{date}")
    for placeholder in dict.fromkeys(re.findall(r"\{[^{}]*\}|[{}]", version)):
        if placeholder != "{date}":
            top.problem("version", f"'version' has the unknown placeholder {placeholder!r}; there is only '{{date}}'")
    return version


def _metadata(top: Table) -> Mapping[str, str]:
    values = top.values.get("metadata", {})
    if not isinstance(values, dict):
        top.problem("metadata", f"'metadata' must be a table, found {describe(values)}")
        return {}
    table = Table(values, top.problems, ("metadata",), " of [metadata]")
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
            table.problem(key, f"{table.label(key)} must be {expected}, found {describe(value)}")
    return metadata


def _keys(kind: type[File] | type[Manifest]) -> frozenset[str]:
    return frozenset(each.name.replace("_", "-") for each in dataclasses.fields(kind))
