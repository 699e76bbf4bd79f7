"""The metadata of commits, which tells how a layer or a base was made. Its keys are written and read here alone.

Values are strings; those of several parts are JSON. Layers of earlier versions lack some keys: their readers say what
is taken then. Anybody can make a commit that says anything here: each reader checks the form of what it returns, and
nobody reads a layer's keys in a base (``as_base``). docs/design.md, "On disk", lists the keys; docs/threats.md says
what a lie in one of a base's keys does.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ToolError, UsageError
from ..inputs import kargs
from ..model import CommitInfo, Package, Plan, Solved, is_sha256
from ..numbers import decimal
from ..tools import dpkg

VERSION = "version"
BOOTABLE = "ostree.bootable"
KERNEL = "ostree.linux"
"""ostree's own keys: the version that a boot menu shows, and the kernel that boots."""

END_OF_LIFE = "ostree.endoflife"
SUCCESSOR = "ostree.endoflife-rebase"
"""ostree's own keys of a base: why no newer one comes, and the ref to follow instead."""

PACKAGES = "apt-ostree.pkglist"
KERNEL_ARGUMENTS = "apt-ostree.kernel-args"
"""Keys of bases; a layer repeats the first for all that it has, and takes the others over."""

LAYER = "apt-ostree.clientlayer"
ENGINE = "apt-ostree.engine"
UID = "apt-ostree.uid"
COMMAND = "apt-ostree.command"
REQUESTS = "apt-ostree.packages"
LEFT_OUT = "apt-ostree.left-out"
REMOVED = "apt-ostree.removed-base-packages"
REPLACED = "apt-ostree.replaced-base-packages"
LOCK = "apt-ostree.lock"
"""Keys of layers."""

_OF_LAYERS = {LAYER, ENGINE, UID, COMMAND, REQUESTS, LEFT_OUT, REMOVED, REPLACED, LOCK}

SIZE_MAX = 1 << 50
"""Bytes; more than any package has."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The metadata of a layer, except for the keys that it takes over from its base."""

    engine: str
    uid: int
    """The user who asked, also behind sudo; ``command`` are the words of the command line."""
    command: Sequence[str]
    requests: Sequence[str]
    plan: Plan
    present: Sequence[Package]
    """All packages that the tree has."""
    kernel: str | None
    """The kernel that boots, where the layer has one of its own."""


def of_layer(base: CommitInfo, layer: Layer) -> dict[str, str]:
    """The metadata of a layer over ``base``."""
    kept = {KERNEL, VERSION, KERNEL_ARGUMENTS}
    if base.metadata.get(BOOTABLE) == "true":
        kept.add(BOOTABLE)
    own = {} if layer.kernel is None else {BOOTABLE: "true", KERNEL: layer.kernel}
    plan = layer.plan
    return {
        **{key: value for key, value in base.metadata.items() if key in kept},
        **own,
        LAYER: "true",
        ENGINE: layer.engine,
        UID: str(layer.uid),
        COMMAND: shlex.join(layer.command),
        REQUESTS: json.dumps(list(layer.requests)),
        LEFT_OUT: json.dumps(plan.left_out),
        REMOVED: json.dumps([_identity(package) for package in plan.removed]),
        REPLACED: json.dumps([[_identity(old), _identity(new)] for old, new in plan.replaced]),
        LOCK: json.dumps(
            [[*_identity(s.package), s.sha256, s.size, s.installed_size, s.sources] for s in plan.packages]
        ),
        PACKAGES: json.dumps([_identity(package) for package in layer.present]),
    }


def of_base(
    version: str, present: Sequence[Package], kernel_arguments: Sequence[str], kernel: str | None
) -> dict[str, str]:
    """The metadata of a base; ``kernel`` is the one that boots, if it has any."""
    bootable = {} if kernel is None else {BOOTABLE: "true", KERNEL: kernel}
    return {
        VERSION: version,
        PACKAGES: json.dumps([_identity(package) for package in present]),
        KERNEL_ARGUMENTS: json.dumps(list(kernel_arguments)),
        **bootable,
    }


def is_layer(info: CommitInfo) -> bool:
    """True if the commit says that apt-ostree made it by laying packages over another one, its parent."""
    return info.metadata.get(LAYER) == "true"


def as_base(info: CommitInfo) -> CommitInfo:
    """The commit without what it says of a layer: its author may have published one as an image, or lie."""
    return replace(info, metadata={key: text for key, text in info.metadata.items() if key not in _OF_LAYERS})


def lock(info: CommitInfo) -> list[Solved]:
    """The exact packages that a layer is made of; none for a base. Raises ToolError, as all that read JSON here."""
    return [_solved(info, entry) for entry in _items(info, LOCK)]


def packages(info: CommitInfo) -> list[Package] | None:
    """All packages of the tree, sorted; None for a commit that does not list them. Raises ToolError."""
    if PACKAGES not in info.metadata:
        return None
    return sorted(_package(info, PACKAGES, entry) for entry in _items(info, PACKAGES))


