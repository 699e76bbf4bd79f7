"""The commits behind deployments, and the refs that keep them through a prune."""

from __future__ import annotations

from pathlib import Path

from ..errors import SysrootError, ToolError
from ..model import CommitInfo, Deployment
from ..tools import ostree
from . import metadata, origin
from .sysroot import Sysroot

PENDING_REF = "apt-ostree/pending"
"""Holds a new layer between its commit and its deployment, so that no concurrent prune takes it."""

BASE_REF = "apt-ostree/base"


def base_of(repo: Path, deployment: Deployment) -> CommitInfo:
    """The base commit of a deployment: its own where nothing is layered. Raises SysrootError."""
    info = commit_of(repo, deployment)
    if not metadata.is_layer(info):
        return info
    if info.parent is None:
        raise SysrootError(
            f"the commit of deployment {deployment.index} claims to be a layer, but has no base",
            info.checksum,
            "Deploy another commit (apt-ostree deploy, apt-ostree rebase).",
        )
    base = base_info(repo, info.parent)
    if base is None:
        raise SysrootError(
            f"the base of deployment {deployment.index} is missing",
            f"commit {info.parent} is not in {repo}",
            "Pull it again (ostree pull), or deploy another commit (apt-ostree deploy).",
        )
    return base


def base_info(repo: Path, revision: str) -> CommitInfo | None:
    """A commit as a base, which says nothing of a layer; None when there is no such commit."""
    info = ostree.commit_info(repo, revision)
    return metadata.as_base(info) if info is not None else None


def commit_of(repo: Path, deployment: Deployment) -> CommitInfo:
    """A deployment's own commit. Raises SysrootError when the repository does not have it.

    Whether it is a layer is for the deployment's origin to say, which nobody but this machine writes. Where the origin
    says nothing, since it is lost or damaged, the commit is believed.
    """
    info = ostree.commit_info(repo, deployment.checksum)
    if info is None:
        raise SysrootError(
            f"the commit of deployment {deployment.index} is missing",
            f"{deployment.checksum} is not in {repo}",
            "Pull it again (ostree pull), or boot another deployment. To list them: apt-ostree rollback --list",
        )
    is_base = origin.names_base(deployment.origin) or not metadata.is_layer(info)
    return metadata.as_base(info) if is_base else info


def look(repo: Path, deployment: Deployment) -> tuple[CommitInfo, str]:
    """A deployment's own commit, and why it cannot be read: it says nothing then but its checksum. Never fails."""
    try:
        return commit_of(repo, deployment), ""
    except (SysrootError, ToolError) as error:
        return CommitInfo(deployment.checksum, None, 0, "", {}), f"{error.brief}: {error.detail}"


def hold_bases(loaded: Sysroot, also: str | None = None) -> None:
    """Keep the base commits of all deployments (and ``also``) through a prune, and let go of all others.

    If the base of one deployment cannot be read, none is let go.
    """
    wanted, known = set() if also is None else {also}, also is None
    for deployment in loaded.deployments:
        try:
            wanted.add(base_of(loaded.repo, deployment).checksum)
        except (SysrootError, ToolError):
            known = False
    held = {ref: ref.rpartition("/")[2] for ref in ostree.refs(loaded.repo, BASE_REF)}
    for checksum in sorted(wanted - set(held.values())):
        ostree.create_ref(loaded.repo, f"{BASE_REF}/{checksum}", checksum)
    if known:
        for ref, checksum in held.items():
            if checksum not in wanted:
                ostree.delete_ref(loaded.repo, ref)
