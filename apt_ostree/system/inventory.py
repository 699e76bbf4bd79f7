"""The packages of a commit."""

from __future__ import annotations

import functools
from pathlib import Path

from ..errors import ToolError, TreeError
from ..model import Package
from ..tools import dpkg, listing, ostree
from . import metadata


def package_list(repo: Path, commit: str) -> list[Package]:
    """The packages of a commit: from its metadata, or else from the dpkg database inside it.

    Raises TreeError for a commit that has neither, or whose files are not here.
    """
    return list(_package_list(repo, commit))


@functools.lru_cache(maxsize=16)
def _package_list(repo: Path, commit: str) -> tuple[Package, ...]:
    info = ostree.commit_info(repo, commit)
    try:
        # A lie changes what is shown, compared and taken for a part of the base; apt solves over the database itself.
        listed = metadata.packages(info) if info is not None else None
    except ToolError:
        # The author of a base stops no later operation by it.
        listed = None
    if listed is not None:
        return tuple(listed)
    for name in dpkg.DATABASES if not ostree.is_partial(repo, commit) else ():
        text = listing.of(repo, commit).read(f"/{name}/status")
        if text is not None:
            return tuple(sorted(entry.package for entry in dpkg.parse_status(text)))
    raise no_database(commit)


def no_database(commit: str) -> TreeError:
    """The error for a commit that does not tell its packages."""
    return TreeError(
        f"commit {commit[:12]} does not have a dpkg database",
        f"its metadata lists no packages, and it has none of {', '.join(f'/{name}' for name in dpkg.DATABASES)}",
        "Use an image of Debian: 'apt-ostree status' lists what is deployed, 'apt-ostree compose tree' makes one.",
    )