def requests(info: CommitInfo) -> list[str]:
    """The names of what a layer was made for. Raises ToolError."""
    return _texts(info, REQUESTS)


def left_out(info: CommitInfo) -> list[str]:
    """The requests that no archive could fulfil when a layer was made. Raises ToolError."""
    return _texts(info, LEFT_OUT)


def removed(info: CommitInfo) -> tuple[Package, ...]:
    """The packages of the base that a layer took away. Raises ToolError."""
    return tuple(_package(info, REMOVED, entry) for entry in _items(info, REMOVED))


def replaced(info: CommitInfo) -> tuple[tuple[Package, Package], ...]:
    """The packages of the base that a layer replaced, each with what took its place. Raises ToolError."""
    found = []
    for pair in _items(info, REPLACED):
        if not isinstance(pair, list) or len(pair) != 2:
            raise _damaged(info, REPLACED, "it does not hold pairs of packages")
        found.append((_package(info, REPLACED, pair[0]), _package(info, REPLACED, pair[1])))
    return tuple(found)


def kernel_arguments(info: CommitInfo) -> list[str]:
    """The kernel arguments that the author of a base wants. Raises ToolError, also for those that a loader entry cannot
    hold: a newline in one would begin another of its keys."""
    words = _texts(info, KERNEL_ARGUMENTS)
    try:
        kargs.check([part for word in words for part in kargs.split(word) or [word]])
        kargs.check(words)
    except UsageError as error:
        raise _damaged(info, KERNEL_ARGUMENTS, f"{error.brief}: {error.detail}") from error
    return words


def version(info: CommitInfo) -> str:
    """The version, as a boot menu shows it. Raises ToolError for one that is not a line of text.

    ostree puts it into the title of the loader entry: a newline in it would begin another key, such as another kernel.
    """
    if not (info.version == "" or info.version.isprintable()):
        raise _damaged(info, VERSION, f"{info.version!r} is not a line of text")
    return info.version


def kernel(info: CommitInfo) -> str | None:
    """The version of the kernel that boots, as the commit says it."""
    return info.metadata.get(KERNEL)


def end_of_life(info: CommitInfo) -> str | None:
    """Why no newer base comes, in the author's words; None where newer ones may."""
    return info.metadata.get(END_OF_LIFE)


def successor(info: CommitInfo) -> str | None:
    """The ref that the author of a base at its end of life names instead."""
    return info.metadata.get(SUCCESSOR)


def command(info: CommitInfo) -> str | None:
    """The command that made a layer, quoted for a shell."""
    return info.metadata.get(COMMAND)


def uid(info: CommitInfo) -> int | None:
    """The user who made a layer."""
    return decimal(info.metadata.get(UID, ""))


def _identity(package: Package) -> list[str]:
    return [package.name, package.version, package.architecture]


def _items(info: CommitInfo, key: str) -> list[Any]:
    """The list under a key; empty where there is none."""
    text = info.metadata.get(key)
    if text is None:
        return []
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(info, key, str(error)) from error
    if not isinstance(value, list):
        raise _damaged(info, key, "it is not a list")
    return value


def _texts(info: CommitInfo, key: str) -> list[str]:
    items = _items(info, key)
    if not all(map(_is_text, items)):
        raise _damaged(info, key, "it does not hold strings")
    return items


def _is_text(value: object) -> bool:
    """True for a string that can be written: JSON may name halves of characters (surrogates) that no file can hold."""
    try:
        return isinstance(value, str) and value.encode(errors="surrogateescape") is not None
    except UnicodeEncodeError:
        return False


def _package(info: CommitInfo, key: str, entry: object) -> Package:
    if not (isinstance(entry, list) and len(entry) == 3 and all(map(_is_text, entry))):
        raise _damaged(info, key, "it does not name packages by name, version and architecture")
    return Package(*entry)


def _solved(info: CommitInfo, entry: object) -> Solved:
    if not isinstance(entry, list) or len(entry) not in {6, 7}:
        raise _damaged(info, LOCK, "an entry does not have six or seven parts")
    package = _package(info, LOCK, entry[:3])
    digest, size, installed, sources = *entry[3:6], entry[6] if len(entry) == 7 else ""
    if problem := dpkg.problem(package):
        raise _damaged(info, LOCK, problem)
    if not (is_sha256(digest) and _is_text(sources)):
        raise _damaged(info, LOCK, "an entry has no digest")
    if not all(type(number) is int and 0 <= number < SIZE_MAX for number in (size, installed)):
        raise _damaged(info, LOCK, "an entry has no sizes")
    return Solved(package, digest, size, installed, sources)


def _damaged(info: CommitInfo, key: str, why: str) -> ToolError:
    return ToolError(f"commit {info.checksum[:12]} has damaged metadata ({key})", why)
