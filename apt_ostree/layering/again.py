"""A second run of the scripts that configure the packages, over a copy of the finished tree that is thrown away.

What the first run made in /etc, and of an image in /var, is not there, ucf and debconf remember nothing, and each
postinst is told that its package was never configured before (policy 6.5). So it makes all of it again, and what
differs shows. A boot does the same for what is missing there (data/make-identity), with the same program.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources

from ..errors import ScriptError, SpaceError, TreeError
from ..host.door import Tree
from ..numbers import decimal
from ..sandbox import bwrap
from ..tree import follow, state
from . import running, written
from .base import ETC
from .identity import VAR, Different, Made
from .job import Job
from .stack import DEBS, Stack

_REMEMBERED = ("ucf", "debconf")
"""State of /usr/lib/sysimage that is empty in the second run: ucf(1) does not write a file again that somebody deleted,
and debconf gives a password out again that was made at random once."""

TRIGGER_SECONDS = 600
"""Triggers that run again may take no longer: what they did not make by then counts as a program's."""

FILE_BYTES = 16 << 20
"""A larger file is no key or name, and counts as made the same: what differs is found by reading."""

FILES_BYTES = 1 << 30
"""Nor are more read together: those of a run are read again after each."""

_PATHS = "paths"
_NOTES = ".apt-ostree-made"
"""At the top of the copy: the number of a path, and the package whose script made what is there, in each line."""
_NOTES_MAX = 8 << 20
"""Bytes of these."""

TOP_BYTES, TOP_ENTRIES = 16 << 20, 1000
"""A directory with more is no key either: a boot takes over no such (data/make-identity)."""

Digests = Mapping[str, str | None]


class Copy:
    """The copy of a tree in which scripts run again, by the names of identity.py."""

    def __init__(self, sandbox: bwrap.Sandbox, made: Made) -> None:
        assert sandbox.var is not None
        self.sandbox, self.root, self._var = sandbox, Tree(sandbox.root), Tree(sandbox.var)
        self._tops = [top for top in made.tops() if top.startswith(VAR)]

    def at(self, name: str) -> tuple[Tree, str]:
        """Where something is: a tree, and its name there."""
        if name.startswith(VAR):
            return self._var, name.removeprefix(VAR)
        return self.root, f"{ETC}/{name}" if name else ETC

    def files(self) -> Iterator[str]:
        """What is there of regular files in /etc, and in the places in /var that are asked about."""
        for top in ("", *self._tops):
            tree, place = self.at(top)
            if tree.has_file(place):
                yield top
            elif tree.has_directory(place):
                inner = (entry.name for entry in written.entries(tree.at(place).top, top or "/etc") if entry.is_file)
                yield from (f"{top}/{name}" if top else name for name in inner)

    def digests(self, names: Collection[str]) -> dict[str, str | None]:
        """Tell the content of files from others; None for one that is too large to be the machine's own. Raises
        TreeError where they are too large together."""
        found, total = dict[str, str | None](), 0
        for name in names:
            tree, place = self.at(name)
            if (status := tree.status(place)) is None:
                continue
            is_small = status.st_size <= FILE_BYTES
            total += status.st_size if is_small else 0
            if total > FILES_BYTES:
                raise TreeError(f"scripts made more than {FILES_BYTES} bytes in /etc and /var")
            found[name] = follow.digest(tree, place) if is_small else None
        return found


def run(job: Job, stack: Stack, packages: Sequence[str], made: Made, names: Sequence[str]) -> Different:
    """Return which of the files ``names`` the scripts of ``packages`` make another of each time.

    A file can come out different in the second run for being made by fewer scripts, or in another order. So those that
    did are made twice more by their own packages alone, and these two are compared. Some scripts make one file only
    where another is missing, too: what a last run does not make when nothing else is missing, as at a boot, stays in
    the layer. So does what has become too large for a boot to take over. Raises ScriptError, SpaceError or TreeError
    where a run fails, as by a limit: a package could keep another's key in the commit by that.
    """
    if not packages:
        return Different()
    put_out(job)
    with stack.aside() as sandbox:
        copy = Copy(sandbox, made)
        job.reporter.step("Configuring again, to tell which files are the machine's own")
        try:
            return _compared(job, copy, packages, made, names)
        except (ScriptError, SpaceError, TreeError) as error:
            error.brief = f"cannot tell which files are the machine's own: {error.brief}"
            raise


def _compared(job: Job, copy: Copy, packages: Sequence[str], made: Made, names: Sequence[str]) -> Different:
    first = copy.digests(names)
    second = _configure(job, copy, made.tops(), packages)
    makers = _makers(copy.root, made.tops(), packages)
    found = compare(first, second)
    tops = _tops(made, found, makers)
    own = _owners(packages, tops, makers)
    if not own:
        return Different()
    third = _configure(job, copy, [*tops, *second.keys() - first.keys()], own)
    fourth = _configure(job, copy, [*tops, *third], own)
    found = _in_both(found, compare(third, fourth))
    remaining = _tops(made, found, makers)
    if remaining and remaining != tops:
        beside = [name for name in fourth if os.path.dirname(name) in _directories(found.name)]
        own = _owners(packages, remaining, makers)
        fourth = _configure(job, copy, [*remaining, *beside], own)
        found = _in(found, fourth)
    lacking = {made.top(name) for name in first.keys() - fourth.keys() - found.name if name.startswith(VAR)}
    takeable = {top: maker for top, maker in makers.items() if top not in lacking and is_small(*copy.at(top))}
    return replace(found, makers=takeable)


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


def is_small(tree: Tree, name: str) -> bool:
    """True for what a boot takes over."""
    if not tree.has_directory(name):
        return True
    entries = size = 0
    for entry in written.entries(tree.at(name).top):
        entries, size = entries + 1, size + (entry.status.st_size if entry.is_file else 0)
        if entries >= TOP_ENTRIES or size > TOP_BYTES:
            return False
    return True


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
    limits = job.limits
    if action == "triggered":
        limits = replace(limits, seconds=min(limits.seconds, TRIGGER_SECONDS))
    command = ["/bin/sh", f"{DEBS}/again", action, paths, notes, *packages]
    replace(sandbox, limits=limits).run(command, log=job.log, doing=lambda: "a second configuration")


def compare(one: Digests, other: Digests) -> Different:
    """Compare the files that two runs made."""
    beside = {os.path.dirname(name) for name in other.keys() - one.keys()}
    return Different(
        frozenset(name for name in one.keys() & other.keys() if one[name] != other[name]),
        frozenset(name for name in one.keys() - other.keys() if os.path.dirname(name) in beside),
    )


def _configure(job: Job, copy: Copy, names: Sequence[str], packages: Sequence[str]) -> Digests:
    """Have packages configured without what has these names; return the files that they made."""
    for name in names:
        tree, place = copy.at(name)
        tree.remove(place)
    for name in _REMEMBERED:
        copy.root.remove(f"{state.SYSIMAGE}/{name}")
        copy.root.make_directory(f"{state.SYSIMAGE}/{name}")
    copy.root.remove(_NOTES)
    there = set(copy.files())
    lines = [f"{state.escape(name)}\n" for name in names]
    Tree(job.debs).write(_PATHS, "".join(lines).encode(errors="surrogateescape"))
    running.preseed(job, copy.sandbox)
    scripts(job, copy.sandbox, "configure", packages, f"{DEBS}/{_PATHS}", f"/{_NOTES}")
    return copy.digests(set(copy.files()) - there)


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
