"""Files of /var that triggers make, such as an index of what other packages have: they follow the image (follow.py).

No list of dpkg's tells which these are. So what scripts made in /var is removed in a copy of the finished tree that is
thrown away, and the postinst scripts of the packages that are interested in triggers run there as dpkg runs them for a
trigger (policy 6.5, dpkg-trigger(1)). What comes back with the same content is a trigger's. What comes back with other
content may have a date in it; it is a trigger's if a second run writes it again although it is there, and else it is a
key or the like, of which a machine has one. All else that scripts made is a program's state.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Mapping, Sequence

from ..errors import ScriptError, SpaceError
from ..host.door import Tree
from ..tree import follow, shipped, state
from . import again
from .job import Job
from .stack import Stack

_OTHERS = (follow.CACHE, "log/", *(f"{name}/" for name in state.LINKED))
"""What is below these is never asked about: of a cache the image's counts in any case, a log is the machine's, and what
is linked (dkms has its directory while scripts run) rolls back by itself."""


def recognise(
    job: Job, stack: Stack, before: state.Snapshot, listed: Collection[str], triggered: Sequence[str]
) -> frozenset[str]:
    """Return the files and links that triggers made, of those that the layers have in /var.

    ``before`` is what the base has in /var, ``listed`` what packages list, and ``triggered`` the packages whose
    triggers dpkg ran. Scripts run again only for files that neither the base nor the deployment that runs knows: a list
    that never booted may be of packages that are gone, which made files of others. A run that fails tells less, and
    never fails the operation.
    """
    made = _made(job, before, listed)
    if not made:
        return frozenset()
    places = [job.base.path, *([job.booted] if job.booted is not None else [])]
    found = frozenset[str]().union(*(_known(made, Tree(place)) for place in places))
    unknown = sorted(made - found - _state(job))
    # What has just been configured did for itself what a trigger would have.
    packages = list(dict.fromkeys([*triggered, *again.configured(job, "triggers")]))
    return found | _run(job, stack, unknown, packages) if unknown and packages else found


def complete(job: Job, stack: Stack, name: str) -> None:
    """Put what triggers made into the list of this name of the base itself, while that is composed."""
    tree, unknown = Tree(job.base.path), left(job, name)
    packages = [file.removesuffix(".triggers") for file in tree.names(shipped.INFO) if file.endswith(".triggers")]
    if unknown and packages:
        follow.add(Tree(job.var), tree, name, _run(job, stack, unknown, packages))


def left(job: Job, name: str) -> list[str]:
    """The files and links of the base's list of this name that scripts made and that do not follow the image."""
    tree, var = Tree(job.base.path), Tree(job.var)
    return [
        path
        for path in sorted(follow.is_state(tree, [name]))
        if not path.startswith(_OTHERS) and (var.has_file(path) or var.has_link(path))
    ]


def _made(job: Job, before: state.Snapshot, listed: Collection[str]) -> frozenset[str]:
    """The files and links in /var that scripts made or changed."""
    return frozenset(
        name
        for name, facts in state.snapshot(job.var).items()
        if not (name in listed or name.startswith(_OTHERS) or before.get(name) == facts)
        if stat.S_ISREG(facts[0]) or stat.S_ISLNK(facts[0])
    )


def _known(made: Collection[str], tree: Tree) -> frozenset[str]:
    """Those that a tree has as a trigger's: they follow, and no package lists them there."""
    found = follow.paths(tree).intersection(made)
    return found - follow.listed([tree.top], found) if found else found


def _state(job: Job) -> frozenset[str]:
    """What was found to be a program's state when the layer that runs was made. The base's own lists do not count:
    nobody asked about what is in them."""
    if job.booted is None:
        return frozenset()
    last = Tree(job.booted)
    return follow.is_state(last, set(last.names(state.SEEDS)).difference(Tree(job.base.path).names(state.SEEDS)))


def _run(job: Job, stack: Stack, names: Sequence[str], packages: Sequence[str]) -> frozenset[str]:
    """Return which of the files ``names`` come back when the triggers of ``packages`` run."""
    again.put_out(job)
    with stack.aside() as sandbox:
        assert sandbox.var is not None
        var = Tree(sandbox.var)
        before = {name: (_size(var, name), follow.digest(var, name)) for name in names}
        for name in names:
            var.remove(name)
        job.reporter.step("Running triggers again, to tell what they make in /var")
        try:
            again.scripts(job, sandbox, "triggered", packages)
            same, other = _compare(var, before)
            if other:
                written = {name: _written(var, name) for name in other}
                again.scripts(job, sandbox, "triggered", packages)
                same |= {name for name in other if _written(var, name) not in {None, written[name]}}
        except (ScriptError, SpaceError) as error:
            job.reporter.warn(f"what triggers make in /var may become outdated on the machine: {error.brief}")
            return frozenset()
        return frozenset(same)


def _compare(var: Tree, before: Mapping[str, tuple[int, str | None]]) -> tuple[set[str], set[str]]:
    """The files that are there with the same content, and those with other content. One of another size is not read: it
    may have any."""
    there = {name for name in before if var.has(name)}
    same = {
        name for name in there if before[name][0] == _size(var, name) and before[name][1] == follow.digest(var, name)
    }
    return same, there - same


def _size(var: Tree, name: str) -> int:
    status = var.status(name)
    return 0 if status is None else status.st_size


def _written(var: Tree, name: str) -> tuple[int, int] | None:
    """Which file it is, and when it was written last."""
    status = var.status(name)
    return None if status is None else (status.st_ino, status.st_mtime_ns)
