"""Which files scripts make another of each time, and which of them a layer leaves to the machine.

``python3 -m tests.fidelity.own --repo R --ref REF --work DIRECTORY PACKAGE...``: each package is laid by itself, and
installed in two plain roots. Exit 1 where a file of /etc that the plain runs make differently is in the layer.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from apt_ostree.tools import ostree
from apt_ostree.tree import state, units

from . import __main__ as runs
from . import plain, trees

_OTHERS = ("var/cache/", "var/log/", *(f"var/{name}" for name in state.LINKED))
"""What is below these has other rules (tree/follow.py, tree/state.py)."""

_ACCOUNTS = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid", "ld.so.cache", "machine-id")


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of a package, names without the slash at their start: ``own`` is what the layer leaves to the
    machine, as its list has it; ``different`` is what the plain runs made differently."""

    own: frozenset[str]
    different: frozenset[str]

    @property
    def missed(self) -> list[str]:
        """Files of /etc that are in the layer and should not be."""
        return sorted(name for name in self.different if name.startswith("etc/") and not self._is_own(name))

    @property
    def in_var(self) -> list[str]:
        return sorted(name for name in self.different if name.startswith("var/"))

    @property
    def needless(self) -> list[str]:
        """What the layer leaves out although the plain runs made the same."""
        return sorted(one for one in self.own if not any(_is_in(name, one) for name in self.different))

    def _is_own(self, name: str) -> bool:
        return any(_is_in(name, one) for one in self.own)


def _is_in(name: str, one: str) -> bool:
    return name == one or name.startswith(f"{one.removesuffix('/')}/")


def look(options: argparse.Namespace, package: str) -> Found:
    """Lay a package, and install it twice in a plain root."""
    commit = ostree.resolve(options.repo, options.ref)
    assert commit is not None, f"no ref {options.ref}"
    root = runs.layer(options, [package])
    lists = sorted((root / state.IDENTITY).glob("*"))
    paths = {state.unescape(line.split(" ")[1]) for file in lists for line in file.read_text().splitlines()}
    runs.clear(root)
    sides = []
    for _ in range(2):
        root = options.work / "plain"
        runs.clear(root)
        plain.make_root(options.repo, commit, root)
        plain.install(root, options.work / "cache", [package], recommends=False)
        sides.append(
            {name: facts for name, facts in trees.read(root, plain=True).paths.items() if facts.kind == "file"}
        )
        shipped = set(trees.read(root, plain=True).owners)
        runs.clear(root)
    first, second = sides
    different = {
        name
        for name in {*first, *second} - shipped
        if name.startswith(("etc/", "var/")) and not name.startswith(_OTHERS) and not _has_other_rules(name)
        if name not in first or name not in second or first[name].content != second[name].content
    }
    return Found(frozenset(f"etc/{path}" for path in paths), frozenset(different))


def _has_other_rules(name: str) -> bool:
    return name.removeprefix("etc/").removesuffix("-") in _ACCOUNTS or name in units.IDENTITY


def main() -> int:
    parser = argparse.ArgumentParser(prog="own", description=__doc__)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--ref", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--apt-ostree", default=f"{sys.executable} -m apt_ostree")
    parser.add_argument("packages", nargs="+")
    options = parser.parse_args()
    options.work, options.recommends, options.debconf = options.work.absolute(), False, None
    options.work.mkdir(parents=True, exist_ok=True)
    missed = failed = 0
    for package in options.packages:
        try:
            found = look(options, package)
        except RuntimeError as error:
            failed += 1
            print(f"{package}: not tried: {str(error).strip().splitlines()[-1][:300]}", flush=True)
            continue
        missed += len(found.missed)
        words = {"left to the machine": sorted(found.own), "MISSED": found.missed, "needless": found.needless,
                 "different in /var": found.in_var}  # fmt: skip
        print(
            f"{package}: " + "; ".join(f"{name}: {' '.join(names)}" for name, names in words.items() if names),
            flush=True,
        )
    print(f"{len(options.packages) - failed} packages, {failed} not tried; {missed} files of /etc missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
