"""What two roots are compared by: the facts of every path, and of the dpkg database inside."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from apt_ostree.tools import dpkg
from apt_ostree.tree import bytecode, state, units

TOP = ("usr", "etc", "opt", "var")

DATABASE = "var/lib/dpkg"

EXCUSED = (
    # Records of the run itself, and caches that their tools make again.
    ("var/cache/apt", "apt's own cache"),
    ("var/lib/apt/lists", "apt's own lists"),
    ("var/lib/apt/periodic", "apt's own timers"),
    ("var/log/apt", "apt's log of the run"),
    ("var/log/dpkg.log", "dpkg's log of the run"),
    ("var/log/alternatives.log", "update-alternatives' log of the run"),
    ("var/cache/ldconfig", "holds inode numbers and times"),
    (
        "usr/lib/sysimage/debconf/tmp.ci",
        "debconf's scratch directory; apt makes it for packages without questions, too",
    ),
    ("var/log/bootstrap.log", "the bootstrap's log"),
    ("vmlinuz", "a link at the top for boot loaders that OSTree does without"),
    ("initrd.img", "the same"),
    # Where a layer says in other words what the plain root has in /var (compared there), and whom it added.
    ("usr/share/factory/var", "templates of /var"),
    ("usr/lib/apt-ostree", "lists of the templates"),
    ("usr/lib/tmpfiles.d/00-apt-ostree", "directories of /var"),
    ("usr/lib/sysusers.d/apt-ostree", "users of /etc/passwd"),
    ("usr/lib/systemd/system/apt-ostree-", "the units that seed /var"),
    ("usr/lib/systemd/system/sysinit.target.wants/apt-ostree-", "the units that seed /var"),
    ("usr/lib/systemd/system/var.mount.d", "early services wait for /var"),
    *(
        (f"usr/lib/systemd/system{wants}/{name}.mount", "what shows the machine's own files over the image's")
        for wants in ("", "/local-fs.target.wants")
        for name in ("opt", "usr-local")
    ),
    ("etc/apparmor.d/tunables/home.d/apt-ostree", "where the image's links lead"),
    ("usr/lib/modules/*/initramfs.img", "made anew where OSTree looks; a plain root's is /boot/initrd.img-VERSION"),
    # The date of a password's last change is today's in a plain root; a layer's is its base's.
    ("etc/shadow-", "the copy of before the last change, with its date"),
)
"""Beginnings of paths that are not compared, each with its reason; ``*`` stands for any text."""

_EXCUSED = re.compile("|".join(fnmatch.translate(f"{beginning}*") for beginning, _ in EXCUSED))

HOUSEKEEPING = ("lock", "lock-frontend", "triggers/Lock", "updates", "tmp.ci", "parts", "cmethopt", "methods",
                "available", "alternatives")  # fmt: skip
"""Names in dpkg's database that describe no package; alternatives are compared as paths."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One path: what stat(2) says apart from times, and a digest of the content or the link's target."""

    kind: str
    mode: int
    uid: int
    gid: int
    xattrs: tuple[tuple[str, bytes], ...]
    content: str


ATTRIBUTES = ("mode", "uid", "gid", "xattrs", "content")


@dataclass(frozen=True, slots=True)
class Tree:
    """Everything that is compared of one root."""

    paths: Mapping[str, Facts]
    links: frozenset[frozenset[str]]
    """Groups of names that are one file."""
    database: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    """Path -> package, from the database's lists."""


def read(root: Path, *, plain: bool = False) -> Tree:
    """Read a root whose /etc and /var are in their places (a link of linked state counts as what it leads to). In a
    ``plain`` one, byte-compiled Python has its sources' times."""
    owners = _owners(root)
    paths: dict[str, Facts] = {}
    inodes: dict[tuple[int, int], list[str]] = {}
    for name, path in _walk(root):
        if _EXCUSED.match(name):
            continue
        if name.startswith(f"{state.SYSIMAGE}/dpkg/") and not name.startswith(f"{state.SYSIMAGE}/dpkg/alternatives"):
            continue
        if name.startswith(f"{state.SYSIMAGE}/") and name.endswith("-old"):
            continue
        if _is_identity(name, path):
            continue
        paths[name] = _facts(name, path, settle=plain and name not in owners)
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_size:
            inodes.setdefault((status.st_dev, status.st_ino), []).append(name)
    links = frozenset(frozenset(names) for names in inodes.values() if len(names) > 1)
    return Tree(paths, links, _database(root), owners)


