"""The layout of a tree that OSTree boots: a Debian root turned into one, and the audit of a commit.

/usr is the system. /etc waits in /usr/etc for OSTree's merge; /var is empty, see state.py; /opt is as packages made it,
see overlays.py; everything else at the top is a mount point or a link, or holds a package's own files.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import TreeError
from ..host.door import Tree
from ..tools import listing
from ..tools.listing import Entries
from . import apparmor, bytecode, deploying, follow, overlays, state, top, units, users
from .view import View

LINKS = {
    **state.HOMES,
    "mnt": "var/mnt",
    "media": "run/media",
    "ostree": "sysroot/ostree",
}
"""Names that an administrator writes below, and where they lead."""

_COMPARED = (*LINKS, "opt", "usr/local")
"""Names that are links in bases of other makers: there a layer has them as its base does."""

MOUNT_POINTS = {"boot": 0o755, "dev": 0o755, "proc": 0o755, "run": 0o755, "sys": 0o755, "sysroot": 0o755,
                "tmp": 0o1777, "var": 0o755}  # fmt: skip

PLACED = frozenset({"usr", "etc", "opt", *MOUNT_POINTS, *LINKS})
"""Names at the top that have their place; any other is a package's own."""

_NEEDED = ("usr", *(name for name in MOUNT_POINTS if name != "tmp"))
"""Directories that every tree has; that of another maker may lack /tmp."""

_OWN = ("etc/hostname", "etc/resolv.conf")
"""Files that a bootstrap takes from the machine it runs on; an image may have its own."""

_RUN_RECORDS = ("etc/mtab.apt-ostree", "var/log/lastlog", "var/log/btmp", "var/log/wtmp", "var/log/faillog",
                "var/lib/dbus/machine-id", "etc/.pwd.lock",
                *(f"etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")))  # fmt: skip
"""Files that tell of the run that made the tree, or that every boot makes by itself: of lists of accounts, what they
were before the last package came."""

_DPKG = "lib/dpkg"
"""dpkg's database in the /var of a plain root."""


def convert(root: Path) -> None:
    """Turn a plain Debian root into a tree to commit, in place.

    Its packages' scripts wrote it: a link in the way of what is made here is replaced where that is ours alone to say,
    and otherwise refused. Raises TreeError.
    """
    tree = Tree(root)
    for name in ("usr", "etc", "var"):
        if tree.has_link(name):
            raise TreeError(f"/{name} is a link", "a tree keeps it as a directory")
    if not tree.has_file(f"var/{_DPKG}/status"):
        raise TreeError("the root has no dpkg database", f"{root}/var/{_DPKG}/status does not exist")
    _drop_records(tree)
    bytecode.zero_source_times([root], info=f"var/{_DPKG}/info")
    _move_state(tree)
    _move_top(tree)
    _move(tree, "etc", "usr/etc")
    units.drop_identity(root)
    # Not an empty file: the first boot would not be known as one (machine-id(5)).
    tree.remove("usr/etc/machine-id")
    tree.write("usr/etc/machine-id", b"uninitialized\n", 0o444)
    captured = state.capture(root / "var", {})
    state.write(captured, root / "var", root, "base")
    follow.write(captured, Tree(root / "var"), tree, "base", follow.listed([root], captured.paths))
    for name in overlays.PLACES.values():
        if not tree.has(name):
            tree.make_directory(name)
    overlays.write(View([root]), root)
    apparmor.write(View([root]), root)
    units.write(root)
    units.order_after_var([root], root, "base")
    units.write_preset(root)
    state.write_file(tree, f"{users.SYSUSERS}/apt-ostree-base.conf", users.sysusers(users.read(root)))
    for name, mode in MOUNT_POINTS.items():
        tree.remove(name)
        tree.make_directory(name, mode)


def drop_own(tree: Tree) -> None:
    """Remove from a plain root what a bootstrap takes from the machine it runs on."""
    for name in _OWN:
        # A link is a package's doing (systemd-resolved's resolv.conf).
        if tree.has_file(name):
            tree.remove(name)


def _drop_records(tree: Tree) -> None:
    """Remove what tells of the run that made a root."""
    for name in _RUN_RECORDS:
        if tree.has_file(name):
            tree.remove(name)
    old = [
        f"{directory}/{name}"
        for directory in (f"var/{_DPKG}", "var/cache/debconf")
        for name in tree.names(directory)
        if name.endswith("-old")
    ]
    for name in (*old, *(f"var/{_DPKG}/{name}" for name in ("lock", "lock-frontend", "triggers/Lock"))):
        tree.remove(name)


