"""What scripts wrote, measured before the host reads and keeps any of it.

What OSTree cannot hold is refused, and what is more than any package needs: later steps take time and memory for each
entry of /var and /etc, and for each byte of its path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import TreeError
from ..host.door import Directory, Listed, Tree
from ..host.files import check_space
from ..tools.extent import ENTRIES_MAX, LEVELS_MAX
from ..tree.layout import PLACED
from ..tree.overlays import PLACES
from ..tree.shipped import CONFFILES, FILES, INFO
from . import overlay
from .base import ETC
from .job import Job

TREE_PATHS_MAX = 256 << 20
"""Characters of all whole paths of a layer, whose files may be extent.ENTRIES_MAX: some steps keep each. Those of a
desktop are thirty million."""

KEPT_MAX = 200_000
"""Files and directories of /var and /etc together. Those of a whole desktop are fewer than 20,000."""

PATHS_MAX = 16 << 20
"""Bytes of the whole paths of these."""

LISTS_MAX = 128 << 20
"""Bytes of dpkg's lists of files together. Those of a desktop of 3,000 packages have some thirty million."""

ACCOUNTS_MAX = 2 << 20
"""Bytes of a list of accounts: some thirty thousand of them. It is kept in memory, thirty times its size."""

_ACCOUNTS = frozenset(
    f"{ETC}/{name}{end}" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid") for end in ("", "-")
)

READ_MAX = 64 << 30
"""Bytes of the files in /var, /etc and overlays.PLACES together, as they seem: each name gets a digest, also of holes.
The files of the largest packages in /opt have some ten thousand million."""

ATTRIBUTES_MAX = 16 << 20
"""Bytes of extended attributes in /var, which are kept."""

OWN_MAX = 8 << 20
"""Bytes of files in our own directory of a tree: later layers read what an earlier one has there."""

_OWN = "usr/lib/apt-ostree/"
_COMPARED = tuple(f"{place}/" for place in PLACES.values())

_HINT = "Nothing was changed. Leave out the package that makes it: its name, or the log, tells which."


def check(job: Job, layers: Sequence[Path]) -> None:
    """Refuse what OSTree cannot hold, what is too much, and what does not fit on the disk a second time, as a copy or
    in the commit: a script's sparse file takes no space before.

    Raises TreeError, SpaceError."""
    written, read, kept, texts = 0, 0, _Kept(), _Texts()
    staying = PLACED | {*Tree(job.base.path).names()}
    # /var and /boot are a part of the work directory; what of them is carried is copied name by name.
    for tree, above in (*((layer, "") for layer in layers), (job.var, "var/"), (job.boot, "boot/")):
        linked: dict[tuple[int, int], tuple[int, int]] = {}
        for directory in directories(tree):
            for entry in directory.entries:
                # In /var, a program makes its sockets and FIFOs itself; of /boot, kernels alone are carried.
                problem = _problem(entry, anything=above != "")
                if problem is not None and not overlay.is_whiteout(entry.status):
                    shown = entry.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
                    raise TreeError(f"a script made what OSTree cannot hold: {problem}", f"/{above}{shown}", _HINT)
                is_kept = above == "var/" or (above == "" and _is_kept(entry.name))
                if is_kept:
                    kept.add(entry.name)
                if above == "var/":
                    kept.add_attributes(directory.tree.attributes(entry.own))
                if not entry.is_file:
                    continue
                size = entry.status.st_size
                written += _size_of_copies(entry.status, _copies(f"{above}{entry.name}", staying), linked)
                read += size if is_kept or (above == "" and entry.name.startswith(_COMPARED)) else 0
                if above == "":
                    texts.add(entry.name, size)
    check_space(job.work, written, "what the scripts wrote", reserve=True)
    if read > READ_MAX:
        raise TreeError("scripts made files too large to be compared", f"more than {READ_MAX} bytes together", _HINT)


def directories(top: Path, above: str = "") -> Iterator[Directory[Tree]]:
    """As Tree.directories, of a tree in which scripts made some; it is at ``above`` in a whole one. Raises TreeError
    where they lie too deep in each other for OSTree, and for what works on whole paths; and where all paths are too
    many, or too long together."""
    count = size = 0
    for directory in Tree(top).directories():
        count += len(directory.entries)
        size += sum(len(entry.own) for entry in directory.entries) + len(directory.entries) * len(directory.name)
        if count > ENTRIES_MAX or size > TREE_PATHS_MAX:
            raise TreeError(
                "scripts made more files than a tree may have",
                f"more than {ENTRIES_MAX}, or more than {TREE_PATHS_MAX} characters of paths",
                _HINT,
            )
        if directory.name.count("/") >= LEVELS_MAX:
            raise TreeError(
                f"a script made more than {LEVELS_MAX} directories in each other",
                f"{above}/{directory.name[:80]}…",
                _HINT,
            )
        yield directory


