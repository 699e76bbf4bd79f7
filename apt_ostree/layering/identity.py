"""The machine's own files: those that scripts make another of each time they run, such as a key or a name.

No package lists such a file, and no commit may have it: every machine of an image would have the same, and every new
layer would exchange it. Whether a file is one is found out by a second run of the scripts (again.py): what comes out
different is the machine's own. It is left out, and the tree says which package makes it; at a boot, make-identity has
that package's script make what is missing. Two kinds of files need no second run: what a deployment's list names for
the same package, and what it has in /usr/etc with the same content, from an earlier run.

In /var that is asked when an image is composed. What a layer brings there is in no image, and OSTree exchanges none of
it. Files of /etc have their names below it here, as in the lists, and those of /var their whole paths.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ..host.door import Tree, at_and_above, is_name
from ..tree import follow, shipped, state, units, users
from . import overlay
from .base import ETC

_DERIVED = re.compile(
    r"(passwd|group|shadow|gshadow|subuid|subgid)-?|\.pwd\.lock|ld\.so\.cache|machine-id"
    r"|ssl/certs/(ca-certificates\.crt|java/cacerts)"
)
"""Files of /etc that other rules are about: accounts, and what tools compute from other files. They change with each
layer, and would be tried again each time. (Links, as in alternatives, are no files.)"""


VAR = "/var/"

_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,255}")
"""What a user's or group's name, or number, looks like in a list."""


def place(name: str) -> str:
    """Where a tree has the machine's own file of this name, or its template."""
    return f"{state.FACTORY}/{name.removeprefix(VAR)}" if name.startswith(VAR) else f"{ETC}/{name}"


@dataclass(frozen=True, slots=True)
class Made:
    """The files that the scripts of a layer, or of an image, made: those that neither the base nor a package has."""

    base: Path
    listed: frozenset[str]
    """Those of the paths in /etc and /var that the packages have, without the slash at their start."""
    files: tuple[str, ...]

    def top(self, name: str) -> str:
        """The highest directory above a file that scripts made, too; else the file. A part of what belongs together
        is worthless."""
        base = Tree(self.base)
        above = [inner for inner in [*at_and_above(name)][:0:-1] if f"{inner}/" not in ("/", VAR)]
        for inner in above:
            if _as_listed(inner) not in self.listed and not base.has(place(inner)):
                return inner
        return name

    def tops(self) -> list[str]:
        """The same of all files, each once."""
        return without_inner({self.top(name) for name in self.files})


@dataclass(frozen=True, slots=True)
class Different:
    """The files that came out different in a second run."""

    content: frozenset[str] = frozenset()
    name: frozenset[str] = frozenset()
    """Those that were not made, but others beside them."""
    makers: Mapping[str, str] = field(default_factory=dict)
    """The package, as NAME:ARCHITECTURE, whose script made what is at a path of ``Made.tops``."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What of a layer is the machine's own."""

    makers: Mapping[str, str] = field(default_factory=dict)
    """Names, each with the package that makes it: of a file, of a directory with all that is in it, or, with
    a slash at its end, of a directory in which something has a random name."""
    left_out: frozenset[str] = frozenset()
    """The files and directories that the scripts of this layer made of it."""


def made(base: Path, layers: Sequence[Path], in_var: Collection[str] = ()) -> Made:
    """Return what the scripts of ``layers`` made in /etc, but for what other rules are about.

    ``in_var`` are the paths below /var that scripts made there and that are asked about, too.
    """
    tree, found, names = Tree(base), set[str](), set[str]()
    for layer in layers:
        here, gone = set[str](), set[str]()
        for entry in Tree(layer).walk(ETC):
            name = entry.name.removeprefix(f"{ETC}/")
            names.add(f"etc/{name}")
            if entry.is_file and not (_has_other_rules(name) or tree.has(entry.name)):
                here.add(name)
            elif overlay.is_whiteout(entry.status):
                gone.add(name)
        # dpkg unpacks a conffile under another name, and renames it in a later round.
        found = {name for name in found if gone.isdisjoint(at_and_above(name))} | here
    listed = shipped.listed(layers[::-1], names)
    files = {name for name in found if f"etc/{name}" not in listed} | {f"{VAR}{name}" for name in in_var}
    ways = {inner for name in in_var for inner in at_and_above(name)}
    listed |= {f"var/{name}" for name in follow.listed(layers[::-1], ways)}
    return Made(base, listed, tuple(sorted(files)))


