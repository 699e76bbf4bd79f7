"""/var of a tree: what a commit carries instead of it.

OSTree never touches /var after the first deployment, so a commit must not contain any of it. Two things take its
place: state that belongs to /usr lives in /usr/lib/sysimage and is linked from /var; everything else becomes a
template in /usr/share/factory/var, and its path a line of a list. A unit of ours (seed-var) delivers each path of
the lists once, and brings some up to date later (follow.py). (systemd's own ``C`` lines would reset modes, skip
directories that are not empty, and bring deleted files back: tmpfiles.d(5).) Directories also have tmpfiles.d lines,
which bring them back when they are missing.
"""

from __future__ import annotations

import itertools
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..host.door import Entry, Tree, at_and_above, is_name
from ..host.files import check_space
from . import tmpfiles

SYSIMAGE = "usr/lib/sysimage"
FACTORY = "usr/share/factory/var"
SEEDS = "usr/lib/apt-ostree/seeds.d"
FOLLOW = "usr/lib/apt-ostree/follow.d"
"""A tree's lists of the templates that follow the image (follow.py); they have the names of those in SEEDS."""
IDENTITY = "usr/lib/apt-ostree/identity.d"
"""A tree's lists of the machine's own files: in each line the package that makes one, as NAME:ARCHITECTURE, and a path
below /etc as ``escape`` writes it. One with a slash at its end is a directory in which something is made."""
TMPFILES = "usr/lib/tmpfiles.d"
_RULES = f"{TMPFILES}/00-apt-ostree"

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

HOMES = {"home": "var/home", "root": "var/roothome", "srv": "var/srv"}
"""Links at the top that systemd's own rules in tmpfiles.d want as directories: an error at each boot."""

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
    # Of two lines for a path, the one of the file that sorts first counts (tmpfiles.d(5)).
    lines += [f"L /{name} - - - - {target}\n" for name, target in HOMES.items()]
    return "".join(dict.fromkeys(lines))


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def escape(path: str) -> str:
    """A path as our lists have it: one word with C escapes, without a control character.

    It is what printf(1) takes as its format, so that % is doubled: the programs in data/ count on both.
    """
    plain = path.replace("\\", "\\\\").replace("%", "%%")
    return re.sub(r"[\s\"'\x00-\x1f\x7f]", lambda match: "".join(f"\\{byte:03o}" for byte in match[0].encode()), plain)


def unescape(word: str) -> str:
    """The path that ``escape`` wrote."""
    raw = re.sub(
        rb"\\([0-3][0-7]{2}|\\)",
        lambda match: b"\\" if match[1] == b"\\" else bytes([int(match[1], 8)]),
        word.encode(errors="surrogateescape"),
    )
    return raw.decode(errors="surrogateescape").replace("%%", "%")


def populate(tree: Path, var: Path) -> None:
    """Make ``var`` what /var is on the first boot of ``tree``, for scripts to work on.

    Reads what this module wrote into the tree; a base of other makers gets the linked state alone, as far
    as it keeps its dpkg database where we do. Raises TreeError where the tree puts something else in the place of one
    of /var's standard directories, and SpaceError.
    """
    var.mkdir(exist_ok=True)
    var.chmod(0o755)
    base, made = Tree(tree), Tree(var)
    ours = base.has_directory(f"{SYSIMAGE}/dpkg")
    if ours:
        # First, as at boot: a line may name a directory that a list has, too.
        names = listed(base)
        templates = [base.status(f"{FACTORY}/{name}") for name in names if is_name(name)]
        check_space(var, sum(status.st_size for status in templates if status), "the base's /var", reserve=True)
        for name in names:
            _deliver(base, made, name)
    for name in ("lib", "cache", "log", "tmp", "lib/systemd"):
        made.make_directory(name)
    made.set_mode("tmp", 0o1777)
    if not ours:
        return
    for name in (*LINKED, *LINKED_FILES):
        if base.has(f"{SYSIMAGE}/{sysimage_name(name)}"):
            made.make_directory(_above(name))
            made.remove(name)
            # Absolute: the sandbox sees /var at a depth of its own, and it is never followed outside.
            made.symlink(name, f"/{SYSIMAGE}/{sysimage_name(name)}")
    for file in _rules(base):
        tmpfiles.obey(var, _lines_of(base, file))


def _above(name: str) -> str:
    return name.rpartition("/")[0]


def _lists(tree: Tree) -> list[str]:
    """The lists of a tree's templates."""
    return [f"{SEEDS}/{name}" for name in tree.names(SEEDS)]


def _rules(tree: Tree, start: str = _RULES) -> list[str]:
    """The tmpfiles.d files of a tree whose names start so: of this module, and the one of units.py, by default."""
    return [name for name in (f"{TMPFILES}/{own}" for own in tree.names(TMPFILES)) if _is_rule(name, start)]


def _is_rule(name: str, start: str) -> bool:
    return name.startswith(start) and name.endswith(".conf")


def _lines_of(tree: Tree, name: str) -> list[str]:
    """The lines of a file of ours; none where it is missing, or a link."""
    return (tree.text(name) or "").removesuffix("\n").split("\n")


def listed(tree: Tree) -> list[str]:
    """The paths below /var that a tree's lists name, parents first."""
    return _in_order(unescape(line) for file in _lists(tree) for line in _lines_of(tree, file))