def entries(top: Path, above: str = "") -> Iterator[Listed]:
    """Every entry of a tree in which scripts made some; it is at ``above`` in a whole one. Raises TreeError where they
    are too many, or too deep."""
    kept = _Kept()
    for directory in directories(top, above):
        for entry in directory.entries:
            kept.add(entry.name)
            yield entry


def _is_kept(name: str) -> bool:
    """True for an entry of a layer whose name is kept: in /etc, or below a directory at the top that may go to /var."""
    return name.startswith(f"{ETC}/") or name.partition("/")[0] not in PLACED


class _Texts:
    """Sizes of what the host reads of a layer, as they seem: holes are read, too."""

    def __init__(self) -> None:
        self.lists = self.own = 0

    def add(self, name: str, size: int) -> None:
        """Count a file, if it is one of these. Raises TreeError for one that is too large, or too much."""
        if name in _ACCOUNTS and size > ACCOUNTS_MAX:
            raise _too_large(f"/etc/{name.removeprefix(f'{ETC}/')}", ACCOUNTS_MAX)
        if name.startswith(f"{INFO}/") and name.endswith((FILES, CONFFILES)):
            self.lists += size
            if self.lists > LISTS_MAX:
                raise _too_large(f"what dpkg has in /{INFO}", LISTS_MAX)
        elif name.startswith(_OWN):
            self.own += size
            if self.own > OWN_MAX:
                raise _too_large(f"what is in /{_OWN}", OWN_MAX)


def _too_large(what: str, limit: int) -> TreeError:
    return TreeError("scripts made a list too large to be read", f"{what}: more than {limit} bytes", _HINT)


class _Kept:
    """Names that are kept in memory, counted."""

    def __init__(self) -> None:
        self.entries = self.bytes = self.attributes = 0

    def add_attributes(self, attributes: Mapping[str, bytes]) -> None:
        """Count an entry's extended attributes. Raises TreeError for one too many."""
        self.attributes += sum(len(key) + len(value) for key, value in attributes.items())
        if self.attributes > ATTRIBUTES_MAX:
            raise TreeError(
                "scripts made too many extended attributes in /var", f"more than {ATTRIBUTES_MAX} bytes", _HINT
            )

    def add(self, name: str) -> None:
        """Count a name. Raises TreeError for one too many."""
        self.entries += 1
        self.bytes += len(os.fsencode(name))
        if self.entries > KEPT_MAX or self.bytes > PATHS_MAX:
            raise TreeError(
                "scripts made too many files in /etc and /var",
                f"more than {KEPT_MAX}, or more than {PATHS_MAX} bytes of paths",
                _HINT,
            )


def _copies(name: str, staying: Collection[str]) -> int:
    """How often a file is copied, also into the commit: of /var and /boot into the tree before that; of a new directory
    at the top, which may go to /var (tree/top.py), first of all there."""
    top = name.partition("/")[0]
    return 2 if top in {"var", "boot"} else 1 if top in staying else 3


def _size_of_copies(status: os.stat_result, copies: int, linked: dict[tuple[int, int], tuple[int, int]]) -> int:
    """The bytes that the copies of a file take. One of several names counts with each, when the last was met: where one
    gets another owner, place or time, it becomes a file of its own. An object has a name outside of the tree, and no
    copy in the commit: ``linked`` has the names that were met, and their copies."""
    if status.st_nlink == 1:
        return copies * status.st_size
    file = (status.st_dev, status.st_ino)
    names, before = linked.get(file, (0, 0))
    linked[file] = names + 1, before + copies
    return (before + copies) * status.st_size if names + 1 == status.st_nlink else 0


def _problem(entry: Listed, *, anything: bool) -> str | None:
    """Why a commit cannot hold an entry; ``anything`` may be of any type. None where it can."""
    try:
        entry.own.encode()
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    if anything or not entry.is_special:
        return None
    return "a FIFO" if stat.S_ISFIFO(entry.status.st_mode) else "a socket or a device"
