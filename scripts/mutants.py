"""Make small mistakes in a copy of the tree and see whether the unit tests notice: ``make mutants``.

``python -m scripts.mutants`` tries the named mutants of tests/mutants.toml, or those whose names are given;
``--random N`` tries N others, chosen by a seed, of the kinds in mutants_made.py.

Exits with 1 if a named mutant survives, and with 2 if one no longer fits the code.
"""

from __future__ import annotations

import argparse
import compileall
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.mutants_made import PACKAGE, Misfit, Mutant, chosen, named

REPOSITORY = Path(__file__).resolve().parents[1]
TESTS = "tests/unit"

COPIED = (PACKAGE, "docs", "examples", "fixtures", "scripts", "tests")
"""Directories that unit tests read; of the top itself, all files."""

PATIENCE = 4
"""Some mutants loop for ever. One that takes this many times as long as all tests take without it is noticed, too."""

NEVER = 3600.0
"""Seconds. The code without a mutant does not loop."""

BATCH = 20
"""How many mutants are made at once to find the tests that may notice one of them: with too many, one hides another."""

KILLED, SURVIVED, TIMEOUT = "killed", "SURVIVED", "timeout"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for a mutant, and the test that noticed it first."""

    mutant: Mutant
    result: str
    by: str = ""


class Workshop:
    """A copy of the tree in which mutants are made, and undone again."""

    def __init__(self, top: Path, place: Path) -> None:
        self.place = place
        self.count = 0
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in COPIED:
            shutil.copytree(top / name, place / name, symlinks=True, ignore=ignore)
        for path in top.iterdir():
            if path.is_file():
                shutil.copy2(path, place / path.name)
        # No test writes any, so that none of a mutant's is left.
        compileall.compile_dir(place, quiet=2)

    @property
    def tests(self) -> list[str]:
        """All files of unit tests."""
        return [os.fspath(path.relative_to(self.place)) for path in sorted((self.place / TESTS).glob("test_*.py"))]

    def likely(self, file: str) -> list[str]:
        """The unit tests of a module: those named like it or its folder, then those that import it."""
        folder, stem = Path(file).parent.name, Path(file).stem
        imports = re.compile(rf"apt_ostree\.{folder}(?:\.| import .*\b){stem}\b")
        named = [name for name in self.tests if Path(name).stem.removeprefix("test_") in (stem, folder)]
        others = [name for name in self.tests if imports.search((self.place / name).read_text())]
        return list(dict.fromkeys([*named, *others]))

    @contextmanager
    def made(self, mutants: Sequence[Mutant]) -> Iterator[None]:
        """Make mutants, of which no two touch the same text, as long as the block."""
        before = {mutant.file: (self.place / mutant.file).read_bytes() for mutant in mutants}
        status = {file: (self.place / file).stat() for file in before}
        self.count += 1
        try:
            for mutant in sorted(mutants, key=lambda mutant: mutant.start, reverse=True):
                path = self.place / mutant.file
                path.write_text(mutant.apply(path.read_text()))
                # Stored code counts as the source's if that has the same size and second (PEP 552).
                os.utime(path, (0, status[mutant.file].st_mtime + self.count))
            yield
        finally:
            for file, content in before.items():
                (self.place / file).write_bytes(content)
                os.utime(self.place / file, (0, status[file].st_mtime))

    def failing(self, tests: Sequence[str], limit: float, *, first: bool = True) -> list[str]:
        """Run files of tests, up to the ``first`` failure or all of them; the tests that fail.

        Raises subprocess.TimeoutExpired after ``limit`` seconds.
        """
        if not tests:
            return []
        argv = [
            sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider",
            *(["-x"] if first else []),
            # The same examples for each mutant.
            "--hypothesis-seed=0",
            *tests,
        ]  # fmt: skip
        variables = {"PYTHONPATH": os.fspath(self.place), "PYTEST_ADDOPTS": "", "PYTHONDONTWRITEBYTECODE": "1"}
        with subprocess.Popen(
            argv,
            cwd=self.place,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # All that a mutant leaves behind is ended together with it.
            start_new_session=True,
        ) as child:
            try:
                output, _ = child.communicate(timeout=limit)
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
        if child.returncode == 0:
            return []
        lines = output.splitlines()
        failed = [line.split(" ", 1)[1].partition(" - ")[0] for line in lines if line.startswith(("FAILED ", "ERROR "))]
        return failed or [f"pytest: {lines[-1] if lines else child.returncode}"]


def batches(mutants: Sequence[Mutant]) -> list[list[Mutant]]:
    """The mutants in groups that can be made together: small ones, and no two of one touch the same text."""
    found: list[list[Mutant]] = []
    for mutant in mutants:
        for batch in found:
            if len(batch) < BATCH and not any(mutant.overlaps(other) for other in batch):
                batch.append(mutant)
                break
        else:
            found.append([mutant])
    return found


def judge_all(shop: Workshop, mutants: Sequence[Mutant]) -> Iterator[Verdict]:
    """Try each mutant, first against the tests of its module. All tests run only once for each batch of those that are
    left, and then each mutant of it against the files of which a test failed. Raises Misfit."""
    begun = time.monotonic()
    if failing := shop.failing(shop.tests, NEVER):
        raise Misfit(f"the unit tests fail without a mutant: {failing[0]}")
    limit = PATIENCE * (time.monotonic() - begun) + PATIENCE

    def judge(mutant: Mutant, tests: Sequence[str]) -> Verdict:
        with shop.made([mutant]):
            try:
                noticed = shop.failing(tests, limit)
            except subprocess.TimeoutExpired:
                return Verdict(mutant, TIMEOUT)
        return Verdict(mutant, KILLED, noticed[0]) if noticed else Verdict(mutant, SURVIVED)

    left = []
    for mutant in mutants:
        verdict = judge(mutant, shop.likely(mutant.file))
        if verdict.result == SURVIVED:
            left.append(mutant)
        else:
            yield verdict
    for batch in batches(left):
        with shop.made(batch):
            try:
                files = list(
                    dict.fromkeys(name.partition("::")[0] for name in shop.failing(shop.tests, limit, first=False))
                )
            except subprocess.TimeoutExpired:
                files = shop.tests
        for mutant in batch:
            yield judge(mutant, [name for name in files if name in shop.tests] or (files and shop.tests))


def report(verdicts: Iterator[Verdict], show: Callable[[str], None]) -> list[Verdict]:
    """Show each verdict as it comes, then the rate and the survivors, which are returned."""
    done = []
    for verdict in verdicts:
        done.append(verdict)
        show(f"{verdict.result:8}  {verdict.mutant.name:24}  {verdict.by}".rstrip())
    survivors = [verdict for verdict in done if verdict.result == SURVIVED]
    show(f"{len(done) - len(survivors)} of {len(done)} were noticed, {len(survivors)} survived.")
    for verdict in survivors:
        show(f"  {verdict.mutant.file}: {verdict.mutant.name}\n    {verdict.mutant.gone}")
    return survivors


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="named mutants; without names, all of them")
    parser.add_argument("--random", type=int, metavar="N", help="try N random mutants instead")
    parser.add_argument("--seed", type=int, default=1, help="which random ones (default: 1)")
    parser.add_argument("--check", action="store_true", help="only see whether the mutants fit the code")
    given = parser.parse_args()
    try:
        mutants = (
            named(REPOSITORY, given.names) if given.random is None else chosen(REPOSITORY, given.random, given.seed)
        )
        if given.check:
            return 0
        with tempfile.TemporaryDirectory(prefix="mutants-") as place:
            shop = Workshop(REPOSITORY, Path(place))
            survivors = report(judge_all(shop, mutants), lambda line: print(line, flush=True))
    except Misfit as misfit:
        print(misfit, file=sys.stderr)
        return 2
    return int(bool(survivors) and given.random is None)


if __name__ == "__main__":
    sys.exit(main())