def parents_first(name: str) -> str:
    """A key that sorts each directory before what is below it, and that before its next sibling."""
    return name.replace("/", "\0")


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(set(names), key=parents_first)


def _deliver(base: Tree, var: Tree, name: str) -> None:
    template = f"{FACTORY}/{name}"
    if is_name(name) and base.has(template) and var.has_directory(_above(name)) and not var.has(name):
        var.copy(base, template, name)


Facts = tuple[int, int, int, int, int, bytes]
Snapshot = Mapping[str, Facts]


def snapshot(var: Path) -> Snapshot:
    """Return what ``var`` holds: path -> facts."""
    tree = Tree(var)
    return {entry.name: _facts(tree, entry) for entry in _entries(tree)}


def facts(tree: Tree, name: str) -> Facts | None:
    """Mode, owner, group, size, time of change (the last two 0 for a directory) and xattrs of an entry; None where it
    is not there."""
    status = tree.status(name)
    return None if status is None else _facts(tree, Entry(name, status))


def _facts(tree: Tree, entry: Entry) -> Facts:
    status = entry.status
    content = (0, 0) if entry.is_directory else (status.st_size, status.st_mtime_ns)
    xattrs = b"".join(key.encode() + b"=" + value for key, value in tree.attributes(entry.name).items())
    return (status.st_mode, status.st_uid, status.st_gid, *content, xattrs)


def _entries(var: Tree) -> Iterator[Entry]:
    for entry in var.walk():
        if not any(entry.name == ignored or entry.name.startswith(ignored + "/") for ignored in _IGNORED):
            yield entry


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
    tree = Tree(var)
    directories: dict[str, _Way] = {"": _Way(0)}
    for entry in _entries(tree):
        name, found = entry.name, _facts(tree, entry)
        mode, uid, gid = found[:3]
        if entry.is_directory:
            directories[name] = directories[_above(name)].to(uid)
        if before.get(name) == found or _is_state_link(entry) or not _can_be_carried(entry):
            continue
        names.update(itertools.takewhile(lambda above: above not in names, at_and_above(name)))
        if not entry.is_directory or (whole is not None and name.startswith(f"{whole}/")):
            continue
        if name not in before and name not in _SHARED and _holds_files(tree, name):
            whole = name
        elif directories[name].is_safe and (line := tmpfiles.directory(name, stat.S_IMODE(mode), uid, gid)):
            lines.append(line)
    return Captured(tuple(lines), tuple(_in_order(names)))


def _is_state_link(entry: Entry) -> bool:
    return entry.name in (*LINKED, *LINKED_FILES) and entry.is_link


def _can_be_carried(entry: Entry) -> bool:
    """A socket or FIFO is made again by the program that listens there."""
    return entry.is_link or entry.is_directory or entry.is_file


def _holds_files(tree: Tree, name: str) -> bool:
    return any(tree.has_file(f"{name}/{inner}") for inner in tree.names(name))


class _Way(NamedTuple):
    """A directory, and the way to it."""

    owner: int
    is_safe: bool = True
    """systemd-tmpfiles follows the path: it never goes from a user's directory to what belongs to another, even
    root."""

    def to(self, owner: int) -> _Way:
        """The way to a directory in it."""
        return _Way(owner, self.is_safe and self.owner in (0, owner))


def write(captured: Captured, var: Path, target: Path, name: str) -> None:
    """Put what was captured from ``var`` into the tree ``target``; its lists have ``name``: "base", or a free one."""
    tree, source = Tree(target), Tree(var)
    _write_lines(tree, f"{_RULES}-{name}.conf", captured.lines)
    _write_lines(tree, f"{SEEDS}/{name}", [escape(path) for path in captured.paths])
    tree.make_directory(FACTORY if captured.paths else "")
    for path in captured.paths:
        place = f"{FACTORY}/{path}"
        if not (tree.has_directory(place) and source.has_directory(path)):
            tree.remove(place)
        tree.copy(source, path, place)


def free_name(base: Path) -> str:
    """A name for what a layer adds to a base: a base may be somebody's layer itself."""
    tree = Tree(base)
    taken = {*tree.names(SEEDS), *tree.names(FOLLOW), *tree.names(IDENTITY)}
    taken |= {file.removeprefix(f"{_RULES}-").removesuffix(".conf") for file in _rules(tree, f"{_RULES}-")}
    return next(name for number in itertools.count() if (name := f"layer{number or ''}") not in taken)


def forget(base: Path, target: Path, names: Collection[str]) -> None:
    """Let nothing bring back the paths ``names`` below /var: the lists of ``base`` that have them are in ``target``
    without them. What a machine has by now stays there."""
    tree = Tree(base)
    files = dict.fromkeys(_lists(tree), unescape) | dict.fromkeys(_rules(tree, f"{_RULES}-"), tmpfiles.named)
    for file, named in files.items():
        lines = _lines_of(tree, file)
        kept = [line for line in lines if named(line) not in names]
        if kept != lines:
            write_file(Tree(target), file, "".join(f"{line}\n" for line in kept))


def _write_lines(target: Tree, name: str, lines: Sequence[str]) -> None:
    if lines:
        write_file(target, name, "".join(f"{line}\n" for line in lines))


def write_file(target: Tree, name: str, text: str, mode: int = 0o644) -> None:
    """Put a file of ours into a tree, in the place of anything that is there, with the directories above it."""
    target.make_directory(_above(name))
    target.remove(name)
    target.write(name, text.encode(errors="surrogateescape"), mode)
