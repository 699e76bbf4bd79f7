"""The merge of a machine's /etc into that of a new deployment, and the refusal of what libostree must not or cannot
merge.

libostree copies the new tree's /usr/etc, and over it whatever the machine has otherwise than its own /usr/etc
(ostree-sysroot-deploy.c, merge_configuration_from). It does so as root, byte by byte and without a reserve; on a
running system in the shutdown, when nobody sees an error. Users of services own directories in /etc, so what is there
is not root's alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import TreeError
from ..host.door import Entry, Tree, at_and_above
from ..host.files import check_space, on_disk
from ..tools import listing
from ..tools.listing import Listed
from . import etc
from .deploying import SELINUX, SEMODULE, policy_problem

_NESTED_MAX = 128
"""Directories in each other: libostree holds two descriptors of each while it copies, and may have 1,024."""

_PATH_MAX = 3072
"""Bytes of a path below /etc: libostree opens it behind that of its deployment, and PATH_MAX is 4096."""

_ENTRIES_MAX = 50_000
"""Of a machine's /etc. 32,000 small files took the merge 44 s, and the shutdown ends it after five minutes."""

_PATHS_MAX = 32 << 20
"""Bytes of all its paths, which are kept."""

_CHANGED_MAX = 1 << 30
"""Bytes of what a machine changed in /etc, holes included. A running system copies them in its shutdown, which ends
ostree-finalize-staged.service after five minutes."""

_TOLD = 5
"""Entries that an error names."""

_KINDS = {"-": "a file", "l": "a link", "d": "a directory"}


def check(repo: Path, commit: str, deployment: Path, under: str | None = None) -> None:
    """Refuse a merge where libostree would leave the new tree, run a program of it, fill the disk, or fail.

    ``deployment`` is the merge deployment. Where ``commit`` is only the base of what is going to be built, ``under`` is
    the one that the deployment was built over: what a layer made something else of there, it may again. Raises
    TreeError, SpaceError.
    """
    tree = Tree(deployment)
    if odd := next((name for name in (etc.OWN, etc.SHIPPED) if not tree.has_directory(name)), None):
        raise TreeError(f"{deployment / odd} is not a directory", "OSTree merges it into the new deployment's /etc")
    if problem := policy_problem(deployment):
        raise TreeError(problem)
    if tree.has("etc/selinux/config"):
        raise TreeError(
            SELINUX,
            f"{deployment / 'etc/selinux/config'} goes into the next deployment, too: {SEMODULE}",
            "Nothing was published. Remove that file.",
        )
    own = {entry.name.removeprefix(f"{etc.OWN}/"): entry for entry in _own(tree)}
    shipped = {entry.name.removeprefix(f"{etc.SHIPPED}/"): entry for entry in tree.walk(etc.SHIPPED)}
    changes = etc.differences(tree, shipped, own)
    new = _listed(repo, commit)
    if under is not None:
        old = _listed(repo, under)
        remade = {name for name, entry in old.items() if _was_remade(shipped, name, entry)}
        new = {name: entry for name, entry in new.items() if name not in remade}
    _check_room(deployment, list(new.values()), [own[name] for name in changes.keys() & own.keys()])
    _check_kinds(deployment, own, shipped, changes, new)
    _check_special(tree, [entry for name, entry in own.items() if entry.is_directory or name in changes])


def _listed(repo: Path, commit: str) -> dict[str, Listed]:
    return {entry.path.removeprefix(f"{etc.USR_ETC}/"): entry for entry in listing.of(repo, commit).below(etc.USR_ETC)}


def _was_remade(shipped: Mapping[str, Entry], name: str, old: Listed) -> bool:
    """True if a deployment has an entry of another kind than the base below it."""
    return name in shipped and _KINDS[old.kind] != _kind(shipped[name])


def _own(tree: Tree) -> Iterator[Entry]:
    """What a machine has in its /etc. Raises TreeError for what lies too deep or is too much."""
    size = 0
    for count, entry in enumerate(tree.walk(etc.OWN), 1):
        name = entry.name.removeprefix(f"{etc.OWN}/")
        size += len(os.fsencode(name))
        if len(os.fsencode(name)) > _PATH_MAX or name.count("/") >= _NESTED_MAX:
            raise TreeError(
                "a path in /etc is too long or too deep for OSTree to merge",
                f"below /etc/{'/'.join(part[:40] for part in name.split('/')[:2])}; at most {_PATH_MAX} bytes and "
                f"{_NESTED_MAX} directories",
                "Nothing was published. Move that directory elsewhere.",
            )
        if count > _ENTRIES_MAX or size > _PATHS_MAX:
            raise TreeError(
                f"/etc has more than {_ENTRIES_MAX} entries, or more than {_PATHS_MAX} bytes of paths",
                f"the last one that was looked at is in /{entry.name[:80].rpartition('/')[0]}",
                "Nothing was published. Move elsewhere what is no configuration.",
            )
        yield entry


