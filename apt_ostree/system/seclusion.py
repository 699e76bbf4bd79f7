"""Where OSTree makes a deployment of a sysroot that is not running, the users of this system are kept from it.

libostree merges /etc as root by whole paths, following links, with the owners that its directories have (see
tree/merging.py). A number belongs to a user of the sysroot and to one of this system, who could exchange a directory
that is "his" for a link meanwhile: root would write his files anywhere, or copy what only root may read. On a running
system nobody else can write below /sysroot (apt-ostree-sysroot.service), and the merge comes with the shutdown.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import TreeError
from ..host import mounts, proc
from ..host.door import Tree
from ..host.files import scratch_directory

_CLOSED, _OPEN = 0o700, 0o755

_COPY_SECONDS = 300
"""Who holds a lease on a file (fcntl(2)) lets whoever opens it wait 45 seconds."""


@contextmanager
def away(sysroot: Path, osname: str) -> Iterator[None]:
    """Keep others from the deployments of a stateroot as long as the block.

    A kill leaves them closed: see ``reopen``.
    """
    tree, place = Tree(sysroot), _place(osname)
    tree.make_directory(place, _CLOSED)
    tree.set_mode(place, _CLOSED)
    try:
        yield
    finally:
        tree.set_mode(place, _OPEN)


@contextmanager
def etc_of(deployment: Path, scratch: Path) -> Iterator[None]:
    """Show this process and its children a copy of a deployment's /etc in its place, as long as the block: whoever has
    one of its directories open could change it under libostree's eyes. No link is followed while it is copied.

    ``scratch`` is a directory that nobody else may enter. Raises TreeError where it cannot be copied in time.
    """
    etc = deployment / "etc"
    with scratch_directory(scratch / "etc") as copy:
        with mounts.shown(etc, etc):
            limit = ["timeout", str(_COPY_SECONDS)]
            try:
                proc.run([*limit, "cp", "--archive", "--no-target-directory", "--", etc, copy])
            except proc.ChildError as error:
                raise TreeError(
                    "cannot copy the machine's /etc",
                    error.detail or f"it took longer than {_COPY_SECONDS} s: a program may hold a lease on a file",
                    f"Nothing was published. Look who has files in {etc} open (fuser).",
                ) from error
        with mounts.shown(copy, etc):
            yield


def reopen(sysroot: Path) -> None:
    """Let others look at the deployments again, should a command have been killed meanwhile."""
    tree = Tree(sysroot)
    for osname in tree.names("ostree/deploy"):
        status = tree.status(_place(osname))
        if status is not None and stat.S_IMODE(status.st_mode) == _CLOSED and status.st_uid == os.geteuid():
            tree.set_mode(_place(osname), _OPEN)


def _place(osname: str) -> str:
    return f"ostree/deploy/{osname}/deploy"
