"""What is asked of an image's finished tree, before it is committed: which of what scripts made is whose."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..host.door import Tree
from ..model import Plan
from ..reporter import Reporter
from ..tools import dpkg
from ..tree import state, users
from ..tree.shipped import INFO
from . import again, base, identity, triggers
from .hydrate import Hydrator
from .job import Job
from .stack import Stack


def judge_scripts(root: Path, repo: Path, work: Path, log: Path, reporter: Reporter) -> None:
    """Run scripts again in copies of the tree: list what triggers made in its /var, which follows the image, and leave
    out what every machine has to make for itself."""
    place = work / "again"
    job = Job(
        repo, place, base.read(root, ""), Plan(), {}, reporter, log, accounts_day=0, reserved=users.Reserved()
    )  # fmt: skip
    nothing = place / "nothing"
    for directory in (place, nothing, job.boot, job.debs):
        Tree(work).make_directory(os.path.relpath(directory, work))
    state.populate(root, job.var)
    stack = Stack(job, Hydrator(repo, root, {}), ())
    triggers.complete(job, stack, "base")
    var, packages = Tree(job.var), _configured(root)
    made = _takeable(identity.made(nothing, [root], [n for n in triggers.left(job, "base") if var.has_file(n)]), var)
    own = identity.recognise(
        made, [root], None, None, packages, lambda names: again.run(job, stack, packages, made, names)
    )  # fmt: skip
    described = identity.described(own, [root], users.read(root))
    identity.take_out(own, [root])
    identity.write(own, root, "base", described)


def _takeable(made: identity.Made, var: Tree) -> identity.Made:
    """What scripts made, but for that in /var which is too large for a boot to make."""
    in_var = [top for top in made.tops() if top.startswith(identity.VAR)]
    large = {top for top in in_var if not again.is_small(var, top.removeprefix(identity.VAR))}
    return replace(made, files=tuple(name for name in made.files if made.top(name) not in large))


def _configured(root: Path) -> list[str]:
    """The packages of a finished tree that have a script to configure them, in the order in which they came: those that
    others need were there first."""
    tree = Tree(root)
    found = []
    for entry in dpkg.installed(root):
        name = f"{entry.package.name}:{entry.package.architecture}"
        for stem in (name, entry.package.name):
            status = tree.status(f"{INFO}/{stem}.list")
            if status is not None and tree.has_file(f"{INFO}/{stem}.postinst"):
                found.append((status.st_mtime_ns, name))
                break
    return [name for _, name in sorted(found)]
