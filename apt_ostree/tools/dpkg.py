"""dpkg's database of a tree, and the order of versions: text in, values out.

Versions stay strings: debian-inspector orders them. It rejects some that exist in the wild (``12.2.0-14+deb12u1+``),
and takes minutes for very long ones: there the same order is computed here. Whoever names a thing chooses how many
there are to compare, so no child process is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path

from ..errors import TreeError
from ..host.door import Tree
from ..model import Package
from ..numbers import decimal
from ..text import lines

DATABASES = ("usr/lib/sysimage/dpkg", "usr/share/dpkg/database", "var/lib/dpkg")
"""Directories in which a tree may keep its dpkg database, relative to its root; the first is ours."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A stanza of dpkg's status file (dpkg(1), deb-control(5)); field names are lower case."""

    package: Package
    status: str
    fields: Mapping[str, str]

    @property
    def installed_size(self) -> int:
        """Bytes on disk, as the maintainer estimated them."""
        return (decimal(self.fields.get("installed-size", "")) or 0) * 1024


def parse_stanzas(text: str) -> Iterator[dict[str, str]]:
    """Split deb822 text (deb822(5)) into stanzas with lower-case field names, continuation lines kept."""
    stanza: dict[str, list[str]] = {}
    key = ""
    for line in [*text.split("\n"), ""]:
        if not line.strip(" \t\r"):
            if stanza:
                yield {name: "\n".join(value) for name, value in stanza.items()}
            stanza, key = {}, ""
        elif line[0] in " \t":
            if key:
                stanza[key].append(line)
        elif line[0] != "#":
            name, _, value = line.partition(":")
            key = name.lower()
            stanza[key] = [value.strip()]


PACKAGES_MAX = 100_000
"""Packages of a dpkg database; Debian has some 70,000 for an architecture."""


def parse_status(text: str) -> list[Installed]:
    """The packages of a status file that are installed in any state with files (not "config-files"). Stanzas without a
    name or a version are left out: dpkg itself reads no such file. Raises TreeError for more than any system has."""
    found = []
    for count, fields in enumerate(parse_stanzas(text)):
        if count == PACKAGES_MAX:
            raise TreeError("the list of packages is too long", f"dpkg's status has more than {PACKAGES_MAX}")
        state = fields.get("status", "").split()
        if (
            len(state) == 3
            and state[2] not in {"not-installed", "config-files"}
            and {"package", "version"} <= fields.keys()
        ):
            package = Package(fields["package"], fields["version"], fields.get("architecture", "all"))
            found.append(Installed(package, state[2], fields))
    return found


def database(tree: Path) -> Path:
    """The directory of a tree's dpkg database, with no link on the way there. Raises TreeError when the tree has
    none."""
    return tree / _database(Tree(tree))


def _database(tree: Tree) -> str:
    for name in DATABASES:
        if (found := tree.find(name)) is not None and tree.has_file(f"{found}/status"):
            return found
    raise TreeError(
        "the base has no dpkg database",
        f"none of {', '.join('/' + name for name in DATABASES)} holds a status file",
        "apt-ostree layers packages on images of Debian only; compose one with 'apt-ostree compose tree'.",
    )


def installed(tree: Path) -> list[Installed]:
    """Return what a tree's database says is installed, sorted. Raises TreeError."""
    root = Tree(tree)
    text = root.text(f"{_database(root)}/status") or ""
    return sorted(parse_status(text), key=lambda entry: entry.package)


def architectures(tree: Path, packages: Iterable[Package]) -> tuple[str, ...]:
    """The native architecture of a tree with these packages, then the foreign ones that dpkg was told of.

    Raises TreeError where dpkg is not among the packages.
    """
    own = native(packages)
    if not own:
        raise TreeError("the base has no dpkg", "its database does not list the package dpkg")
    root = Tree(tree)
    names = (root.text(f"{_database(root)}/arch") or "").split()
    return (own, *(name for name in names if name != own))


def native(packages: Iterable[Package]) -> str:
    """The native architecture of a system with these packages: that of dpkg itself; empty where it is not there."""
    return next((package.architecture for package in packages if package.name == "dpkg"), "")


_VERSION = re.compile(r"(?:(?P<epoch>[0-9]+):)?(?P<upstream>[0-9A-Za-z.+~:-]*?)(?:-(?P<revision>[0-9A-Za-z.+~]*))?")
"""The parts of any version (policy 5.6.12): the last hyphen is before the revision."""

