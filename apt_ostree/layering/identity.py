"""The machine's own files in /etc: those that scripts make another of each time they run, such as a key or a name.

No package lists such a file, and no commit may have it in /etc: every new layer would exchange it. Whether a file is
one is found out by a second run of the scripts (again.py): what comes out different is the machine's own. Two kinds of
files need no second run: what a deployment has as the machine's own already, and what it has in /usr/etc with the same
content, from an earlier run.

The first that was made for a machine is kept in each of its layers, beside /etc, and delivered where it is missing.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..host.door import Tree
from ..tree import state, units
from . import overlay
from .base import ETC

TEMPLATES = "usr/lib/apt-ostree/identity"
"""What is delivered, by the same path. Only root can enter it: there are keys in it."""

_INFO = f"{state.SYSIMAGE}/dpkg/info"
_DERIVED = re.compile(
    r"(passwd|group|shadow|gshadow|subuid|subgid)-?|\.pwd\.lock|ld\.so\.cache|machine-id|alternatives/.*|ssl/certs/.*"
)
"""Files of /etc that other rules are about: accounts, and what tools compute from other files. They change with each
layer, and would be tried again each time."""


@dataclass(frozen=True, slots=True)
class Made:
    """The files that the scripts of a layer made in /etc: paths below it that neither the base nor a package has."""

    base: Path
    listed: frozenset[str]
    """The paths that the layer's packages have, without the slash at their start."""
    files: tuple[str, ...]

    def top(self, name: str) -> str:
        """The highest directory above a file that scripts made, too; else the file. A part of what belongs together
        is worthless."""
        base = Tree(self.base)
        parts = name.split("/")
        for count in range(1, len(parts)):
            inner = "/".join(parts[:count])
            if f"etc/{inner}" not in self.listed and not base.has(f"{ETC}/{inner}"):
                return inner
        return name

    def tops(self, names: Iterable[str]) -> list[str]:
        """The same of several, each once."""
        return without_inner({self.top(name) for name in names})


@dataclass(frozen=True, slots=True)
class Different:
    """The files that came out different in a second run."""

    content: frozenset[str] = frozenset()
    name: frozenset[str] = frozenset()
    """Those that were not made, but others beside them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What of a layer is the machine's own: paths below /etc, of files, or of directories with all that is in them."""

    fresh: frozenset[str] = frozenset()
    """Those that this layer's scripts made first."""
    kept: Mapping[str, Path] = field(default_factory=dict)
    """Those that the machine has already, each with the deployment whose template it is."""
    dropped: frozenset[str] = frozenset()
    """Those that scripts made under another name although the machine has one already."""

    @property
    def names(self) -> list[str]:
        return sorted({*self.fresh, *self.kept})


def made(base: Path, layers: Sequence[Path]) -> Made:
    """Return what the scripts of ``layers`` made in /etc, but for what other rules are about."""
    listed = frozenset(_listed(layers))
    tree, found = Tree(base), set[str]()
    for layer in layers:
        for entry in Tree(layer).walk(ETC):
            name = entry.name.removeprefix(f"{ETC}/")
            if entry.is_file and not (f"etc/{name}" in listed or _has_other_rules(name) or tree.has(entry.name)):
                found.add(name)
            elif overlay.is_whiteout(entry.status):
                # dpkg unpacks a conffile under another name, and renames it in a later round.
                found -= {inner for inner in found if is_below(inner, name)}
    return Made(base, listed, tuple(sorted(found)))


