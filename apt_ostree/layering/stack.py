"""The stack of one assembly: rounds, each of which mounts what there is below a fresh layer and then freezes that.

While nothing mounts a finished layer, each of its markers is replaced by a hard link to its object; from then on the
layer is only read. So no link into the object store is ever writable by a script.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..host import mounts
from ..host.door import Tree
from ..sandbox import bwrap
from ..tree import kernel
from ..tree.view import View
from . import stubs
from .hydrate import Hydrator
from .job import Job

DEBS = "/run/apt-ostree"
"""The directory in which the sandbox sees the packages."""
_POLICY = f"{DEBS}/policy-rc.d"


class Stack:
    """The layers of one assembly. Each round adds one on top; nothing else changes."""

    def __init__(self, job: Job, hydrator: Hydrator, base_kernels: Sequence[str]) -> None:
        self.job, self.hydrator, self.base_kernels = job, hydrator, base_kernels
        self.layers: list[Path] = []
        """The lowest first."""

    def view(self) -> View:
        """Single files as the stack shows them, the base included."""
        return View([*reversed(self.layers), self.job.base.path])

    @contextmanager
    def round(self, *, covered: bool = True) -> Iterator[bwrap.Sandbox]:
        """One mount with a fresh writable layer, and with stubs where it is ``covered``; frozen afterwards."""
        work, number = self.job.work, len(self.layers)
        # What the rounds before brought counts, for it is now that its scripts run.
        release = self._release()
        area, layer = Tree(work), work / f"l{number}"
        # overlayfs refuses to take a work directory twice (volatile).
        fresh = f"w{number}"
        for name in (layer.name, fresh, "root"):
            area.make_directory(name)
        # The root of the mount shows the topmost layer's own mode and owner.
        Tree(layer).copy_metadata(Tree(self.job.base.path), "", "")
        with mounts.overlay(work, self._lower(), layer.name, fresh, "root") as root:
            Tree(root).make_directory("etc")
            covers = stubs.cover(root, _POLICY, release, self.view()) if covered else []
            yield bwrap.Sandbox(
                root,
                var=self.job.var,
                boot=self.job.boot,
                read_only={DEBS: self.job.debs},
                limits=self.job.limits,
            )
        area.remove(fresh)
        self.layers.append(layer)
        left = stubs.uncover(layer, covers, _POLICY)
        self.hydrator.hydrate(layer, left, link=True)
        # A package's /usr/local is there, and whatever a link of the base leads to.
        self.hydrator.hydrate(self.job.var, left, link=False)

    @contextmanager
    def aside(self, *, covered: bool = True) -> Iterator[bwrap.Sandbox]:
        """A mount of what there is, /var and /boot included, of which every change is dropped in the end; with stubs
        where it is ``covered``."""
        job, area = self.job, Tree(self.job.work)
        release, layers = self._release(), self._lower()
        with ExitStack() as held:
            held.callback(area.remove, "aside")
            roots = []
            for name, lower in (("root", layers), ("var", [job.var.name]), ("boot", [job.boot.name])):
                upper, work, target = (f"aside/{name}/{part}" for part in ("upper", "work", "at"))
                for directory in (upper, work, target):
                    area.make_directory(directory)
                Tree(job.work / upper).copy_metadata(Tree(job.work / lower[0]), "", "")
                roots.append(held.enter_context(mounts.overlay(job.work, lower, upper, work, target)))
            root, var, boot = roots
            Tree(root).make_directory("etc")
            if covered:
                stubs.cover(root, _POLICY, release, self.view())
            yield bwrap.Sandbox(root, var=var, boot=boot, read_only={DEBS: job.debs}, limits=job.limits)

    def _lower(self) -> list[str]:
        """The directories that a mount shows, by their names from the work directory, the topmost first."""
        return [path.name for path in reversed(self.layers)] + [os.path.relpath(self.job.base.path, self.job.work)]

    def _release(self) -> str:
        """The kernel that boots with what there is; empty where there is none."""
        return kernel.choose(self.job.boot, self.base_kernels) or ""