def _check_room(deployment: Path, new: Sequence[Listed], changed: Sequence[Entry]) -> None:
    """Refuse what would not leave the room that the host needs. Holes count as well: libostree writes them out."""
    shipped = sum(on_disk(max(entry.size, 1)) for entry in new)
    own = sum(on_disk(max(_size(entry), 1)) for entry in changed)
    what = "the new deployment's /etc"
    if own > shipped:
        largest = max(changed, key=_size)
        what += f", of which /{largest.name} has {_size(largest) / 1e6:.1f} MB"
        if own > _CHANGED_MAX:
            raise TreeError(
                f"/etc has more than {_CHANGED_MAX} bytes that OSTree would copy for each deployment",
                f"of {own} bytes, /{largest.name} has {_size(largest)}",
                "Nothing was published. Move elsewhere what is no configuration.",
            )
    check_space(deployment, shipped + own, what, inodes=len(new) + len(changed), reserve=True)


def _size(entry: Entry) -> int:
    return entry.status.st_size if entry.is_file else 0


def _check_special(tree: Tree, changed: Sequence[Entry]) -> None:
    """Refuse what libostree copies into no deployment, of what was changed and of all directories, whose attributes it
    compares: it says so and ends."""
    for entry in changed:
        # Raises TreeError for more than anything real has; libostree fails where nobody can list them.
        tree.attributes(entry.name)
    if special := min((entry.name for entry in changed if entry.is_special), default=None):
        raise TreeError(
            f"/{special} is a FIFO, a socket or a device",
            "OSTree cannot merge it into the new deployment's /etc",
            f"Nothing was published. Remove {tree.top / special}, and have the program that makes it use /run.",
        )


def _check_kinds(
    deployment: Path,
    own: Mapping[str, Entry],
    shipped: Mapping[str, Entry],
    changes: Mapping[str, str],
    new: Mapping[str, Listed],
) -> None:
    """Refuse two entries of which one is a directory and the other is not, where libostree would have to merge them."""
    problems: list[tuple[str, str, Path]] = []
    changed_inside = {above for name in changes for above in at_and_above(name.rpartition("/")[0])}
    writable = _writable(own)
    for name, entry in new.items():
        if name not in own or own[name].is_directory == (entry.kind == "d"):
            continue
        if entry.kind == "d":
            why = "OSTree cannot merge the two" if name in changes else ""
        elif entry.kind == "l" and name in writable:
            why = (
                f"others than root may write into {deployment / etc.OWN / writable[name]} until OSTree merges it, and "
                "it would write what they did through the link"
            )
        elif entry.kind == "l":
            why = "OSTree would write this machine's changes in it through the link" if name in changed_inside else ""
        else:
            # A directory that is the machine's alone is put in the file's place.
            clashes = name in changed_inside and name in shipped and shipped[name].is_directory
            why = "OSTree cannot merge this machine's changes in it" if clashes else ""
        if why:
            kinds = (
                f"/etc/{name} is {_kind(own[name])} on this machine and {_KINDS[entry.kind]}"
                f"{f' to {entry.target}' if entry.target else ''} in the new tree"
            )
            problems.append((kinds, why, deployment / etc.OWN / name))
    if problems:
        more = len(problems) - _TOLD
        told = [f"{kinds}: {why}" for kinds, why, _ in problems[1:_TOLD]]
        places = " and ".join(str(path) for *_, path in problems[:_TOLD])
        raise TreeError(
            problems[0][0],
            "\n".join([problems[0][1], *told, *([f"and {more} more"] if more > 0 else [])]),
            f"Nothing was published. Move {places} elsewhere, or what was changed in it.",
        )


def _writable(own: Mapping[str, Entry]) -> dict[str, str]:
    """Directories at or below which somebody else than root may write -> the first one where that is so."""
    found: dict[str, str] = {}
    for name, entry in own.items():
        if entry.is_directory and (entry.status.st_uid != os.geteuid() or entry.status.st_mode & 0o022):
            for above in at_and_above(name):
                found.setdefault(above, name)
    return found


def _kind(entry: Entry) -> str:
    return _KINDS["d" if entry.is_directory else "l" if entry.is_link else "-"]