def recognise(
    found: Made, layers: Sequence[Path], deployed: Sequence[Path], again: Callable[[Sequence[str]], Different]
) -> Identity:
    """Find the machine's own files among those that were made.

    ``deployed`` are the machine's deployments, the one that boots next first; ``again`` runs the scripts a second time,
    and is asked only where the answer is not known.
    """
    known = _known(deployed)
    kept = {name for name in known if any(is_below(file, name) for file in found.files)}
    unknown = [name for name in found.files if not any(is_below(name, top) for top in kept)]
    if deployed:
        # A file that is another than before can be so for any reason; one that is the same was made twice the same.
        unknown = [name for name in unknown if not _is_as_deployed(layers, Tree(deployed[0]), name)]
    different = again(unknown) if unknown else Different()
    # Of what has a random name, too, the machine has the one of an earlier run.
    earlier = known.keys() - kept
    dropped = {name for name in different.name if any(_are_beside(name, other) for other in earlier)}
    kept |= {other for other in earlier if any(_are_beside(name, other) for name in dropped)}
    fresh = found.tops((different.content | different.name) - dropped)
    return Identity(frozenset(fresh), {name: known[name] for name in sorted(kept)}, frozenset(dropped))


def take_out(identity: Identity, layers: Iterable[Path]) -> None:
    """Remove from the layers' /etc what is the machine's own."""
    for layer in map(Tree, layers):
        for name in (*identity.names, *identity.dropped):
            layer.remove(f"{ETC}/{name}")


def write(identity: Identity, fresh: Path, top: Path, name: str) -> None:
    """Put the templates, and their list of this name, into the layer ``top``; those that are new are in ``fresh``."""
    if not identity.names:
        return
    tree = Tree(top)
    state.write_file(tree, f"{state.IDENTITY}/{name}", "".join(f"{state.escape(path)}\n" for path in identity.names))
    tree.make_directory(TEMPLATES, 0o700)
    for path, deployment in identity.kept.items():
        copy(Tree(deployment), f"{TEMPLATES}/{path}", tree, f"{TEMPLATES}/{path}")
    for path in sorted(identity.fresh):
        copy(Tree(fresh), path, tree, f"{TEMPLATES}/{path}")


def copy(source: Tree, name: str, target: Tree, to: str) -> None:
    """Copy a file, or a directory with all that is in it but what is no file, directory or link."""
    if above := os.path.dirname(to):
        target.make_directory(above)
    target.copy(source, name, to)
    for entry in source.walk(name):
        if entry.is_file or entry.is_link or entry.is_directory:
            target.copy(source, entry.name, f"{to}{entry.name.removeprefix(name)}")


def is_below(name: str, top: str) -> bool:
    """True for a name itself, and for what lies below it."""
    return name == top or name.startswith(f"{top}/")


def without_inner(names: Collection[str]) -> list[str]:
    """The names that lie below no other, sorted."""
    found: list[str] = []
    for name in sorted(names, key=lambda name: name.split("/")):
        if not (found and is_below(name, found[-1])):
            found.append(name)
    return found


def _listed(layers: Iterable[Path]) -> Iterable[str]:
    for layer in map(Tree, layers):
        for name in layer.names(_INFO):
            if name.endswith(".list"):
                yield from (line.lstrip("/") for line in (layer.text(f"{_INFO}/{name}") or "").split("\n"))


def _has_other_rules(name: str) -> bool:
    """True for what is derived, and for the keys that are in no layer at all (units.py)."""
    keys = units.IDENTITY[ETC]
    return bool(_DERIVED.fullmatch(name)) or any(fnmatch.fnmatchcase(name, pattern) for pattern in keys)


def _known(deployed: Iterable[Path]) -> dict[str, Path]:
    """What deployments have as the machine's own, each with the first of them that has a template."""
    known: dict[str, Path] = {}
    for place in deployed:
        tree = Tree(place)
        for name in tree.names(state.IDENTITY):
            for line in (tree.text(f"{state.IDENTITY}/{name}") or "").split("\n"):
                path = state.unescape(line)
                if path and tree.has(f"{TEMPLATES}/{path}"):
                    known.setdefault(path, place)
    return known


def _is_as_deployed(layers: Sequence[Path], deployed: Tree, name: str) -> bool:
    """True if the topmost layer that has a file of /etc has the one that is deployed."""
    place = f"{ETC}/{name}"
    layer = next((layer for layer in map(Tree, reversed(layers)) if layer.has(place)), None)
    return layer is not None and layer.has_same_content(place, deployed, place)


def _are_beside(name: str, other: str) -> bool:
    return os.path.dirname(name) == os.path.dirname(other)