def _is_identity(name: str, path: str) -> bool:
    """Whether it is one of the machine's own keys, which the machine makes when it boots: see units.py."""
    for top, patterns in units.IDENTITY.items():
        if any(PurePath(name).match(f"{top.removeprefix('usr/')}/{pattern}") for pattern in patterns):
            return True
    return os.path.islink(path) and os.readlink(path) == "ssl-cert-snakeoil.pem"


def _walk(root: Path) -> Iterator[tuple[str, str]]:
    for place in sorted(root.iterdir()):
        if place.is_symlink():
            yield place.name, os.fspath(place)
        elif place.name in TOP and place.is_dir():
            yield from _below(root, place, place.name)


def _below(root: Path, place: Path, name: str) -> Iterator[tuple[str, str]]:
    yield name, os.fspath(place)
    with os.scandir(place) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        inner = f"{name}/{entry.name}"
        if inner in {"var/lib/apt/extended_states", f"{state.SYSIMAGE}/extended_states"}:
            continue
        elif entry.is_dir(follow_symlinks=False):
            yield from _below(root, Path(entry.path), inner)
        else:
            yield inner, entry.path


_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFCHR: "device",
          stat.S_IFBLK: "device", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}  # fmt: skip


def _facts(name: str, path: str, *, settle: bool) -> Facts:
    status = os.lstat(path)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    content = ""
    if kind == "link":
        content = os.readlink(path)
    elif kind == "file":
        content = _digest(name, path, settle=settle)
    xattrs = tuple(
        (key, os.getxattr(path, key, follow_symlinks=False))
        for key in sorted(os.listxattr(path, follow_symlinks=False))
    )
    return Facts(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, xattrs, content)


def _digest(name: str, path: str, *, settle: bool) -> str:
    with open(path, "rb") as file:
        content = file.read()
    if settle and "/__pycache__/" in name and bytecode.has_time(content[:16]):
        # The source's time: 0 in every deployed tree, so that the bytecode is valid there (PEP 552).
        content = content[:8] + bytes(4) + content[12:]
    if name == "etc/shadow":
        # The date of each last change, see EXCUSED.
        lines = [line.split(b":") for line in content.splitlines()]
        content = b"\n".join(b":".join([*words[:2], b"", *words[3:]]) for words in lines)
    return hashlib.sha256(content).hexdigest()


def _database(root: Path) -> dict[str, str]:
    """The dpkg database as named texts: a stanza each of status, and every other file whole."""
    top = dpkg.database(root)
    found: dict[str, str] = {}
    for stanza in dpkg.parse_stanzas((top / "status").read_text(errors="surrogateescape")):
        key = f"status {stanza['package']}:{stanza.get('architecture', '')}"
        found[key] = "\n".join(f"{name}: {value}" for name, value in stanza.items())
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        if path.is_dir() or name.startswith(HOUSEKEEPING) or name.startswith("status") or name.endswith("-old"):
            continue
        found[name] = f"{stat.S_IMODE(path.stat().st_mode):o}\n" + path.read_bytes().decode(errors="surrogateescape")
    # Which packages came by themselves; its order is that of the runs.
    for name in ("var/lib/apt/extended_states", f"{state.SYSIMAGE}/extended_states"):
        path = root / name
        if path.is_file() and not path.is_symlink():
            for stanza in dpkg.parse_stanzas(path.read_text()):
                found[f"extended_states {stanza['package']}:{stanza['architecture']}"] = stanza["auto-installed"]
    return found


def _owners(root: Path) -> dict[str, str]:
    owners: dict[str, str] = {}
    for listing in sorted((dpkg.database(root) / "info").glob("*.list")):
        for line in listing.read_text(errors="surrogateescape").splitlines():
            owners.setdefault(line.lstrip("/"), listing.stem.partition(":")[0])
    return owners
