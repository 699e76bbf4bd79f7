"""A second run of the scripts that configure the packages, over a copy of the finished tree that is thrown away.

What the first run made in /etc is not there, ucf and debconf remember nothing, and each postinst is told that its
package was never configured before (policy 6.5). So it makes all of it again, and what differs shows. A boot does the
same for what is missing there (data/make-identity), with the same program.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources

from ..errors import ScriptError, SpaceError, TreeError
from ..host.door import Tree
from ..numbers import decimal
from ..sandbox import bwrap
from ..tree import follow, state
from . import running, written
from .base import ETC
from .identity import Different, Made
from .job import Job
from .stack import DEBS, Stack

_REMEMBERED = ("ucf", "debconf")
"""State of /usr/lib/sysimage that is empty in the second run: ucf(1) does not write a file again that somebody deleted,
and debconf gives a password out again that was made at random once."""

SECONDS = 600
"""A second run may take no longer. What it did not make by then counts as made the same."""

FILE_BYTES = 16 << 20
"""A larger file is no key or name, and counts as made the same: what differs is found by reading."""

FILES_BYTES = 1 << 30
"""Nor are more read together: those of a run are read again after each."""

_PATHS = "paths"
_NOTES = ".apt-ostree-made"
"""At the top of the copy: the number of a path, and the package whose script made what is there, in each line."""
_NOTES_MAX = 8 << 20
"""Bytes of these."""

Digests = Mapping[str, str | None]


def run(job: Job, stack: Stack, packages: Sequence[str], made: Made, names: Sequence[str]) -> Different:
    """Return which of the files ``names`` below /etc the scripts of ``packages`` make another of each time.

    A file can come out different in the second run for being made by fewer scripts, or in another order. So those that
    did are made twice more by their own packages alone, and these two are compared. Some scripts make one file only
    where another is missing, too: what a last run does not make when nothing else is missing, as at a boot, stays in
    the layer. A run that fails tells less, and never fails the operation.
    """
    if not packages:
        return Different()
    put_out(job)
    with stack.aside() as sandbox:
        tree = Tree(sandbox.root)
        job.reporter.step("Configuring again, to tell which files are the machine's own")
        try:
            first = _digests(tree, names)
            second = _configure(job, sandbox, made.tops(), packages)
            makers = _makers(tree, made.tops(), packages)
            found = compare(first, second)
            tops = _tops(made, found, makers)
            own = _owners(packages, tops, makers)
            if not own:
                return Different()
            third = _configure(job, sandbox, [*tops, *second.keys() - first.keys()], own)
            fourth = _configure(job, sandbox, [*tops, *third], own)
            found = _in_both(found, compare(third, fourth))
            remaining = _tops(made, found, makers)
            if remaining and remaining != tops:
                beside = [name for name in fourth if os.path.dirname(name) in _directories(found.name)]
                own = _owners(packages, remaining, makers)
                found = _in(found, _configure(job, sandbox, [*remaining, *beside], own))
        except (ScriptError, SpaceError, TreeError) as error:
            job.reporter.warn(f"files that are the machine's own may be missed: {error.brief}")
            return Different()
    return replace(found, makers=makers)


def _tops(made: Made, different: Different, makers: Mapping[str, str]) -> list[str]:
    """What has to go so that all that is different is made again."""
    return sorted({made.top(name) for name in (*different.content, *different.name)} & makers.keys())


def _owners(packages: Sequence[str], tops: Iterable[str], makers: Mapping[str, str]) -> list[str]:
    """The packages that make what is at ``tops``, in the order of ``packages``."""
    owners = {makers[top] for top in tops}
    return [package for package in packages if package in owners]


def _directories(names: Iterable[str]) -> set[str]:
    return {os.path.dirname(name) for name in names}


def _in_both(one: Different, other: Different) -> Different:
    random = _directories(other.name)
    return Different(
        one.content & other.content, frozenset(name for name in one.name if os.path.dirname(name) in random)
    )


def _in(different: Different, run: Digests) -> Different:
    """What of it a run made, or something beside it."""
    there = _directories(run)
    return Different(
        different.content & run.keys(), frozenset(name for name in different.name if os.path.dirname(name) in there)
    )


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


def scripts(
    job: Job,
    sandbox: bwrap.Sandbox,
    action: str,
    packages: Sequence[str],
    paths: str = "/dev/null",
    notes: str = "/dev/null",
) -> None:
    """Run the postinst scripts of packages in a sandbox, for "configure" or "triggered". One that fails is noted in the
    log. Raises ScriptError, SpaceError where a limit is exceeded."""
    limits = replace(job.limits, seconds=min(job.limits.seconds, SECONDS))
    command = ["/bin/sh", f"{DEBS}/again", action, paths, notes, *packages]
    replace(sandbox, limits=limits).run(command, log=job.log, doing=lambda: "a second configuration")


def compare(one: Digests, other: Digests) -> Different:
    """Compare the files that two runs made."""
    beside = {os.path.dirname(name) for name in other.keys() - one.keys()}
    return Different(
        frozenset(name for name in one.keys() & other.keys() if one[name] != other[name]),
        frozenset(name for name in one.keys() - other.keys() if os.path.dirname(name) in beside),
    )


def _configure(job: Job, sandbox: bwrap.Sandbox, paths: Sequence[str], packages: Sequence[str]) -> Digests:
    """Have packages configured without what is at ``paths`` below /etc; return the files that they made there."""
    tree = Tree(sandbox.root)
    for path in paths:
        tree.remove(f"{ETC}/{path}")
    for name in _REMEMBERED:
        tree.remove(f"{state.SYSIMAGE}/{name}")
        tree.make_directory(f"{state.SYSIMAGE}/{name}")
    tree.remove(_NOTES)
    there = set(_files(tree))
    lines = [f"{state.escape(path)}\n" for path in paths]
    Tree(job.debs).write(_PATHS, "".join(lines).encode(errors="surrogateescape"))
    running.preseed(job, sandbox)
    scripts(job, sandbox, "configure", packages, f"{DEBS}/{_PATHS}", f"/{_NOTES}")
    return _digests(tree, set(_files(tree)) - there)


def _makers(tree: Tree, tops: Sequence[str], packages: Collection[str]) -> dict[str, str]:
    """Read who made what. A script may have written anything there."""
    here, beside = dict[str, str](), dict[str, str]()
    for line in (tree.text(_NOTES, limit=_NOTES_MAX) or "").split("\n"):
        word, _, rest = line.partition(" ")
        package, _, kind = rest.partition(" ")
        number = decimal(word)
        if number is not None and number < len(tops) and package in packages:
            (beside if kind else here).setdefault(tops[number], package)
    return beside | here


def _files(tree: Tree) -> Iterable[str]:
    return (entry.name for entry in written.entries(tree.at(ETC).top) if entry.is_file)


def _digests(tree: Tree, names: Iterable[str]) -> dict[str, str | None]:
    """Tells the content of files below /etc from others; None for one that is too large to be the machine's own. Raises
    TreeError where they are too large together."""
    sizes = {name: status.st_size for name in names if (status := tree.status(f"{ETC}/{name}")) is not None}
    if sum(size for size in sizes.values() if size <= FILE_BYTES) > FILES_BYTES:
        raise TreeError(f"scripts made more than {FILES_BYTES} bytes in /etc")
    return {name: follow.digest(tree, f"{ETC}/{name}") if size <= FILE_BYTES else None for name, size in sizes.items()}
