"""The end of an operation that changes something: deploy a commit, and drop what no deployment needs any longer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import SysrootError, ToolError
from ..layering import cache
from ..model import Deployment
from ..system import commits, metadata, origin, publication
from ..system.origin import Origin
from ..system.sysroot import Sysroot
from ..tools import ostree
from .transaction import Transaction


def deploy(
    current: Transaction,
    commit: str,
    new_origin: Origin,
    *,
    base: str | None = None,
    arguments: Sequence[str] | None = None,
) -> Sysroot:
    """Publish a commit with its origin, and return the sysroot as it is then.

    ``base`` is the commit below a layer that no deployment has yet, ``arguments`` are all kernel arguments; without
    them the transaction's stay. Raises what ``publication.publish`` raises; nothing has changed then.
    """
    with current.phase("deploy", "Deploying"):
        commits.hold_bases(current.sysroot, also=base)
        fresh = publication.publish(
            current.sysroot,
            current.osname,
            commit,
            new_origin,
            arguments=current.kargs if arguments is None else arguments,
            keep=current.config.deployments,
        )
    with current.phase("prune"):
        drop_unneeded(current.reloaded(fresh))
    return fresh


def drop_unneeded(current: Transaction) -> None:
    """Remove what no deployment needs any longer: refs, cached packages, objects."""
    loaded = current.sysroot
    if commits.PENDING_REF in ostree.refs(loaded.repo, "apt-ostree"):
        ostree.delete_ref(loaded.repo, commits.PENDING_REF)
    commits.hold_bases(loaded)
    try:
        keep = needed(loaded.repo, loaded.deployments)
    except (SysrootError, ToolError) as error:
        # The new deployment is in place; what this one needs is unknown, so nothing is removed.
        current.reporter.warn(f"no cached package was removed: {error.brief}")
        return
    cache.collect_garbage(loaded.repo, loaded.area, keep)


def needed(repo: Path, deployments: Sequence[Deployment]) -> set[str]:
    """The digests of the packages that these deployments are made of. Raises SysrootError or
    ToolError where that is unknown."""
    keep = set()
    for deployment in deployments:
        if deployment.damaged:
            raise SysrootError(f"the origin of deployment {deployment.index} cannot be read", deployment.damaged)
        keep |= {s.sha256 for s in metadata.lock(commits.commit_of(repo, deployment))}
        keep |= {entry.sha256 for entry in origin.intent(deployment.origin).local}
    return keep
