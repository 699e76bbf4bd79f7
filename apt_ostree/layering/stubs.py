"""Programs that would touch a running system: while scripts run, each has a stub in its place.

The stubs are files of the round's own layer, not mounts: dpkg can replace, divert or link them as it does any
other. Afterwards those that are where they were put are taken out again, and what was made of one (a diversion
renames it, a statoverride gives it another mode) gets the program's content back.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..host.files import replace_content
from ..host.paths import beneath, resolve, walk
from . import overlay

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
    real: Path


def write_policy(directory: Path) -> None:
    """Put a policy-rc.d into a directory that the sandbox sees."""
    place = directory / os.path.basename(POLICY)
    place.write_text(STUBS[POLICY])
    place.chmod(0o755)


def uname(release: str) -> str:
    """A uname(1) that calls the kernel ``release``; the one that runs, where that is empty."""
    text = (resources.files("apt_ostree") / "data/uname").read_text()
    return text.replace("@RELEASE@", shlex.quote(release)).replace("@MACHINE@", os.uname().machine)


def cover(root: Path, policy: str, release: str, find: Callable[[str], Path | None], fresh: Path) -> list[Cover]:
    """Put stubs into the tree mounted at ``root``, where it has the programs, wherever links of it lead.

    ``policy`` is where the sandbox sees the file of ``write_policy``, ``release`` the kernel that boots, ``find`` gives
    the file below the mount that shows at a name, ``fresh`` is a free name outside the tree.
    """
    covers = []
    for name, text in {**STUBS, UNAME: uname(release)}.items():
        found = resolve(f"/{name}", root, root / "usr/etc")
        if found is not None and stat.S_ISREG(found[1].lstat().st_mode):
            if name != POLICY and found[1].name != os.path.basename(name):
                # A program of many names (busybox) would be covered under all of them.
                continue
            inner = os.fspath(found[1].relative_to(root))
            if (real := find(inner)) is not None:
                fresh.write_text(text)
                replace_content(found[1], fresh, root / ".apt-ostree-spare")
                covers.append(Cover(inner, text.encode(), real))
        elif name == POLICY:
            above = resolve(f"/{os.path.dirname(name)}", root, root / "usr/etc")
            if above is not None and not os.path.lexists(above[1] / os.path.basename(name)):
                (above[1] / os.path.basename(name)).symlink_to(policy)
    return covers


def uncover(layer: Path, covers: list[Cover], policy: str) -> dict[bytes, Path]:
    """Take the stubs out of the layer of an unmounted tree; returns what is left of them, by content: the file that
    each stands for."""
    for entry in walk(layer):
        if entry.is_symlink() and os.readlink(entry.path) == policy:
            os.unlink(entry.path)
    for one in covers:
        place = beneath(layer, one.name)
        # In a directory that is another one by now (a script renamed it), nothing would be under it.
        if place is not None and _is_as_put(place, one) and overlay.is_merged(layer, one.name):
            place.unlink()
    return {one.content: one.real for one in covers}


def _is_as_put(place: Path, one: Cover) -> bool:
    status, real = place.lstat(), one.real.stat()
    same = (status.st_mode, status.st_uid, status.st_gid) == (real.st_mode, real.st_uid, real.st_gid)
    return same and status.st_nlink == 1 and status.st_size == len(one.content) and place.read_bytes() == one.content