def recognise(
    found: Made,
    layers: Sequence[Path],
    deployed: Path | None,
    booted: Path | None,
    packages: Collection[str],
    again: Callable[[Sequence[str]], Different],
) -> Identity:
    """Find the machine's own files among those that were made by the scripts of ``packages`` (NAME:ARCHITECTURE).

    ``deployed`` is the deployment that boots next, ``booted`` the one that runs, whose lists alone are believed: those
    of one that never booted may be of a package that is gone, and say something of another's file. ``again`` runs the
    scripts a second time, and is asked only where the answer is not known.
    """
    known = {path: package for path, package in (_known(booted) if booted else {}).items() if package in packages}
    makers, left_out, unknown = dict[str, str](), set[str](), list[str]()
    for name in found.files:
        path = next((path for path in (f"{os.path.dirname(name)}/", *at_and_above(name)) if path in known), None)
        if path is None:
            unknown.append(name)
            continue
        top = name if path.endswith("/") else max(path, found.top(name), key=len)
        makers[path if path.endswith("/") else top] = known[path]
        left_out.add(top)
    if deployed:
        # A file that is another than before can be so for any reason; one that is the same was made twice the same.
        unknown = [name for name in unknown if not _is_as_deployed(layers, Tree(deployed), name)]
    different = again(unknown) if unknown else Different()
    for name in sorted(different.content | different.name):
        top = found.top(name)
        path = f"{os.path.dirname(name)}/" if top == name and name in different.name else top
        # What cannot be made again by a package's script stays. So does a random name right in /etc, a leftover; and in
        # /var, where a boot cannot tell it from what programs put beside it.
        if top in different.makers and path != "/" and not (path.startswith(VAR) and path.endswith("/")):
            makers[path] = different.makers[top]
            left_out.add(top)
    return Identity(makers, frozenset(left_out))


def take_out(identity: Identity, layers: Iterable[Path]) -> None:
    """Remove from the layers' /etc, and from an image's templates for /var, what is the machine's own."""
    of_var = {name.removeprefix(VAR) for name in identity.left_out if name.startswith(VAR)}
    for layer in layers:
        for name in sorted(identity.left_out):
            Tree(layer).remove(place(name))
        if of_var:
            paths = (path for path in state.listed(Tree(layer)) if not of_var.isdisjoint(at_and_above(path)))
            state.forget(layer, layer, frozenset(paths))


def described(identity: Identity, layers: Sequence[Path], accounts: users.Accounts) -> dict[str, str]:
    """The mode, user and group, "MODE:USER:GROUP", of each file and directory that is the machine's own, as scripts
    left it: one package's script may give another's key to a user, and only its maker's runs at a boot."""
    names = [{words[2]: name for name, words in table.items()} for table in (accounts.passwd, accounts.group)]
    found = {}
    for path in identity.makers:
        layer = next((layer for layer in map(Tree, reversed(layers)) if layer.has(place(path))), None)
        status = layer.status(place(path)) if layer is not None and not path.endswith("/") else None
        if status is not None and not stat.S_ISLNK(status.st_mode):
            # A number moves to where its name has it on a machine.
            owners = (str(number) for number in (status.st_uid, status.st_gid))
            known = [table.get(number, number) for table, number in zip(names, owners, strict=True)]
            if all(map(_ACCOUNT.fullmatch, known)):
                found[path] = f"{stat.S_IMODE(status.st_mode):04o}:{':'.join(known)}"
    return found


def write(identity: Identity, top: Path, name: str, described: Mapping[str, str] = MappingProxyType({})) -> None:
    """Put the list, under this name, into the layer ``top``."""
    if identity.makers:
        lines = [
            " ".join([package, state.escape(path), *([described[path]] if path in described else [])]) + "\n"
            for path, package in sorted(identity.makers.items())
        ]
        state.write_file(Tree(top), f"{state.IDENTITY}/{name}", "".join(lines))


def without_inner(names: Collection[str]) -> list[str]:
    """The names that lie below no other, sorted."""
    found: list[str] = []
    for name in sorted(names, key=state.parents_first):
        if not (found and (name == found[-1] or name.startswith(f"{found[-1]}/"))):
            found.append(name)
    return found


def _as_listed(name: str) -> str:
    return name[1:] if name.startswith(VAR) else f"etc/{name}"


def _has_other_rules(name: str) -> bool:
    """True for what is derived, and for the keys that are in no layer at all (units.py)."""
    keys = units.IDENTITY[ETC]
    return bool(_DERIVED.fullmatch(name)) or any(fnmatch.fnmatchcase(name, pattern) for pattern in keys)


def _known(deployment: Path) -> dict[str, str]:
    """What the lists of a deployment name as the machine's own, and the packages that make it."""
    tree, known = Tree(deployment), dict[str, str]()
    for name in tree.names(state.IDENTITY):
        for line in (tree.text(f"{state.IDENTITY}/{name}") or "").split("\n"):
            package, _, rest = line.partition(" ")
            path = state.unescape(rest.partition(" ")[0])
            # Those of /var are an image's.
            if is_name(path.removesuffix("/")):
                known.setdefault(path, package)
    return known


def _is_as_deployed(layers: Sequence[Path], deployed: Tree, name: str) -> bool:
    """True if the topmost layer that has a file of /etc has the one that is deployed."""
    layer = next((layer for layer in map(Tree, reversed(layers)) if layer.has(place(name))), None)
    return layer is not None and layer.has_same_content(place(name), deployed, place(name))
