"""A directory in which root works for a longer time: held open, and root's own, whatever happens to its path.

An image's repository may lie in a user's directory, who could exchange it, or put a link in its place, between two of
the many steps that go by its path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import AptOstreeError, Interrupted, UsageError
from ..host import mounts
from ..host.door import Tree


@contextmanager
def held(path: Path, at: Path, mode: int) -> Iterator[Tree]:
    """Show the directory ``path``, made with ``mode`` where nothing is, at ``at`` in this process's mount namespace as
    long as the block. Errors name ``path`` for what is below ``at``.

    Raises UsageError for a directory that others than root can write to, or in which something is not root's.
    """
    _make(path, mode)
    try:
        source = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot work in {path}", error.strerror or "") from error
    try:
        at.mkdir(mode=0o700, exist_ok=True)
        with mounts.bound(Path(f"/proc/self/fd/{source}"), at):
            tree = Tree(at)
            _require_own(tree, path)
            try:
                yield tree
            except Interrupted:
                raise
            except AptOstreeError as error:
                error.replace_path(os.fspath(at), os.fspath(path))
                raise
    finally:
        os.close(source)


def _make(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode, parents=True)
    except FileExistsError:
        pass
    except OSError as error:
        raise UsageError(f"cannot make {path}", error.strerror or "") from error


def _require_own(tree: Tree, path: Path) -> None:
    """Looks at the directory, at what is in it, and in the directories there: root works by these names."""
    names = [name for name in tree.names() if tree.has_directory(name)]
    for name in ("", *tree.names(), *(f"{above}/{name}" for above in names for name in tree.names(above))):
        status = tree.status(name)
        if status is None or stat.S_ISLNK(status.st_mode):
            continue
        if status.st_uid != 0 or (status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX):
            raise UsageError(
                f"others than root can write to {path / name if name else path}",
                "they could exchange what root puts together there",
                "Nothing was changed. Name a directory of root's, or make it so: chown -R --no-dereference root:root "
                f"{path}; chmod -R go-w {path}",
            )
