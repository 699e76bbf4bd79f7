"""/var of a tree: what a commit carries instead of it.

OSTree never touches /var after the first deployment, so a commit must not contain any of it. Two things take its
place: state that belongs to /usr lives in /usr/lib/sysimage and is linked from /var; everything else becomes a
template in /usr/share/factory/var, and its path a line of a list. A unit of ours (seed-var) delivers each path of
the lists once. (systemd's own ``C`` lines would reset modes, skip directories that are not empty, and bring deleted
files back: tmpfiles.d(5).) Directories also have tmpfiles.d lines, which bring them back when they are missing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

from ..errors import TreeError
from ..host.files import copy_entry, remove_tree
from ..host.paths import beneath, make_beneath, walk

SYSIMAGE = "usr/lib/sysimage"
FACTORY = "usr/share/factory/var"
SEEDS = "usr/lib/apt-ostree/seeds.d"
TMPFILES = "usr/lib/tmpfiles.d"

LINKED = (
    "lib/dpkg",
    "cache/debconf",
    "lib/ucf",
    "lib/pam",
    "lib/dictionaries-common",
    "cache/dictionaries-common",
    "lib/ispell",
    "lib/aspell",
    "lib/sgml-base",
    "lib/xml-core",
    "lib/emacsen-common",
    "lib/dkms",
    "lib/systemd/deb-systemd-helper-enabled",
    "lib/systemd/deb-systemd-helper-masked",
    "lib/systemd/deb-systemd-user-helper-enabled",
    "lib/systemd/deb-systemd-user-helper-masked",
)
"""Directories of /var that describe /usr and must roll back with it."""

LINKED_FILES = ("lib/apt/extended_states",)
"""Files of that kind."""

_IGNORED = (
    "cache/apt", "cache/ldconfig", "lib/apt/lists", "lib/apt/periodic", "log/apt", "log/bootstrap.log",
    "log/dpkg.log", "log/alternatives.log", "lib/systemd/random-seed", "lib/apt-ostree", "tmp",
)  # fmt: skip
"""Records of the run itself, and caches that their tools make again."""


_SHARED = ("lib", "cache", "log", "spool", "mail", "opt", "local", "usrlocal", "home", "lib/misc", "lib/systemd")
"""Directories of many packages: a file right in one does not make it a program's state."""


def sysimage_name(linked: str) -> str:
    """The name below /usr/lib/sysimage of a LINKED directory: dpkg's and debconf's names are the plain ones."""
    stem = linked.partition("/")[2].rpartition("/")[2]
    return "dictionaries-common-cache" if linked == "cache/dictionaries-common" else stem


def state_tmpfiles() -> str:
    """The tmpfiles.d text that links LINKED from /var; it sorts first, apt ships a rule of its own."""
    lines = ["# State that must match /usr lives with it.\n"]
    for name in (*LINKED, *LINKED_FILES):
        depth = "../" * (name.count("/") + 1)
        for parent in _parents(name):
            if parent.startswith("lib/"):
                lines.append(f"d /var/{parent} :0755 :0 :0\n")
        lines.append(f"L+ /var/{name} - - - - {depth}{SYSIMAGE}/{sysimage_name(name)}\n")
    return "".join(dict.fromkeys(lines))


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def escape(path: str) -> str:
    """A path as tmpfiles.d(5) reads it: C escapes, and % doubled since it starts a specifier.

    It is also what printf(1) takes as its format, and has no control character: seed-var counts on both.
    """
    plain = path.replace("\\", "\\\\").replace("%", "%%")
    return re.sub(r"[\s\"'\x00-\x1f\x7f]", lambda match: "".join(f"\\{byte:03o}" for byte in match[0].encode()), plain)


def unescape(word: str) -> str:
    """The path that ``escape`` wrote."""
    raw = re.sub(
        rb"\\([0-7]{3}|\\)",
        lambda match: b"\\" if match[1] == b"\\" else bytes([int(match[1], 8)]),
        word.encode(errors="surrogateescape"),
    )
    return raw.decode(errors="surrogateescape").replace("%%", "%")


