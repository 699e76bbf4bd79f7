"""Repositories on a disk, a stick or in a network's filesystem: remotes of file://, and what a system is made from.

libostree takes such a repository for one of this system's: it compares no object with its checksum, keeps the objects'
owners, and makes hard links where the filesystem lets it (ostree-pull(1), ``--untrusted``, and ostree_repo_pull). But
only the key of a remote counts: whoever can write its files could change what was verified, before or after. So objects
are always verified, a repository is read by a mount of its own, whose files no other filesystem links to, and an
archive by a view with a configuration of ours: what comes is written anew, by root. Any other kind of repository has to
be root's own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote

from ..errors import RemoteError, SysrootError
from ..host import mounts, proc
from ..host.door import Tree
from ..host.files import scratch_directory
from ..tools import ostree
from . import origin

_SCHEME = "file://"

_ARCHIVE = frozenset({"archive", "archive-z2"})
"""The modes of a repository whose objects are compressed (ostree.repo-config(5))."""

_CONFIG = b"[core]\nrepo_version=1\nmode=archive-z2\n"

_CONFIG_MAX, _SUMMARY_MAX = 1 << 20, 64 << 20
"""Bytes that are read: both are in memory at once. A summary has some hundred bytes for each ref."""

_DIRECTORIES, _FILES = ("objects", "refs", "deltas"), ("summary", "summary.sig")
"""What libostree reads of a remote repository besides its configuration."""


@contextmanager
def options(repo: Path, name: str, scratch: Path) -> Iterator[list[str]]:
    """The words with which ostree-pull(1) may read the remote ``name`` of ``repo``, as long as the block.

    ``scratch`` is a directory that nobody else writes to; mounts are made in this process's namespace. Raises
    RemoteError for a repository that is not there, or not one that may be read.
    """
    try:
        url = ostree.run(repo, "remote", "show-url", name).strip()
    except proc.ChildError:
        # The pull itself says what is wrong with the remote.
        url = ""
    if not url.lower().startswith("file:"):
        yield ["--untrusted"]
        return
    place = Path(unquote(url.removeprefix(_SCHEME)))
    if not url.startswith(f"{_SCHEME}/"):
        raise RemoteError(f"the URL of the remote {name} is not valid", url, "Write file:///PATH.")
    with readable(place, f"the remote {name}", scratch) as directory:
        yield ["--untrusted", f"--url={_SCHEME}{directory}"]


@contextmanager
def readable(place: Path, what: str, scratch: Path) -> Iterator[Path]:
    """The directory by which the repository ``place`` may be read, as long as the block, objects verified.

    It is a mount of what was judged, whatever is at ``place`` by then, and so nothing in it can be linked to.
    ``scratch`` is as in ``options``. Raises RemoteError, in which ``what`` names the repository, where it is not there,
    or not one that may be read.
    """
    with ExitStack() as held:
        try:
            source = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _not_there(what, f"{place}: {error.strerror}") from error
        held.callback(os.close, source)
        made = held.enter_context(scratch_directory(scratch / "remote"))
        seen = made / "seen"
        seen.mkdir()
        held.enter_context(mounts.shown(Path(f"/proc/self/fd/{source}"), seen))
        if _is_archive(seen, place, what):
            held.enter_context(_view(seen, made / "view"))
            yield made / "view"
        else:
            _require_own(seen, source, place, what)
            yield seen


def _is_archive(seen: Path, place: Path, what: str) -> bool:
    """True if a repository's objects are compressed. Raises RemoteError where there is none."""
    text = Tree(seen).text("config", limit=_CONFIG_MAX)
    if text is None:
        raise _not_there(what, f"{place} is not an OSTree repository")
    if not Tree(seen).has_directory("objects"):
        raise RemoteError(f"{what} is damaged", f"{place}/objects is not a directory")
    try:
        return origin.parse(text, f"{place}/config").get("core", {}).get("mode") in _ARCHIVE
    except SysrootError as error:
        raise RemoteError(f"{what} is damaged", error.detail) from error


def _not_there(what: str, why: str) -> RemoteError:
    return RemoteError(f"{what} is not there", why, "Nothing was changed. If it is on another disk, mount that first.")


def _require_own(seen: Path, source: int, place: Path, what: str) -> None:
    """Raises RemoteError unless a repository can be written by root alone, on a filesystem of this system. ``source``
    is its directory, opened: those above it are found by that."""
    closed, objects = False, (os.stat(seen / "objects", follow_symlinks=False), f"{place}/objects")
    for status, shown in (objects, *_upwards(source, place)):
        open_to_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or open_to_others:
            raise _not_own(what, f"others than root can write to {shown}")
        closed = closed or not status.st_mode & (stat.S_IXGRP | stat.S_IXOTH)
    # A file's owner can write to it wherever he can get to it.
    if not closed and (file := _of_somebody(seen)) is not None:
        raise _not_own(what, f"{place}/objects/{file} belongs to somebody else, and nothing keeps him from it")
    kind = mounts.kind_at(seen)
    if kind not in mounts.LOCAL:
        raise _not_own(what, f"{place} is on the type {kind}, whose files somebody else may change")


def _upwards(directory: int, place: Path) -> Iterator[tuple[os.stat_result, str]]:
    """A directory and those above it, up to the root; with a name to show."""
    way, below = ".", None
    while True:
        status = os.stat(way, dir_fd=directory)
        if below is not None and os.path.samestat(status, below):
            return
        yield status, f"{place}" if way == "." else f"a directory above {place}"
        way, below = f"{way}/..", status


def _of_somebody(place: Path) -> str | None:
    """An object of a repository that is not root's, or a directory of objects."""
    for directory in Tree(place / "objects").directories():
        for entry in directory.entries:
            if entry.status.st_uid != 0:
                return entry.name
    return None


def _not_own(what: str, why: str) -> RemoteError:
    return RemoteError(
        f"{what} cannot be trusted with its files",
        f"{why}, and its mode is not archive",
        "Nothing was changed. Make an archive of it (ostree init --mode=archive; ostree pull-local), or serve it over "
        "HTTP.",
    )


@contextmanager
def _view(place: Path, at: Path) -> Iterator[Path]:
    """A repository with the objects and refs of the archive ``place`` and a configuration of ours: its owner could make
    it another kind meanwhile. No link in it leads anywhere."""
    source = Tree(place)
    with scratch_directory(at) as made, ExitStack() as shown:
        view = Tree(made)
        view.write("config", _CONFIG, 0o644)
        view.make_directory("tmp", 0o755)
        for name in _FILES:
            if (content := source.read(name, limit=_SUMMARY_MAX)) is not None:
                view.write(name, content, 0o644)
        for name in _DIRECTORIES:
            view.make_directory(name, 0o755)
            if source.has_directory(name):
                shown.enter_context(mounts.shown(place / name, made / name))
        yield made
