"""Compare layers with plain installations: ``python3 -m tests.fidelity --repo R --ref REF PACKAGE...``.

Each argument is one case: a package or the path of a .deb, or several joined by commas. Exit 1 when any case differs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from apt_ostree.inputs import requests
from apt_ostree.tools import dpkg, listing, ostree

from . import judge, plain, points, trees

PLAIN_RUNS_MAX = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="fidelity", description=__doc__)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--ref", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recommends", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--debconf", type=Path, help="answers for both sides")
    parser.add_argument("--apt-ostree", default=f"{sys.executable} -m apt_ostree")
    parser.add_argument("--crowd", type=int, metavar="N", help="one case more: a package of N files, made for it")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_args()
    options.work = options.work.absolute()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.crowd:
        options.cases.append(os.fspath(_crowd(options.crowd, options.work)))
    results = {}
    for case in options.cases:
        begun = time.monotonic()
        differences, compared, seconds = run_case(options, case.split(","))
        results[case] = {
            "differences": [dataclasses.asdict(d) for d in differences],
            "compared": compared,
            "seconds": seconds,
        }
        if not options.json:
            took = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
            print(f"== {case} ({time.monotonic() - begun:.0f} s: {took})")
            print(judge.report(differences, compared), flush=True)
    if options.json:
        print(json.dumps(results, indent=2))
    return 1 if any(result["differences"] for result in results.values()) else 0


def run_case(
    options: argparse.Namespace, packages: list[str], *, keep: bool = False
) -> tuple[list[judge.Difference], int, dict[str, float]]:
    """A plain run and ours; while something differs, up to PLAIN_RUNS_MAX plain runs.

    What equals the first needs no excuse by a second. A server that initialises its data takes one of several ways by
    chance, and two runs may take the same. Where our
    tree is to be looked at afterwards, ``keep`` leaves it at ``laid_out``.
    """
    work, repo = options.work, options.repo
    commit = ostree.resolve(repo, options.ref)
    assert commit is not None, f"no ref {options.ref}"
    seconds: dict[str, float] = {}
    begun = time.monotonic()
    root = layer(options, packages)
    seconds["ours"] = time.monotonic() - begun
    ours = trees.read(root)
    if not keep:
        clear(root)
    sides: list[trees.Tree] = []
    differences: list[judge.Difference] = []
    while not sides or (differences and len(sides) < PLAIN_RUNS_MAX):
        root = work / "plain"
        clear(root)
        plain.make_root(repo, commit, root)
        begun = time.monotonic()
        plain.install(root, work / "cache", packages, options.recommends, answers=options.debconf)
        seconds[f"plain {len(sides) + 1}"] = time.monotonic() - begun
        sides.append(trees.read(root, plain=True))
        clear(root)
        differences = judge.compare(sides, ours)
    return differences, len(ours.paths) + len(ours.database), seconds


def _crowd(files: int, work: Path) -> Path:
    """The .deb of that many files, without the directory that it was made of."""
    place = work / "crowd"
    clear(place)
    place.mkdir()
    deb = points.crowd(files).build(place)
    clear(place / f"{deb.name}.built")
    return deb


def layer(options: argparse.Namespace, packages: list[str]) -> Path:
    """Install through the command on a fresh sysroot (the package cache is kept) and lay the result out.

    Says on standard error how much memory the largest of its processes had.
    """
    sysroot = options.work / "sysroot"
    words = options.apt_ostree.split()
    environment = {**os.environ, "OSTREE_SYSROOT_DEBUG": "mutable-deployments"}
    if not sysroot.exists():
        subprocess.run(
            [*words, "compose", "sysroot", "-q", "--repo", options.repo, options.ref, sysroot],
            env=environment, check=True, stdout=sys.stderr,
        )  # fmt: skip
    # What an interrupted run left would be part of this one's layer.
    reset(words, sysroot, environment)
    choice = "--recommends" if options.recommends else "--no-recommends"
    # As apt-get writes it: a minus before a name takes a base package out, a version is another than the base's.
    removed = [name for name in packages if name.startswith("-")]
    replaced = [name for name in packages if "=" in name or _in_base(options, name)]
    changed = removed or replaced
    if changed:
        others = [word for name in packages if name not in changed for word in ("--install", name)]
        verb = "remove" if removed else "replace"
        command = ["override", verb, *(name.removeprefix("-") for name in changed), *others]
    else:
        answers = ["--debconf", os.fspath(options.debconf)] if options.debconf else []
        command = ["install", choice, *answers, *packages]
    child = subprocess.Popen(
        [*words, *command, "-q", "--json", "--sysroot", sysroot], env=environment, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child.stdout:
        result = json.load(child.stdout)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"apt-ostree failed: {result}")
    # ru_maxrss is in KiB: the most that one process, it or a descendant, had (getrusage(2)).
    print(f"apt-ostree: at most {usage.ru_maxrss // 1024} MiB in one process", file=sys.stderr, flush=True)
    root = laid_out(options)
    clear(root)
    # By links, since copies would not show which names are one file; nothing here writes to them.
    ostree.checkout(sysroot / "ostree/repo", result["commit"], root, hard_links=True)
    plain.arrange(root)
    reset(words, sysroot, environment)
    return root


def laid_out(options: argparse.Namespace) -> Path:
    """Where our layers are checked out, one after the other."""
    return Path(options.work) / "ours"


def _in_base(options: argparse.Namespace, name: str) -> bool:
    """Whether a word is a file of a package that the base has, too."""
    if not requests.is_file(name):
        return False
    status = listing.of(options.repo, options.ref).read("/usr/lib/sysimage/dpkg/status") or ""
    installed = {(entry.package.name, entry.package.architecture) for entry in dpkg.parse_status(status)}
    words = ["dpkg-deb", "--show", "--showformat=${Package} ${Architecture}", name]
    package, architecture = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return (package, architecture) in installed


def reset(words: list[str], sysroot: Path, environment: dict[str, str]) -> None:
    """Back to the base alone; without the deployment before it, too, whose users would keep their numbers."""
    for command in (["reset"], ["cleanup", "--pending", "--rollback"]):
        subprocess.run(
            [*words, *command, "-q", "--sysroot", sysroot], env=environment, check=True, stdout=subprocess.DEVNULL
        )


def clear(root: Path) -> None:
    """Remove a root of ours; never one with something mounted in it."""
    if root.exists():
        for line in Path("/proc/self/mounts").read_text().splitlines():
            assert not line.split()[1].startswith(f"{root}/"), f"{line} is mounted"
        shutil.rmtree(root)


if __name__ == "__main__":
    sys.exit(main())
