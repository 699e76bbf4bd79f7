"""Build a layer's commit from a plan, with all that a later run has to know of it in its metadata."""

from __future__ import annotations

import functools
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .. import __version__
from ..host import caller
from ..host.files import remove_tree
from ..layering import assemble, cache
from ..layering.cache import Cached
from ..model import LIMITS, CommitInfo, Intent, Package, Plan
from ..tools import dpkg, ostree
from ..tree import kernel, layout, subids, users
from . import commits
from .transaction import Transaction

ENGINE = 5
"""Part of every layer's inputs: raised when the engine would make another tree of the same inputs."""


def inputs_digest(base: CommitInfo, intent: Intent, plan: Plan) -> str:
    """One digest over all that makes a layer what it is; equal digests mean an equal tree."""
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


def find(current: Transaction, inputs: str) -> str | None:
    """A deployed commit made from the very same inputs."""
    for deployment in current.sysroot.deployments:
        info = ostree.commit_info(current.repo, deployment.checksum)
        if info is not None and info.metadata.get("apt-ostree.inputs-sha256") == inputs:
            return info.checksum
    return None


def build(
    current: Transaction,
    tree: Path,
    base: CommitInfo,
    intent: Intent,
    plan: Plan,
    cached: Mapping[Package, Cached],
    inputs: str,
    answers: str,
) -> str:
    """Lay the plan's packages over ``tree``, a checkout of ``base``, and commit the result; returns the commit,
    which PENDING_REF holds. ``inputs`` is its digest, ``answers`` what debconf is told.

    Raises ScriptError, PackageError, SpaceError and TreeError; the log of the scripts stays then.
    """
    work = current.area / "tmp/layer"
    work.mkdir(mode=0o700)
    day = base.timestamp // 86400
    what = f"Laying {len(plan.packages)} packages over the base" if plan.packages else "Building the layer"
    with current.phase("script", what):
        built = assemble.assemble(
            current.repo,
            work,
            tree,
            plan,
            cached,
            current.reporter,
            current.log,
            settled_day=day,
            reserved=_reserved(current),
            answers=answers,
            initramfs=intent.initramfs_args if intent.initramfs else None,
            limits=replace(LIMITS, seconds=current.config.script_time),
        )
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
            base.checksum,
            functools.partial(
                ostree.commit,
                ref=commits.PENDING_REF,
                subject=f"Layer {', '.join(intent.names) or 'an initramfs'}",
                metadata=_metadata(tree, base, intent, plan, inputs, built.kernels),
            ),
        )
        remove_tree(work)
        layout.audit(current.repo, commit, base.checksum)
    return commit


def _reserved(current: Transaction) -> users.Reserved:
    """What names have on the machine: in its own /etc above all, then in what is deployed, then in what it
    remembers of packages that are gone while their files in /var are not."""
    loaded = current.sysroot
    deployed = [loaded.path / deployment.path / "usr/etc" for deployment in loaded.of(current.osname)]
    places = [loaded.path / current.merge.path / "etc", *deployed]
    found = users.read_record(loaded.path / "ostree/deploy" / current.osname)
    for etc in reversed(places):
        found = users.numbers(users.read(etc)).over(found)
    return users.Reserved(
        found, {name: "\n".join(users.read_list(etc, name) for etc in places) for name in subids.LISTS}
    )


def _metadata(
    tree: Path, base: CommitInfo, intent: Intent, plan: Plan, inputs: str, kernels: kernel.Kernels | None
) -> dict[str, str]:
    present = plan.present(entry.package for entry in dpkg.installed(tree))
    kept = {
        key: value
        for key, value in base.metadata.items()
        if key in {"version", "ostree.linux", "ostree.bootable", "apt-ostree.kernel-args"}
    }
    if kernels is not None:
        kept |= {"ostree.bootable": "true", "ostree.linux": kernels.boots}
    return kept | {
        "apt-ostree.clientlayer": "true",
        "apt-ostree.engine": f"{ENGINE} ({__version__})",
        # Who asked, and in which words: of the person behind sudo, where there is one.
        "apt-ostree.uid": str(caller.uid()),
        "apt-ostree.command": shlex.join(caller.words()),
        "apt-ostree.packages": json.dumps(intent.names),
        "apt-ostree.left-out": json.dumps(plan.left_out),
        "apt-ostree.removed-base-packages": json.dumps([_identity(package) for package in plan.removed]),
        "apt-ostree.replaced-base-packages": json.dumps(
            [[_identity(old), _identity(new)] for old, new in plan.replaced]
        ),
        "apt-ostree.inputs-sha256": inputs,
        "apt-ostree.lock": json.dumps(
            [[*_identity(s.package), s.sha256, s.size, s.installed_size, s.sources] for s in plan.packages]
        ),
        "apt-ostree.pkglist": json.dumps([_identity(package) for package in present]),
    }