def populate(tree: Path, var: Path) -> None:
    """Make ``var`` what /var is on the first boot of ``tree``, for scripts to work on.

    Reads what this module wrote into the tree; a base of other makers gets the linked state alone, as far
    as it keeps its dpkg database where we do.
    """
    var.mkdir(exist_ok=True)
    var.chmod(0o755)
    ours = (tree / SYSIMAGE / "dpkg").is_dir()
    if ours:
        # First, as at boot: a line may name a directory that a list has, too.
        for name in _listed(tree):
            _deliver(tree / FACTORY, var, name)
    for name in ("lib", "cache", "log", "tmp", "lib/systemd"):
        (var / name).mkdir(exist_ok=True)
    (var / "tmp").chmod(0o1777)
    if not ours:
        return
    for name in (*LINKED, *LINKED_FILES):
        if (tree / SYSIMAGE / sysimage_name(name)).exists():
            place = var / name
            place.parent.mkdir(parents=True, exist_ok=True)
            # Absolute: the sandbox sees /var at a depth of its own, and it is never followed outside.
            place.symlink_to(f"/{SYSIMAGE}/{sysimage_name(name)}")
    for file in sorted((tree / TMPFILES).glob("00-apt-ostree*.conf")):
        obey(var, file.read_text(errors="surrogateescape").splitlines())


def _listed(tree: Path) -> list[str]:
    """The paths below /var that a tree's lists name, parents first."""
    lists = sorted((tree / SEEDS).glob("*"))
    lines = {line for file in lists for line in file.read_text(errors="surrogateescape").splitlines()}
    return _in_order(unescape(line) for line in lines)


def _in_order(names: Iterable[str]) -> list[str]:
    """Each directory before what is below it, and that before its next sibling."""
    return sorted(set(names), key=lambda name: name.split("/"))


def _deliver(factory: Path, var: Path, name: str) -> None:
    template, place = beneath(factory, name), var / name
    above = beneath(var, Path(name).parent)
    if template is None or above is None or above.is_symlink() or not above.is_dir() or os.path.lexists(place):
        return
    copy_entry(template, place)


def obey(var: Path, lines: Iterable[str]) -> None:
    """Make what tmpfiles.d lines of ours say about /var, where nothing is."""
    for line in lines:
        _obey(var, line.split(" "))


def _obey(var: Path, words: list[str]) -> None:
    if words[0] not in {"d", "L", "L+"} or not words[1].startswith("/var/"):
        return
    name = Path(unescape(words[1]).removeprefix("/var/"))
    # A line below a link (/var/run/x) would be made on the host.
    above = make_beneath(var, name.parent)
    if above is None or os.path.lexists(place := above / name.name):
        return
    if words[0] == "d":
        place.mkdir()
        mode, uid, gid = (word.lstrip(":") for word in words[2:5])
        os.lchown(place, int(uid), int(gid))
        place.chmod(int(mode, 8))
    else:
        place.symlink_to(unescape(words[6]))


Facts = tuple[int, int, int, int, int, bytes]
Snapshot = Mapping[str, Facts]


def snapshot(var: Path) -> Snapshot:
    """Return what ``var`` holds: path -> facts."""
    return {name: facts(path) for name, path in _entries(var)}


def facts(path: str | Path) -> Facts:
    """Mode, owner, group, size, time of change (the last two 0 for a directory) and xattrs of one entry."""
    status = os.lstat(path)
    content = (0, 0) if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    xattrs = b"".join(os.fsencode(name) + b"=" + os.getxattr(path, name, follow_symlinks=False) for name in names)
    return (status.st_mode, status.st_uid, status.st_gid, *content, xattrs)


def _entries(var: Path) -> Iterator[tuple[str, str]]:
    for entry in walk(var):
        name = os.path.relpath(entry.path, var)
        if not any(name == ignored or name.startswith(ignored + "/") for ignored in _IGNORED):
            yield name, entry.path


@dataclass(frozen=True, slots=True)
class Captured:
    """The forms in which a commit carries a /var: tmpfiles.d lines, and the paths that a list names, parents first."""

    lines: tuple[str, ...]
    paths: tuple[str, ...]


