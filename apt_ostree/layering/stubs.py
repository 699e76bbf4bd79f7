"""Programs that would touch a running system: while scripts run, each has a stub in its place.

The stubs are files of the round's own layer, not mounts: dpkg can replace, divert or link them as it does any
other. Afterwards those that are where they were put are taken out again, and what was made of one (a diversion
renames it, a statoverride gives it another mode) gets the program's content back.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..host.door import Tree
from ..text import text_of
from ..tree.view import File, View
from . import overlay, written
from .base import as_seen

STUBS = {
    # ischroot(1): 0 is "yes"; scripts then leave the running system alone.
    "usr/bin/ischroot": "#!/bin/sh\n# ischroot of apt-ostree\nexit 0\n",
    "usr/sbin/start-stop-daemon": "#!/bin/sh\n# start-stop-daemon of apt-ostree\nexit 0\n",
    # Each kernel's script and a trigger would run it; one run when all is done is enough.
    "usr/bin/dracut": "#!/bin/sh\n# dracut of apt-ostree\n: >/boot/initramfs-wanted\n",
    # It refuses to remove the kernel that runs, which is the host's.
    "usr/bin/linux-check-removal": "#!/bin/sh\n# linux-check-removal of apt-ostree\nexit 0\n",
    # invoke-rc.d(8): 101 is "action forbidden by policy".
    "usr/sbin/policy-rc.d": "#!/bin/sh\n# policy-rc.d of apt-ostree\nexit 101\n",
}
"""Program -> the script in its place; each is another, since its content tells what it stands for."""

UNAME = "usr/bin/uname"
"""It tells of the host's kernel, for which dkms would build its modules: see ``uname``."""

POLICY = "usr/sbin/policy-rc.d"
"""The one program that is wanted although no package may have it. Then it is a link to one outside the tree:
update-alternatives(1) replaces links, but not files."""


@dataclass(frozen=True, slots=True)
class Cover:
    """A stub in the place of a program: the place in the tree, what stands there, and the program's own file."""

    name: str
    content: bytes
    real: File


def write_policy(directory: Path) -> None:
    """Put a policy-rc.d into a directory that the sandbox sees."""
    Tree(directory).write(os.path.basename(POLICY), STUBS[POLICY].encode(), 0o755)


def uname(release: str) -> str:
    """A uname(1) that calls the kernel ``release``; the one that runs, where that is empty."""
    text = text_of(resources.files("apt_ostree") / "data/uname")
    return text.replace("@RELEASE@", shlex.quote(release)).replace("@MACHINE@", os.uname().machine)


def cover(root: Path, policy: str, release: str, below: View) -> list[Cover]:
    """Put stubs into the tree mounted at ``root``, where it has the programs, wherever links of it lead.

    ``policy`` is where the sandbox sees the file of ``write_policy``, ``release`` the kernel that boots, ``below`` has
    what the mount shows as the files that it lies over.
    """
    covers = []
    tree = as_seen(root)
    for name, text in {**STUBS, UNAME: uname(release)}.items():
        found = tree.find(name)
        if found is not None and tree.has_file(found):
            if name != POLICY and os.path.basename(found) != os.path.basename(name):
                # A program of many names (busybox) would be covered under all of them.
                continue
            inner = f"usr/{found}" if tree.etc is not None and found.startswith("etc/") else found
            if (real := below.find(inner)) is not None:
                tree.replace_content(found, text.encode())
                covers.append(Cover(inner, text.encode(), real))
        elif name == POLICY:
            above = tree.find(os.path.dirname(name))
            if above is not None and tree.has_directory(above):
                place = os.path.join(above, os.path.basename(name))
                if not tree.has(place):
                    tree.symlink(place, policy)
    return covers


def uncover(layer: Path, covers: list[Cover], policy: str) -> dict[bytes, File]:
    """Take the stubs out of the layer of an unmounted tree; returns what is left of them, by content: the file that
    each stands for."""
    tree = Tree(layer)
    for directory in written.directories(layer):
        for entry in directory.entries:
            if entry.is_link and directory.tree.link(entry.own) == policy:
                directory.tree.remove(entry.own)
    for one in covers:
        # In a directory that is another one by now (a script renamed it), nothing would be under it.
        if _is_as_put(tree, one) and overlay.is_merged(tree, one.name):
            tree.remove(one.name)
    return {one.content: one.real for one in covers}


def _is_as_put(tree: Tree, one: Cover) -> bool:
    status, real = tree.status(one.name), one.real.tree.status(one.real.name)
    if status is None or real is None or status.st_nlink != 1 or status.st_size != len(one.content):
        return False
    same = (status.st_mode, status.st_uid, status.st_gid) == (real.st_mode, real.st_uid, real.st_gid)
    return same and tree.read(one.name, limit=len(one.content)) == one.content
