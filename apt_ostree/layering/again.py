"""A second run of the scripts that configure the packages, over a copy of the finished tree that is thrown away.

What the first run made in /etc and /var is not there, ucf and debconf remember nothing of it, and each postinst is told
that its package was never configured before (policy 6.5). So it makes all of it again, and what differs shows.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from importlib import resources

from ..errors import ScriptError, SpaceError
from ..host.door import Tree
from ..sandbox import bwrap
from ..tree import follow, state
from . import running
from .base import ETC
from .identity import Different, Made, copy, without_inner
from .job import Job
from .stack import DEBS, Stack

_REMEMBERED = ("ucf", "debconf")
"""State of /usr/lib/sysimage that is the base's in the second run: ucf(1) does not write a file again that somebody
deleted, and debconf gives a password out again that was made at random once."""

SECONDS = 600
"""A second run may take no longer. What it did not make by then counts as made the same."""


def run(job: Job, stack: Stack, var_before: state.Snapshot, made: Made, names: Sequence[str]) -> Different:
    """Return which of the files ``names`` below /etc come out different in a second run.

    ``var_before`` is what the base has in /var. A run that fails tells less, and never fails the operation.
    """
    packages = configured(job)
    if not packages:
        return Different()
    put_out(job)
    with stack.aside() as sandbox:
        assert sandbox.var is not None
        tree, var = Tree(sandbox.root), Tree(sandbox.var)
        there = _files(tree)
        digests = {name: follow.digest(tree, f"{ETC}/{name}") for name in names}
        for name in made.tops(made.files):
            tree.remove(f"{ETC}/{name}")
        new = state.snapshot(var.top).keys() - var_before.keys()
        for name in without_inner({name for name in new if f"var/{name}" not in made.listed}):
            var.remove(name)
        _forget(Tree(job.base.path), tree)
        job.reporter.step("Configuring again, to tell which files are the machine's own")
        try:
            running.preseed(job, sandbox)
            scripts(job, sandbox, "configure", packages)
        except (ScriptError, SpaceError) as error:
            job.reporter.warn(f"files that are the machine's own may be missed: {error.brief}")
        return _compare(tree, digests, there)


def configured(job: Job, *with_control: str) -> list[str]:
    """The packages of the plan that have a postinst script, and these other files in their control archives, as
    NAME:ARCHITECTURE."""
    return [
        f"{solved.name}:{solved.package.architecture}"
        for solved in job.plan.packages
        if job.cached[solved.package].control_files.issuperset({"postinst", *with_control})
    ]


def put_out(job: Job) -> None:
    """Put the program that ``scripts`` runs where the sandbox sees it."""
    Tree(job.debs).write("again", (resources.files("apt_ostree") / "data/configure-again").read_bytes())


def scripts(job: Job, sandbox: bwrap.Sandbox, action: str, packages: Sequence[str]) -> None:
    """Run the postinst scripts of packages in a sandbox, for "configure" or "triggered". One that fails is noted in the
    log. Raises ScriptError, SpaceError where a limit is exceeded."""
    limits = replace(job.limits, seconds=min(job.limits.seconds, SECONDS))
    command = ["/bin/sh", f"{DEBS}/again", action, *packages]
    replace(sandbox, limits=limits).run(command, log=job.log, doing=lambda: "a second configuration")


def _forget(base: Tree, tree: Tree) -> None:
    for name in _REMEMBERED:
        place = f"{state.SYSIMAGE}/{name}"
        tree.remove(place)
        if base.has_directory(place):
            copy(base, place, tree, place)
        else:
            tree.make_directory(place)


def _compare(tree: Tree, digests: Mapping[str, str | None], there: Collection[str]) -> Different:
    """Compare the files of a tree's /etc with the ``digests`` of the first run, after which all of ``there`` was."""
    now = _files(tree)
    content = {
        name for name, digest in digests.items() if name in now and follow.digest(tree, f"{ETC}/{name}") != digest
    }
    renamed = {os.path.dirname(name) for name in now.difference(there)}
    return Different(
        frozenset(content), frozenset(name for name in digests.keys() - now if os.path.dirname(name) in renamed)
    )


def _files(tree: Tree) -> set[str]:
    return {entry.name.removeprefix(f"{ETC}/") for entry in tree.walk(ETC) if entry.is_file}
