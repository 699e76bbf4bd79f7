"""dkms's state while scripts run: a directory in /var, as dkms(8) demands.

On a machine /var/lib/dkms is a link to /usr/lib/sysimage/dkms, so that it rolls back with the modules. But dkms builds
nothing where ``readlink -f`` of its directory is another path.
"""

from __future__ import annotations

from ..host.door import Entry, Tree
from ..tree import state
from . import overlay
from .job import Job

PLACE = "lib/dkms"
"""Below /var."""
_KEPT = f"{state.SYSIMAGE}/dkms"


def take_out(job: Job) -> None:
    """Make the link in the /var that scripts see a directory with what the base has."""
    var, base = Tree(job.var), Tree(job.base.path)
    if not var.has_link(PLACE):
        return
    var.remove(PLACE)
    _copy(base, _KEPT, var, PLACE)


def put_back(job: Job, top: Tree) -> None:
    """Put what scripts made of it into the layer ``top``, and the link in its place."""
    var, base = Tree(job.var), Tree(job.base.path)
    if not base.has_directory(_KEPT) or not var.has_directory(PLACE):
        return
    before, now = _entries(base, _KEPT), _entries(var, PLACE)
    if before.keys() - now.keys() or any(before[name].is_directory != now[name].is_directory for name in before):
        # Nothing of the base's shows through.
        top.make_directory(_KEPT)
        top.set_attribute(_KEPT, f"{overlay.PREFIX}opaque", b"y")
        _copy(var, PLACE, top, _KEPT)
    elif any(not _is_same(base, before.get(name), var, entry) for name, entry in now.items()):
        _copy(var, PLACE, top, _KEPT)
    var.remove(PLACE)
    var.symlink(PLACE, f"/{_KEPT}")


def _entries(tree: Tree, place: str) -> dict[str, Entry]:
    return {entry.name.removeprefix(place): entry for entry in tree.walk(place)}


def _is_same(base: Tree, before: Entry | None, var: Tree, now: Entry) -> bool:
    if before is None or before.status.st_mode != now.status.st_mode:
        return False
    if now.is_link:
        return base.link(before.name) == var.link(now.name)
    return not now.is_file or base.has_same_content(before.name, var, now.name)


def _copy(source: Tree, place: str, target: Tree, to: str) -> None:
    target.make_directory(to)
    target.copy_metadata(source, place, to)
    for entry in source.walk(place):
        if entry.is_directory or entry.is_file or entry.is_link:
            target.copy(source, entry.name, f"{to}{entry.name.removeprefix(place)}")