_LIBRARY_MAX = 64
"""Characters of a version that the library compares; its time grows with the square."""


def compare_versions(a: str, b: str) -> int:
    """-1, 0 or 1: the order of Debian versions (policy 5.6.12). What is not a version comes before all that are."""
    from debian_inspector.version import Version

    if a == b:
        return 0
    if max(len(a), len(b)) <= _LIBRARY_MAX:
        with suppress(ValueError):
            return int(Version.from_string(a).compare(Version.from_string(b)))
    one, two = _order(a), _order(b)
    if one is None and two is None:
        return 1 if a > b else -1
    if one is None or two is None:
        return -1 if one is None else 1
    return (one > two) - (one < two)


def _order(version: str) -> tuple[int, ...] | None:
    """Numbers that compare as a version does; None if the text is not a version."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return None
    parts = (match["epoch"] or "", match["upstream"], match["revision"] or "")
    return tuple(number for part in parts for number in _part_order(part))


def _part_order(part: str) -> Iterator[int]:
    """Of one part: the weights of a run of other characters, and a number as its length and digits, in turns.

    A tilde weighs less than the end of a run, which is 0, the end less than a letter, a letter less than the rest.
    """
    pairs = re.findall(r"([^0-9]*)([0-9]*)", part)
    # The last pair is empty, for the end of the part; a part of nothing equals a zero.
    for run, digits in pairs if part else [*pairs, *pairs]:
        yield from (-1 if mark == "~" else ord(mark) if mark.isalpha() else ord(mark) + 256 for mark in run)
        yield 0
        number = digits.lstrip("0")
        yield len(number)
        yield from map(ord, number)


version_key = cmp_to_key(compare_versions)


def identity(fields: Mapping[str, str]) -> Package:
    """The package that a control stanza describes."""
    return Package(fields["package"], fields["version"], fields["architecture"])


_IDENTITY = {
    # Not with a minus at its end: for apt-get(8) that takes a package out.
    "Package": re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.]"),
    # dpkg holds an epoch in an int.
    "Version": re.compile(r"(?:[0-9]{1,9}:[0-9][A-Za-z0-9.+:~-]*|[0-9][A-Za-z0-9.+~-]*)"),
    "Architecture": re.compile(r"[a-z0-9][a-z0-9-]*"),
}
"""The form of the fields that reach command lines and paths (policy 5.6.1, 5.6.7, 5.6.8 and 5.6.12)."""

_IDENTITY_MAX = 200
"""Characters of the three together: a file name, which they make up, has 255 bytes."""


def problem(package: Package) -> str | None:
    """The problem of a package whose name, version or architecture policy does not allow; None where it has none.

    They become parts of command lines and paths: who wants to layer a package of others asks here first.
    """
    values = package.name, package.version, package.architecture
    for (field, form), value in zip(_IDENTITY.items(), values, strict=True):
        if not form.fullmatch(value):
            return f"{value[:60]!r} is not valid in the field {field}"
    if sum(map(len, values)) > _IDENTITY_MAX:
        return f"its name, version and architecture have more than {_IDENTITY_MAX} characters"
    return None


Info = Callable[[str], str | None]
"""Reads a file of a database's directory ``info`` by its name; None where there is none."""


def file_list(info: Info, package: Package) -> list[str]:
    """The paths a package owns, as its .list file names them; empty when the database has none."""
    return lines(_info(info, package, "list") or "")


def diverted(tree: Path) -> set[str]:
    """The paths that packages give another name (dpkg-divert(1)): of each three lines the first."""
    root = Tree(tree)
    listing = root.text(f"{_database(root)}/diversions")
    return set() if listing is None else set(listing.split("\n")[::3])


def scripts(info: Info, package: Package) -> dict[str, str]:
    """The maintainer scripts of an installed package, by name (policy 6)."""
    found = ((name, _info(info, package, name)) for name in ("preinst", "postinst", "prerm", "postrm", "config"))
    return {name: text for name, text in found if text is not None}


def _info(info: Info, package: Package, kind: str) -> str | None:
    """What the database has of that kind about a package: a package of several architectures is named with its own."""
    stems = (f"{package.name}:{package.architecture}", package.name)
    return next((text for stem in stems if (text := info(f"{stem}.{kind}")) is not None), None)
