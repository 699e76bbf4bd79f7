"""The layout of a tree that OSTree boots: a Debian root turned into one, and the audit of a commit.

/usr is the system. /etc waits in /usr/etc for OSTree's merge; /var is empty, see state.py; everything else
at the top is a mount point or a link.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import TreeError
from ..host.files import copy_metadata, remove_tree
from ..tools import ostree
from . import bytecode, opt, state, units, users

LINKS = {
    "home": "var/home",
    "root": "var/roothome",
    "srv": "var/srv",
    "mnt": "var/mnt",
    "media": "run/media",
    "opt": "var/opt",
    "ostree": "sysroot/ostree",
    "usr/local": "../var/usrlocal",
}
"""Names that an administrator writes below, and where they lead."""

MOUNT_POINTS = {"boot": 0o755, "dev": 0o755, "proc": 0o755, "run": 0o755, "sys": 0o755, "sysroot": 0o755,
                "tmp": 0o1777, "var": 0o755}  # fmt: skip

_NEEDED = ("usr", *(name for name in MOUNT_POINTS if name != "tmp"))
"""Directories that every tree has; that of another maker may lack /tmp."""

_RUN_RECORDS = ("etc/hostname", "etc/resolv.conf", "etc/mtab.apt-ostree", "var/log/lastlog", "var/log/btmp",
                "var/log/wtmp", "var/log/faillog", "var/lib/dbus/machine-id")  # fmt: skip
"""Files that tell of the machine the tree was made on, or that every boot makes by itself."""


def convert(root: Path) -> None:
    """Turn a plain Debian root into a tree to commit, in place. Raises TreeError."""
    if not (root / "var/lib/dpkg/status").is_file():
        raise TreeError("the root has no dpkg database", f"{root / 'var/lib/dpkg/status'} does not exist")
    for name in ("usr", "etc", "var"):
        if (root / name).is_symlink():
            raise TreeError(f"/{name} is a link", "a tree keeps it as a directory")
    for name in _RUN_RECORDS:
        place = root / name
        # A link is a package's doing (systemd-resolved's resolv.conf).
        if place.is_file() and not place.is_symlink():
            place.unlink()
    for file in sorted((root / "var/lib/dpkg").glob("*-old")) + sorted((root / "var/cache/debconf").glob("*-old")):
        file.unlink()
    for name in ("lock", "lock-frontend", "triggers/Lock"):
        (root / "var/lib/dpkg" / name).unlink(missing_ok=True)
    keep = bytecode.shipped((root / "var/lib/dpkg/info").glob("*.list"))
    bytecode.zero_source_times(root, keep, root.with_name(f"{root.name}.spare"))
    _move_state(root)
    _move_top(root)
    links = opt.move(root / "var", {}, root)
    (root / "etc").rename(root / "usr/etc")
    units.drop_identity(root)
    # Not an empty file: that would keep presets from being applied on the first boot (machine-id(5)).
    machine_id = root / "usr/etc/machine-id"
    machine_id.unlink(missing_ok=True)
    machine_id.write_text("uninitialized\n")
    machine_id.chmod(0o444)
    captured = state.capture(root / "var", {})
    captured = replace(captured, lines=(*captured.lines, *links))
    state.write(captured, root / "var", root, "base")
    units.write(root)
    text = users.sysusers(users.read(root / "usr/etc"))
    listing = root / users.SYSUSERS / "apt-ostree-base.conf"
    state.make_parents(root, listing)
    remove_tree(listing)
    listing.write_text(text)
    for name, mode in MOUNT_POINTS.items():
        remove_tree(root / name)
        (root / name).mkdir()
        (root / name).chmod(mode)


def _move_state(root: Path) -> None:
    for name in state.LINKED:
        source, target = root / "var" / name, root / state.SYSIMAGE / state.sysimage_name(name)
        state.make_parents(root, target)
        if source.is_dir() and not source.is_symlink():
            source.rename(target)
        else:
            target.mkdir()
            target.chmod(0o755)
        source.parent.mkdir(parents=True, exist_ok=True)
        source.symlink_to(f"/{state.SYSIMAGE}/{state.sysimage_name(name)}")

    for name in state.LINKED_FILES:
        source, target = root / "var" / name, root / state.SYSIMAGE / state.sysimage_name(name)
        if source.is_file():
            source.rename(target)
            source.symlink_to(f"/{state.SYSIMAGE}/{target.name}")


def _move_top(root: Path) -> None:
    """Make the LINKS; what their names held goes to where they lead, while that is in /var."""
    for name, target in LINKS.items():
        source = root / name
        if source.is_dir() and not source.is_symlink():
            place = root / target.removeprefix("../")
            if target.startswith("run/") or name == "ostree":
                remove_tree(source)
            elif place.is_dir():
                for entry in sorted(source.iterdir()):
                    shutil.move(entry, place / entry.name)
                copy_metadata(source, place)
                source.rmdir()
            else:
                source.rename(place)
        elif os.path.lexists(source):
            source.unlink()
        source.symlink_to(target)
    # The kernel package's links to /boot at the top.
    for name in ("vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"):
        (root / name).unlink(missing_ok=True)


def audit(repo: Path, commit: str, base: str | None = None) -> None:
    """Refuse a commit that a booted system could not rely on. Raises TreeError.

    Read from the commit's listings, so that it judges what will be deployed, not what was meant. A layer's links
    have to be those of its ``base``, which another tool may have made; else all of LINKS are needed.
    """
    entries = _entries(repo, commit)
    problems = []
    for name, target in (LINKS if base is None else _links(_entries(repo, base))).items():
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
    if "/usr/etc" not in entries:
        problems.append("/usr/etc is missing")
    if problems:
        raise TreeError(
            "the tree breaks the layout that a booted system relies on",
            "\n".join(problems),
            "Nothing was published. A package wrote outside /usr, /etc and /var.",
        )


def _entries(repo: Path, commit: str) -> dict[str, ostree.Listed]:
    """Entries of a commit at the top, in /usr and in the mount points, by path; nothing deeper."""
    top = _list(repo, commit, "/")
    inner = [path for path in ("/usr", *(f"/{name}" for name in MOUNT_POINTS)) if path in top and top[path].kind == "d"]
    return {**top, **(_list(repo, commit, *inner) if inner else {})}


def _list(repo: Path, commit: str, *paths: str) -> dict[str, ostree.Listed]:
    return {entry.path: entry for entry in ostree.parse_ls(ostree.run(repo, "ls", "--checksum", commit, *paths))}


def _links(entries: Mapping[str, ostree.Listed]) -> dict[str, str]:
    """Those of LINKS that a commit has, and where they lead there."""
    found = {name: entries.get(f"/{name}") for name in LINKS}
    return {name: entry.target for name, entry in found.items() if entry is not None and entry.kind == "l"}