def capture(var: Path, before: Snapshot) -> Captured:
    """Return what is in ``var`` beyond ``before``, in the forms that a commit can carry.

    A new directory that holds a file itself is a program's state with all below it, which is whole or worthless: no
    tmpfiles.d line brings a part of it back.
    """
    lines: list[str] = []
    names: set[str] = set()
    whole: str | None = None
    for name, path in _entries(var):
        found = facts(path)
        mode, uid, gid = found[:3]
        if before.get(name) == found or _is_state_link(name, path) or not _can_be_carried(mode):
            continue
        names.update([*_parents(name), name])
        if not stat.S_ISDIR(mode) or (whole is not None and name.startswith(f"{whole}/")):
            continue
        if name not in before and name not in _SHARED and _holds_files(path):
            whole = name
        elif _is_safe(var, name):
            lines.append(f"d /var/{escape(name)} :{stat.S_IMODE(mode):04o} :{uid} :{gid}")
    return Captured(tuple(lines), tuple(_in_order(names)))


def _is_state_link(name: str, path: str) -> bool:
    return name in (*LINKED, *LINKED_FILES) and os.path.islink(path)


def _can_be_carried(mode: int) -> bool:
    """A socket or FIFO is made again by the program that listens there."""
    return stat.S_ISLNK(mode) or stat.S_ISDIR(mode) or stat.S_ISREG(mode)


def _holds_files(path: str) -> bool:
    with os.scandir(path) as entries:
        return any(entry.is_file(follow_symlinks=False) for entry in entries)


def _is_safe(var: Path, name: str) -> bool:
    """True if systemd-tmpfiles follows a path: never from a user's directory to what belongs to another, even root."""
    owners = [os.lstat(var / directory).st_uid for directory in (*_parents(name), name)]
    return all(above in (0, below) for above, below in pairwise(owners))


def write(captured: Captured, var: Path, target: Path, name: str) -> None:
    """Put what was captured from ``var`` into the tree ``target``; its lists have ``name``: "base", or a free one."""
    _write_lines(target, f"{TMPFILES}/00-apt-ostree-{name}.conf", captured.lines)
    _write_lines(target, f"{SEEDS}/{name}", [escape(path) for path in captured.paths])
    for path in captured.paths:
        place = target / FACTORY / path
        make_parents(target, place)
        if not place.is_dir() or place.is_symlink():
            remove_tree(place)
        copy_entry(var / path, place)


def free_name(base: Path) -> str:
    """A name for what a layer adds to a base: a base may be somebody's layer itself."""
    taken = {path.name for path in (base / SEEDS).glob("*")}
    taken |= {path.stem.removeprefix("00-apt-ostree-") for path in (base / TMPFILES).glob("00-apt-ostree-*.conf")}
    return next(name for number in count() if (name := f"layer{number or ''}") not in taken)


def forget(base: Path, target: Path, names: Collection[str]) -> None:
    """Let nothing bring back the paths ``names`` below /var: the lists of ``base`` that have them are in ``target``
    without them. What a machine has by now stays there."""
    for file in (*sorted((base / SEEDS).glob("*")), *sorted((base / TMPFILES).glob("00-apt-ostree-*.conf"))):
        lines = file.read_text(errors="surrogateescape").splitlines()
        kept = [line for line in lines if _named(line) not in names]
        if kept != lines:
            place = target / file.relative_to(base)
            make_parents(target, place)
            place.write_text("".join(f"{line}\n" for line in kept), errors="surrogateescape")


def _named(line: str) -> str:
    """The path below /var that a line of a list, or of tmpfiles.d(5), is about."""
    words = line.split(" ")
    return unescape(words[1]).removeprefix("/var/") if len(words) > 1 else unescape(line)


def _write_lines(target: Path, name: str, lines: Sequence[str]) -> None:
    if lines:
        place = target / name
        make_parents(target, place)
        remove_tree(place)
        place.write_text("".join(f"{line}\n" for line in lines), errors="surrogateescape")


def make_parents(target: Path, place: Path) -> None:
    """Make the directories of ``target`` above ``place``, as a distribution ships them: root's, 0755."""
    for parent in reversed(place.relative_to(target).parents):
        directory = target / parent
        if directory.is_symlink() and directory != target:
            raise TreeError(f"/{parent} is a link", "the image's own files cannot be written through it")
        if not directory.is_dir():
            directory.mkdir()
            directory.chmod(0o755)
