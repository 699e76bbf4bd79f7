"""Build a layer's commit from a plan, with all that a later run has to know of it in its metadata."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .. import __version__
from ..host import caller
from ..host.files import remove_tree
from ..layering import assemble, cache
from ..layering.base import BaseTree
from ..layering.cache import Cached
from ..layering.job import Job
from ..model import CommitInfo, Deployment, Intent, Package, Plan
from ..sandbox.limits import LIMITS
from ..system import commits, metadata, origin
from ..system.sysroot import Sysroot
from ..tools import ostree
from ..tree import kernel, layout, subids, users
from .transaction import Transaction

_log = logging.getLogger(__name__)

ENGINE = 14
"""Part of every layer's inputs: raised when the engine would make another tree of the same inputs."""


def inputs_digest(base: CommitInfo, intent: Intent, plan: Plan) -> str:
    """One digest over all that a layer is made from. Scripts may make another tree of the same: with an equal digest,
    the tree that was made first is used again."""
    inputs = {
        "engine": ENGINE,
        "importer": cache.IMPORTER,
        "base": base.checksum,
        "requested": sorted(intent.requested),
        "requested-local": sorted(map(str, intent.requested_local)),
        "recommends": intent.recommends,
        "debconf": intent.debconf,
        "initramfs": [intent.initramfs, list(intent.initramfs_args)],
        "overrides": [
            sorted(intent.remove),
            sorted(intent.replace),
            sorted(map(str, intent.replace_local)),
        ],
        "packages": [[*_identity(s.package), s.sha256] for s in plan.packages],
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _identity(package: Package) -> list[str]:
    return [package.name, package.version, package.architecture]


def is_made_of(current: Transaction, deployment: Deployment, base: CommitInfo, inputs: str) -> bool:
    """True if a deployment's commit is a layer over ``base`` that this machine made from these inputs.

    Its origin says so, which nobody else writes: all inputs are public, and any commit could name their digest.
    """
    if origin.inputs(deployment.origin) != inputs:
        return False
    info, _ = commits.look(current.repo, deployment)
    return metadata.is_layer(info) and info.parent == base.checksum


def find(current: Transaction, base: CommitInfo, inputs: str) -> str | None:
    """The commit of a layer of this stateroot that was made from the very same inputs."""
    for deployment in current.sysroot.of(current.osname):
        if is_made_of(current, deployment, base, inputs):
            _log.debug("layer is used again: deployment %s was made of inputs %s", deployment.id, inputs)
            return deployment.checksum
    _log.debug("no deployed layer was made of inputs %s", inputs)
    return None


@dataclass(frozen=True, slots=True)
class Order:
    """The order for a layer: what it is to be made of."""

    base: CommitInfo
    tree: BaseTree
    intent: Intent
    plan: Plan
    cached: Mapping[Package, Cached]
    """The packages of the plan, imported."""
    answers: str
    """Answers that debconf gets before it asks."""
    inputs: str
    """The digest of all this: see ``inputs_digest``."""


def build(current: Transaction, order: Order) -> str:
    """Lay the plan's packages over the base and commit the result; returns the commit, which PENDING_REF holds.

    Raises ScriptError, PackageError, SpaceError and TreeError; the log of the scripts stays then.
    """
    _log.debug("layer is built of inputs %s", order.inputs)
    work = current.area / "tmp/layer"
    work.mkdir(mode=0o700)
    what = f"Laying {len(order.plan.packages)} packages over the base" if order.plan.packages else "Building the layer"
    with current.phase("script", what):
        built = assemble.assemble(_job(current, order, work))
    before = kernel.read(current.sysroot.path / current.basis.path)
    if built.kernels is not None and built.kernels.others and built.kernels != before:
        current.reporter.warn(
            f"kernel {built.kernels.boots} will boot, not {', '.join(built.kernels.others)}, which stays installed; to "
            "choose, uninstall the kernel that is not wanted, or remove the base's ('apt-ostree override remove')"
        )
    with current.phase("commit", "Committing"):
        commit = assemble.commit(
            current.repo,
            work,
            built,
            commits.PENDING_REF,
            ostree.Description(
                f"Layer {', '.join(order.intent.names) or 'an initramfs'}",
                order.base.checksum,
                metadata.of_layer(order.base, _notes(order, built.kernels)),
            ),
        )
        remove_tree(work)
        layout.audit(current.repo, commit, order.base.checksum)
    return commit


def _job(current: Transaction, order: Order, work: Path) -> Job:
    """The job of the assembly: the order, and what the machine and its configuration say."""
    return Job(
        current.repo,
        work,
        order.tree,
        order.plan,
        order.cached,
        current.reporter,
        current.log,
        accounts_day=order.base.timestamp // 86400,
        reserved=reserved(current.sysroot, current.osname),
        deployed=current.sysroot.path / current.basis.path,
        booted=booted(current.sysroot, current.osname),
        answers=order.answers,
        initramfs=order.intent.initramfs_args if order.intent.initramfs else None,
        limits=replace(LIMITS, seconds=current.config.script_time),
    )


def booted(loaded: Sysroot, osname: str) -> Path | None:
    """The tree of the deployment that runs, if that is of this stateroot."""
    return next((loaded.path / one.path for one in loaded.of(osname) if one.booted), None)


def reserved(loaded: Sysroot, osname: str) -> users.Reserved:
    """Read what names have on the machine: in its own /etc above all, then in the deployment that it runs, then in what
    it remembers of packages that are gone while their files in /var are not.

    A deployment that never booted owns nothing: any package that was in it would choose the numbers of others. Only
    where none runs, on a disk that is being prepared or repaired, the others count as well, last of all.
    """
    etc = [(loaded.path / loaded.merge(osname).path, "etc")]
    running = [deployment for deployment in loaded.of(osname) if deployment.booted]
    others = [] if loaded.booted is not None else loaded.of(osname)
    own, prepared = ([(loaded.path / one.path, "usr/etc") for one in found] for found in (running, others))
    found = users.Numbers()
    for tree, directory in reversed(prepared):
        found = users.numbers(users.read(tree, directory)).over(found)
    found = users.read_record(loaded.path / "ostree/deploy" / osname).over(found)
    for tree, directory in reversed([*etc, *own]):
        found = users.numbers(users.read(tree, directory)).over(found)
    places = [*etc, *own, *prepared]
    return users.Reserved(
        found,
        {
            name: "\n".join(users.read_list(tree, f"{directory}/{name}") for tree, directory in places)
            for name in subids.LISTS
        },
    )


def _notes(order: Order, kernels: kernel.Kernels | None) -> metadata.Layer:
    """The notes that the commit of a layer carries."""
    return metadata.Layer(
        f"{ENGINE} ({__version__})",
        caller.uid(),
        caller.words(),
        order.intent.names,
        order.plan,
        order.plan.present(order.tree.packages),
        kernels.boots if kernels is not None else None,
    )
