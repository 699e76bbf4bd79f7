"""The rounds of a plan: the packages that are unpacked hollow, and where their unpacking is cut.

Within a round, files of the packages unpacked so far are markers (hollow.py). So nothing that runs in it may
meet one: no script, old or new, and no program or library that dpkg itself needs.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from ..errors import TreeError
from ..model import Package, Plan, Round
from ..tools import dpkg
from .base import BaseTree, as_seen
from .cache import Cached

_log = logging.getLogger(__name__)

ROUNDS_MAX = 400
"""overlayfs takes 500 layers below a mount (OVL_MAX_STACK), and their names have to fit in a page (mount(2))."""


def arrange(base: BaseTree, plan: Plan, cached: Mapping[Package, Cached]) -> tuple[list[Round], set[Package]]:
    """The rounds of a plan over ``base``, and the packages that are unpacked whole. Raises TreeError.

    A round begins with each package whose unpacking runs a script: its own preinst; those of what it takes files
    from, replaces, or puts out of order.
    """
    whole = needing_content(base, plan, cached)
    changes_base = bool(plan.replaced or plan.removed)
    first = {
        solved.package
        for solved in plan.packages
        if solved.package in whole
        or "preinst" in cached[solved.package].control_files
        or (changes_base and cached[solved.package].fields.keys() & {"breaks", "conflicts"})
    }
    rounds, further = cut(plan.rounds, first)
    return rounds, whole | further


def needing_content(base: BaseTree, plan: Plan, cached: Mapping[Package, Cached]) -> set[Package]:
    """Packages that are needed, read or compared while they are being unpacked.

    What has a file where the base has one, or where it had one that was diverted (dpkg-divert(1)), may be in the
    place of a program of the base. dpkg runs scripts of both versions of a package, and compares files that
    several instances of a name share (Multi-Arch: same).
    """
    names = Counter(package.name for package in base.packages)
    names.update(solved.name for solved in plan.packages)
    diverted = dpkg.diverted(base.path)

    tree = as_seen(base.path)

    places: dict[str, str | None] = {"": ""}
    """Where the base has a directory of the packages; None where it has nothing there."""

    @functools.cache
    def entries(place: str) -> frozenset[str]:
        return frozenset(tree.names(place))

    def find(directory: str) -> str | None:
        unknown = []
        while directory not in places:
            unknown.append(directory)
            directory = os.path.dirname(directory)
        found = places[directory]
        for inner in reversed(unknown):
            name = os.path.basename(inner)
            found = tree.find(os.path.join(found, name)) if found is not None and name in entries(found) else None
            places[inner] = found
        return found

    def is_taken(path: str) -> bool:
        directory, name = os.path.split(path)
        return f"/{path}" in diverted or ((place := find(directory)) is not None and name in entries(place))

    return {
        solved.package
        for solved in plan.packages
        if names[solved.name] > 1 or any(is_taken(path) for path in cached[solved.package].paths())
    }


def cut(
    rounds: Sequence[Round], first: Collection[Package], limit: int = ROUNDS_MAX
) -> tuple[list[Round], set[Package]]:
    """Cut the rounds further, before each of the packages ``first``.

    Where that would make more than ``limit`` rounds, packages are unpacked whole instead: the second value. Raises
    TreeError where there are too many before any cut.
    """
    cuts = limit - len(rounds)
    if cuts < 0:
        raise TreeError(
            f"the packages cannot be installed in {limit} rounds",
            f"their order has {len(rounds)} (Pre-Depends), and each is an overlay; the kernel stacks {limit} at most",
            "Nothing was changed. Install them in several steps, or put some of them into the base.",
        )
    done: list[Round] = []
    whole: set[Package] = set()
    for current in rounds:
        parts: list[list[Package]] = [[]]
        for package in current.unpack:
            if parts[-1] and package in first:
                if cuts > 0:
                    _log.debug("round is cut before %s: its unpacking runs a script, or needs contents", package)
                    parts.append([])
                    cuts -= 1
                else:
                    _log.debug("round is not cut before %s: there are %d; unpacked whole instead", package, limit)
                    whole.update(current.unpack)
            parts[-1].append(package)
        done += [Round(tuple(part), (), current.remove if n == 0 else ()) for n, part in enumerate(parts[:-1])]
        done.append(Round(tuple(parts[-1]), current.configure, current.remove if len(parts) == 1 else ()))
    return done, whole
