"""/var of a tree: what a commit carries instead of it.

OSTree never touches /var after the first deployment, so a commit must not contain any of it. Three things
take its place: state that belongs to /usr lives in /usr/lib/sysimage and is linked from /var; directories and
links become tmpfiles.d lines; files become templates in /usr/share/factory/var that a unit of ours copies
once. (systemd's own ``C`` lines would reset modes, skip directories that are not empty, and bring deleted
files back: tmpfiles.d(5).)
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import TreeError
from .fs import beneath, copy_metadata, copy_tree, make_beneath, remove_tree, walk

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
"""Directories of many packages: a file right in one is a seed by itself, never the directory."""


def sysimage_name(linked: str) -> str:
    """Where below /usr/lib/sysimage a LINKED directory lives: dpkg's and debconf's names are the plain ones."""
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

    It is also what printf(1) takes as its format: seed-var reads it that way.
    """
    plain = path.replace("\\", "\\\\").replace("%", "%%")
    return re.sub(r"[\s\"']", lambda match: "".join(f"\\{byte:03o}" for byte in match[0].encode()), plain)


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
    for name in ("lib", "cache", "log", "tmp", "lib/systemd"):
        (var / name).mkdir(exist_ok=True)
    (var / "tmp").chmod(0o1777)
    if not (tree / SYSIMAGE / "dpkg").is_dir():
        return
    for name in (*LINKED, *LINKED_FILES):
        if (tree / SYSIMAGE / sysimage_name(name)).exists():
            place = var / name
            place.parent.mkdir(parents=True, exist_ok=True)
            # Absolute: the sandbox sees /var at a depth of its own, and nobody follows it outside.
            place.symlink_to(f"/{SYSIMAGE}/{sysimage_name(name)}")
    # Seeds first, as at boot: a line may name a directory inside of one, and a seed comes whole or not at all.
    factory = tree / FACTORY
    for file in sorted((tree / SEEDS).glob("*")):
        for line in file.read_text(errors="surrogateescape").splitlines():
            _populate_seed(var, factory, Path(unescape(line.partition(" ")[2])))
    for file in sorted((tree / TMPFILES).glob("00-apt-ostree*.conf")):
        for line in file.read_text(errors="surrogateescape").splitlines():
            _populate_line(var, line.split(" "))


def _populate_seed(var: Path, factory: Path, seed: Path) -> None:
    for parent in reversed(seed.parents[:-1]):
        template = beneath(factory, parent)
        if template is None or not template.is_dir() or template.is_symlink():
            return
        if not os.path.lexists(var / parent):
            (var / parent).mkdir()
            copy_metadata(template, var / parent)
    template, above = beneath(factory, seed), make_beneath(var, seed.parent)
    if template is not None and above is not None and not os.path.lexists(above / seed.name):
        copy_tree(template, above / seed.name)


def _populate_line(var: Path, words: list[str]) -> None:
    if words[0] not in {"d", "L", "L+"} or not words[1].startswith("/var/"):
        return
    name = Path(unescape(words[1]).removeprefix("/var/"))
    if words[0] == "d":
        place = make_beneath(var, name)
        # A line below a link (/var/run/x) would be made on the host.
        if place is None:
            return
        mode, uid, gid = (word.lstrip(":") for word in words[2:5])
        os.lchown(place, int(uid), int(gid))
        place.chmod(int(mode, 8))
    elif (parent := make_beneath(var, name.parent)) is not None and not os.path.lexists(parent / name.name):
        (parent / name.name).symlink_to(unescape(words[6]))


Snapshot = Mapping[str, tuple[int, int, int, int, int]]


def snapshot(var: Path) -> Snapshot:
    """What ``var`` holds: path -> mode, owner, group, size, time of change; directories without the last two."""
    return {name: facts(path) for name, path in _entries(var)}


def facts(path: str | Path) -> tuple[int, int, int, int, int]:
    """Mode, owner, group, size and time of change of one entry, the last two 0 for a directory."""
    status = os.lstat(path)
    content = (0, 0) if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns)
    return (status.st_mode, status.st_uid, status.st_gid, *content)


