"""Lay packages over a base: dpkg's own work on a stack of overlays, in the sandbox.

The sequence of an assembly: rounds in which dpkg unpacks hollow packages and configures others (stack.py, running.py),
the settling of the finished tree (settling.py), and the commit of the layers.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import TreeError
from ..host.door import Tree
from ..host.files import Room
from ..model import Package, Round
from ..sandbox import bwrap
from ..tools import ostree
from ..tree import kernel, state
from . import dkms, hollow, overlay, rounds, running, settling, stubs, written
from .cache import Object
from .hydrate import Hydrator
from .job import Job
from .running import Dpkg
from .stack import DEBS, Stack

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assembled:
    """Layers over a base, lowest first, without any mark of overlayfs when ``union`` is set."""

    layers: tuple[Path, ...]
    union: bool
    kernels: kernel.Kernels | None = None


def assemble(job: Job) -> Assembled:
    """Run the plan over the base and return the layers, clean of everything that is not the packages'.

    Raises ScriptError when a maintainer script or dpkg fails, SpaceError, and TreeError where the base cannot take
    answers or a script made what OSTree cannot hold; then nothing outside ``work`` has changed.
    """
    cuts, whole = rounds.arrange(job.base, job.plan, job.cached)
    files = _put_out(job, whole)
    base_kernels = _make_var_and_boot(job)
    var_before = state.snapshot(job.var)
    dkms.take_out(job)
    stack = Stack(job, Hydrator(job.repo, job.base.path, _objects(job, whole), job.limits.seconds), base_kernels)
    triggered = _run_rounds(job, stack, cuts, files)
    written.check(job, stack.layers)
    settling.tell_what_is_left_in_boot(job)
    kernels, outdated = settling.place_kernels(job, stack)
    settling.settle(job, stack, var_before, triggered)
    if kernels is not None and (outdated or job.initramfs is not None):
        settling.make_initramfs(job, stack, kernels.boots)
    overlay.drop_removed(stack.layers)
    union = overlay.is_union(job.base.path, stack.layers)
    _log.debug("to be committed: %s", "the union of the layers and the base" if union else "a walk applies the layers")
    if union:
        for layer in stack.layers:
            overlay.strip(layer)
    return Assembled(tuple(stack.layers), union, kernels)


def _put_out(job: Job, whole: set[Package]) -> dict[Package, str]:
    """Put the packages where the sandbox sees them, those in ``whole`` with their contents; returns their names. Raises
    SpaceError."""
    Tree(job.work).make_directory(job.debs.name)
    files = {}
    room = Room(job.work)
    for solved in job.plan.packages:
        package = solved.package
        name = f"{package.name}_{package.version.replace(':', '%3a')}_{package.architecture}.deb"
        files[package] = name
        if package in whole:
            hollow.refill(job.repo, job.cached[package], job.debs / name, room)
        else:
            hollow_deb = job.cached[package].hollow
            Tree(job.debs).hard_link(Tree(hollow_deb.parent), hollow_deb.name, name)
    stubs.write_policy(job.debs)
    return files


def _objects(job: Job, whole: set[Package]) -> dict[str, Object]:
    """The objects that markers may name: those of the packages that are unpacked hollow."""
    objects: dict[str, Object] = {}
    for solved in job.plan.packages:
        if solved.package not in whole:
            objects.update(job.cached[solved.package].objects)
    return objects


def _make_var_and_boot(job: Job) -> list[str]:
    """Make the /var and /boot that scripts see; returns the kernels in it, which are the base's."""
    state.populate(job.base.path, job.var)
    # A link that leads nowhere is one that dpkg puts a directory in the place of.
    for name, target in running.links(job.base.path).items():
        leads = os.path.normpath(os.path.join("/", os.path.dirname(name), target))
        if leads.startswith("/var/"):
            # A link in /var is the base's own way.
            with contextlib.suppress(TreeError):
                Tree(job.work).make_directory(leads.lstrip("/"))
    return kernel.populate(job.base.path, job.boot)


def _run_rounds(job: Job, stack: Stack, cuts: list[Round], files: dict[Package, str]) -> list[str]:
    """Let dpkg do the plan, a layer a round; ``files`` are the packages' names. Returns the packages whose triggers
    ran. Raises ScriptError, SpaceError."""
    dpkg = Dpkg(job)
    pending: tuple[Package, ...] = ()
    for number, current in enumerate(cuts):
        with stack.round() as sandbox:
            if number == 0:
                running.preseed(job, sandbox)
                asking = [name for package, name in files.items() if "templates" in job.cached[package].control_files]
                running.preconfigure(job, sandbox, asking)
            _run_round(dpkg, sandbox, pending, current, files)
        pending = current.configure
    with stack.round() as sandbox:
        dpkg.run(sandbox, ["--configure", "--pending"])
        dpkg.audit(sandbox)
    return dpkg.triggered


def _run_round(
    dpkg: Dpkg, sandbox: bwrap.Sandbox, pending: tuple[Package, ...], current: Round, files: dict[Package, str]
) -> None:
    """Configure what the round before left ``pending``, then remove and unpack."""
    if pending:
        dpkg.run(sandbox, ["--configure", "--no-triggers", *(package.qualified for package in pending)])
    if current.remove:
        # As apt does: what takes a removed package's place may come later in the same run.
        dpkg.run(sandbox, ["--force-depends", "--remove", "--no-triggers", *current.remove])
    if current.unpack:
        debs = [f"{DEBS}/{files[package]}" for package in current.unpack]
        dpkg.run(sandbox, ["--unpack", "--no-triggers", "--auto-deconfigure", *debs])


def commit(
    repo: Path,
    work: Path,
    assembled: Assembled,
    ref: str,
    description: ostree.Description,
) -> str:
    """Commit the base, which is the parent that ``description`` names, with the layers over it."""
    assert description.parent is not None
    if assembled.union:
        trees = [f"ref={description.parent}", *(f"dir={layer}" for layer in assembled.layers)]
    else:
        whole = work / "whole"
        ostree.checkout(repo, description.parent, whole, hard_links=True)
        for layer in assembled.layers:
            overlay.apply(layer, whole)
        trees = [f"dir={whole}"]
    return ostree.commit(repo, ref, trees, description, link_speedup=True)