def _move_state(tree: Tree) -> None:
    for name in state.LINKED:
        source, target = f"var/{name}", f"{state.SYSIMAGE}/{state.sysimage_name(name)}"
        tree.make_directory(os.path.dirname(source))
        if tree.has(source):
            _move(tree, source, target)
        else:
            tree.make_directory(target)
        tree.symlink(source, f"/{target}")
    for name in state.LINKED_FILES:
        source, target = f"var/{name}", f"{state.SYSIMAGE}/{state.sysimage_name(name)}"
        if tree.has_file(source):
            tree.move(source, tree, target)
            tree.symlink(source, f"/{target}")


def _move(tree: Tree, source: str, target: str) -> None:
    """Move a directory to where nothing is, or an empty directory. Raises TreeError where either is something else."""
    if not tree.has_directory(source):
        raise TreeError(f"/{source} is not a directory", f"it is to become /{target}")
    tree.make_directory(os.path.dirname(target))
    if tree.names(target) or (tree.has(target) and not tree.has_directory(target)):
        raise TreeError(f"/{target} exists already", f"/{source} is to become it")
    tree.move(source, tree, target)


def _move_top(tree: Tree) -> None:
    """Make the LINKS; what their names held goes to where they lead, while that is in /var."""
    for name, target in LINKS.items():
        if tree.has_directory(name) and not target.startswith("run/") and name != "ostree":
            _move_into(tree, name, target)
        tree.remove(name)
        tree.symlink(name, target)
    # The kernel package's links to /boot at the top.
    for name in ("vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"):
        tree.remove(name)
    # The manifest's files belong to the commit, too, and no list names them.
    top.link_writable([tree.top], PLACED, lambda names: names, tree.top / "var", tree.top)


def _move_into(tree: Tree, source: str, place: str) -> None:
    """Move a directory to its place, or what it holds, where the place is a directory already. Raises TreeError."""
    if not tree.has(place):
        tree.move(source, tree, place)
        return
    if not tree.has_directory(place):
        raise TreeError(f"/{place} is a link, or not a directory", f"what /{source} holds belongs there")
    for name in tree.names(source):
        if tree.has(f"{place}/{name}"):
            raise TreeError(f"/{place}/{name} exists already", f"/{source}/{name} belongs there")
        tree.move(f"{source}/{name}", tree, f"{place}/{name}")
    tree.copy_metadata(tree, source, place)


def audit(repo: Path, commit: str, base: str | None = None) -> None:
    """Refuse a commit that a booted system could not rely on. Raises TreeError.

    Read from the commit's listings, so that it judges what will be deployed, not what was meant. A layer's links
    have to be those of its ``base``, which another tool may have made; else all of LINKS are needed.
    """
    entries = _top(repo, commit)
    problems = []
    for name, target in (LINKS if base is None else _links(_top(repo, base))).items():
        entry = entries.get(f"/{name}")
        if entry is None or entry.kind != "l":
            problems.append(f"/{name} is not a link to {target}")
        elif entry.target != target:
            problems.append(f"/{name} is a link to {entry.target}, not to {target}")
    for name in _NEEDED:
        if (entry := entries.get(f"/{name}")) is None or entry.kind != "d":
            problems.append(f"/{name} is missing or not a directory")
    if "/etc" in entries:
        problems.append("/etc is in the commit, beside /usr/etc")
    for name in MOUNT_POINTS:
        if inside := [path for path in entries if path.startswith(f"/{name}/")]:
            problems.append(f"/{name} is not empty: {', '.join(inside[:5])}")
    if problems:
        raise TreeError(
            "the tree breaks the layout that a booted system relies on",
            "\n".join(problems),
            "Nothing was published. A package wrote outside /usr, /etc and /var.",
        )
    deploying.check(repo, commit)


def _top(repo: Path, commit: str) -> Entries:
    """Entries of a commit at the top, in /usr and in the mount points; nothing deeper."""
    return listing.of(repo, commit).levels(("/usr", "/etc", *(f"/{name}" for name in MOUNT_POINTS)))


def _links(entries: Entries) -> dict[str, str]:
    """Those of the layout's names that are links in a commit, and where they lead there."""
    found = {name: entries.get(f"/{name}") for name in _COMPARED}
    return {name: entry.target for name, entry in found.items() if entry is not None and entry.kind == "l"}