def _entries(var: Path) -> Iterator[tuple[str, str]]:
    for entry in walk(var):
        name = os.path.relpath(entry.path, var)
        if not any(name == ignored or name.startswith(ignored + "/") for ignored in _IGNORED):
            yield name, entry.path


@dataclass(frozen=True, slots=True)
class Captured:
    """What became of a /var: tmpfiles.d lines, and the seeds' names with their templates' digests."""

    lines: tuple[str, ...]
    seeds: tuple[tuple[str, str], ...]


def capture(var: Path, before: Snapshot) -> Captured:
    """What is in ``var`` beyond ``before``, in the forms that a commit can carry.

    A new directory that holds a file itself is one seed with all below it, since a program's state is whole
    or worthless; a new file beside older ones is a seed by itself.
    """
    lines: list[str] = []
    seeds: list[tuple[str, str]] = []
    for name, path in _entries(var):
        if any(name.startswith(seed + "/") for seed, _ in seeds):
            continue
        found = facts(path)
        if before.get(name) == found or _is_state_link(name, path):
            continue
        mode, uid, gid = found[:3]
        if stat.S_ISLNK(mode):
            lines.append(f"L /var/{escape(name)} - - - - {escape(os.readlink(path))}")
        elif stat.S_ISDIR(mode):
            if name not in before and name not in _SHARED and _holds_files(path):
                seeds.append((name, tree_digest(Path(path))))
            else:
                lines.append(f"d /var/{escape(name)} :{stat.S_IMODE(mode):04o} :{uid} :{gid}")
        elif stat.S_ISREG(mode):
            seeds.append((name, tree_digest(Path(path))))
    return Captured(tuple(lines), tuple(seeds))


def _is_state_link(name: str, path: str) -> bool:
    return name in (*LINKED, *LINKED_FILES) and os.path.islink(path)


def _holds_files(path: str) -> bool:
    with os.scandir(path) as entries:
        return any(entry.is_file(follow_symlinks=False) for entry in entries)


def tree_digest(top: Path) -> str:
    """A digest over names, types, modes, owners, xattrs and contents of ``top`` and all below it."""
    total = hashlib.sha256()
    for path in [os.fspath(top), *(entry.path for entry in walk(top))] if top.is_dir() else [os.fspath(top)]:
        status = os.lstat(path)
        own = (os.path.relpath(path, top), status.st_mode, status.st_uid, status.st_gid)
        total.update(repr(own).encode(errors="surrogateescape"))
        for name in sorted(os.listxattr(path, follow_symlinks=False)):
            total.update(name.encode() + os.getxattr(path, name, follow_symlinks=False))
        if stat.S_ISLNK(status.st_mode):
            total.update(os.fsencode(os.readlink(path)))
        elif stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def write(captured: Captured, var: Path, target: Path, name: str) -> None:
    """Put what was captured from ``var`` into the tree ``target``; ``name`` is "base" or "layer"."""
    if captured.lines:
        place = target / TMPFILES / f"00-apt-ostree-{name}.conf"
        make_parents(target, place)
        remove_tree(place)
        place.write_text("".join(f"{line}\n" for line in captured.lines), errors="surrogateescape")
    if captured.seeds:
        place = target / SEEDS / name
        make_parents(target, place)
        remove_tree(place)
        place.write_text(
            "".join(f"{digest} {escape(seed)}\n" for seed, digest in captured.seeds), errors="surrogateescape"
        )
    for seed, _ in captured.seeds:
        place = target / FACTORY / seed
        make_parents(target, place)
        _copy_parents_metadata(var, target / FACTORY, seed)
        copy_tree(var / seed, place)


def _copy_parents_metadata(var: Path, factory: Path, seed: str) -> None:
    for parent in _parents(seed):
        copy_metadata(var / parent, factory / parent)


def make_parents(target: Path, place: Path) -> None:
    """Make the directories of ``target`` above ``place``, as a distribution ships them: root's, 0755."""
    for parent in reversed(place.relative_to(target).parents):
        directory = target / parent
        if directory.is_symlink() and directory != target:
            raise TreeError(f"/{parent} is a link", "the image's own files cannot be written through it")
        if not directory.is_dir():
            directory.mkdir()
            directory.chmod(0o755)
