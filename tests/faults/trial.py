"""One trial: a sysroot, a command that a fault meets, and a judgement of what is left.

What is left is read with ostree and from the files, never with apt-ostree's own code.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from apt_ostree.errors import Interrupted
from tests.faults import plant
from tests.integration.system import (
    REF,
    REPOSITORY,
    SOON,
    STATEROOT,
    TIMEOUT,
    System,
    chosen_cli,
    environment,
    output,
    wait_until,
)

WORKERS = int(os.environ.get("FAULTS_WORKERS", "2"))
"""Trials at once."""

Trial = tuple[str, Callable[[System], None]]
"""Its name, and what happens to the sysroot."""

Shape = tuple[tuple[str, ...], ...]
"""The deployments in boot order: each is the one that was there before, by its name, or what a new one requests; and
whether it is pinned."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command, and what is done before on the sysroot it meets; there, {newer} is a repository with a newer base."""

    name: str
    command: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    points: tuple[str, ...] = ()
    """The named points that the command passes."""


INSTALL_POINTS = (
    "lock", "journal", "sandbox", *(name for name in plant.PHASES if name not in ("pull", "reorder", "pin"))
)  # fmt: skip

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("install", ("install", "rec-b", "user-maker"), (), INSTALL_POINTS),
        Scenario("uninstall", ("uninstall", "greeter"), (("install", "greeter", "rec-b"),), ("script", "deploy")),
        Scenario("rollback", ("rollback",), (("install", "greeter"),), ("lock", "journal", "reorder")),
        Scenario("cleanup", ("cleanup", "-r", "-b"), (("install", "greeter"),), ("lock", "journal", "deploy", "prune")),
        Scenario("pin", ("pin", "1"), (("install", "greeter"),), ("pin",)),
        Scenario("kargs", ("kargs", "--append-if-missing=x"), (("install", "greeter"),), ("deploy",)),
        Scenario(
            "rebase",
            ("rebase", f"upstream:{REF}"),
            (("install", "greeter"), ("remote", "add", "upstream", "file://{newer}", "--no-gpg-verify")),
            ("pull", "deploy"),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A sysroot to clone for each trial; the state it has, and the one that the command makes of it."""

    scenario: Scenario
    system: System
    old: Shape
    new: Shape
    names: frozenset[str]
    seconds: float
    """How long the command takes here and now, with as many others as trials run at once."""

    def outcome(self, system: System) -> str:
        """``old`` or ``new``; anything else is an error."""
        found = shape(system, self.names)
        assert found in (self.old, self.new), f"neither old nor new: {found}\nold: {self.old}\nnew: {self.new}"
        return "old" if found == self.old else "new"


def shape(system: System, known: Iterable[str]) -> Shape:
    return tuple(
        (*((name,) if name in known else ("requests", *system.requested(index))), *_pinned(system, index))
        for index, name in enumerate(system.deployments())
    )


def _pinned(system: System, index: int) -> tuple[str, ...]:
    origin = system.origin(index)
    pinned = origin.getboolean("libostree-transient", "pinned", fallback=False)
    return ("pinned",) if pinned and not origin.has_option("apt-ostree", "retained") else ()


def make_pattern(scenario: Scenario, template: System, place: Path) -> Pattern:
    """Prepare what a scenario's trials are cloned from, and see what the undisturbed command does."""
    system = template.clone(place / scenario.name)
    for words in scenario.before:
        if any("{newer}" in word for word in words):
            repo = newer(system, place)
            words = tuple(word.replace("{newer}", str(repo)) for word in words)
        system.run(*words)
    names = frozenset(system.deployments())
    old = shape(system, names)
    durations: list[float] = []
    shapes: set[Shape] = set()

    def undisturbed(number: int) -> None:
        clone = system.clone(place / f"{scenario.name}-{number}")
        began = time.monotonic()
        clone.run(*scenario.command)
        durations.append(time.monotonic() - began)
        shapes.add(shape(clone, names))
        clone.remove()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(undisturbed, range(WORKERS)))
    (new,) = shapes
    assert new != old
    return Pattern(scenario, system, old, new, names, max(durations))


def newer(system: System, place: Path) -> Path:
    """A repository with a commit over the system's base, under its ref."""
    repo, stage = place / "newer", place / "newer.stage"
    (stage / "usr/lib").mkdir(parents=True)
    (stage / "usr/lib/newer").write_text("newer\n")
    output("ostree", "init", f"--repo={repo}", "--mode=archive")
    output("ostree", "pull-local", f"--repo={repo}", "--disable-fsync", system.base.repo, system.base.commit)
    output(
        "ostree", "commit",
        f"--repo={repo}",
        f"--branch={REF}",
        f"--parent={system.base.commit}",
        f"--tree=ref={system.base.commit}",
        f"--tree=dir={stage}",
        "--owner-uid=0", "--owner-gid=0",
        "--fsync=false",
        "--add-metadata=ostree.bootable=true",
        "--add-metadata-string=ostree.linux=0.0",
    )  # fmt: skip
    return repo


# What has to hold at any time.


def whole(system: System) -> None:
    """Every loader entry boots: it points to files that exist, and to a deployment with its origin; and every
    object is what its name says."""
    entries = sorted((system.path / "boot/loader/entries").glob("*.conf"))
    assert len(entries) == len(system.deployments())
    for file in entries:
        keys = dict(line.split(" ", 1) for line in file.read_text().splitlines() if " " in line)
        for key in ("linux", "initrd"):
            assert (system.path / "boot" / keys[key].lstrip("/")).is_file(), f"{file}: no {key}"
        link = next(word for word in keys["options"].split() if word.startswith("ostree=")).removeprefix("ostree=/")
        tree = (system.path / link).resolve()
        assert (tree / "usr/bin").is_dir(), f"{file}: {link} leads to no tree"
        assert (tree / "etc").is_dir(), f"{file}: no /etc"
        assert tree.with_name(f"{tree.name}.origin").is_file(), f"{file}: no origin"
    system.fsck()


def gone(system: System) -> None:
    """No process and no mount is left."""
    wait_until(lambda: system.processes() == [], SOON, "nothing of the command runs")
    assert system.mounts() == []


def clean(system: System) -> None:
    """What the next command has to leave: no process, mount, lock or temporary file, nothing without an owner."""
    gone(system)
    swept(system)


def swept(system: System) -> None:
    """The part of it that lies on the disk."""
    with system.lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert system.note.read_bytes() == b""
    journal = system.var / "lib/apt-ostree/transactions"
    left = [
        *(system.area / "tmp").iterdir(),
        *system.area.glob(".*"),
        *(path for path in (system.area / "apt/archives").rglob("*") if path.is_file()),
        *(path for path in (system.path / "boot").glob(".*") if path.name != ".ostree-bootcsumdir-source"),
        *journal.glob(".*"),
        *system.area.glob("unsynced"),
    ]
    assert left == []
    deploy = system.path / "ostree/deploy" / STATEROOT / "deploy"
    trees = set(system.deployments())
    assert {path.name for path in deploy.iterdir()} == {*trees, *(f"{name}.origin" for name in trees)}
    heads = system.repo / "refs/heads/apt-ostree"
    assert not (heads / "pending").exists()
    owned = {path.name for path in (system.area / "pkgs").iterdir()}
    packages = heads / "pkg"
    assert {path.name for path in packages.iterdir()} <= owned if packages.is_dir() else True
    bases = {path.name for path in (heads / "base").iterdir()} if (heads / "base").is_dir() else set()
    commits = {name.partition(".")[0] for name in system.deployments()}
    shown = [output("ostree", "show", f"--repo={system.repo}", commit) for commit in commits]
    assert bases <= {*commits, *re.findall(r"^Parent: +(\S+)$", "".join(shown), re.MULTILINE)}
    for path in journal.glob("*.json") if journal.is_dir() else ():
        assert json.loads(path.read_text())["state"] != "running", path


def orphans(system: System) -> str:
    """What ``ostree prune`` would remove."""
    return output("ostree", "prune", f"--repo={system.repo}", "--refs-only", "--no-prune")


# Trials.


def planted(system: System, point: str, when: str, fault: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a fault planted."""
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.plant", point, when, fault, "--", "--sysroot", str(system.path), *command],
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def kill_after(seconds: float, system: System, *command: str, start: Callable[[], bool] = lambda: True) -> None:
    """Kill a command, so long after what ``start`` waits for, unless it is done by then."""
    with subprocess.Popen(
        [*chosen_cli(), "--sysroot", str(system.path), *command],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        while child.poll() is None and not start():
            time.sleep(0.002)
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()


def judge(pattern: Pattern, system: System, again: bool) -> str:
    """``old`` or ``new``, after everything was looked at, and after the next command: the same one again, or a
    clean-up. Raises AssertionError."""
    gone(system)
    outcome = pattern.outcome(system)
    whole(system)
    if again and not (outcome == "new" and pattern.scenario.name == "rollback"):
        # What is done already is no error, but for an uninstallation of what is gone.
        status = None if outcome == "new" and pattern.scenario.name == "uninstall" else 0
        system.run(*pattern.scenario.command, status=status)
        assert pattern.outcome(system) == "new"
        clean(system)
    else:
        system.run("cleanup", "-b")
        assert pattern.outcome(system) == outcome
        clean(system)
        assert "No unreachable objects" in orphans(system)
    return outcome


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run of trials came to."""

    tried: int
    outcomes: Counter[str]
    failures: list[str]

    @property
    def both(self) -> bool:
        """Whether both outcomes occurred: else the trials missed a half of what they are about."""
        return self.outcomes["old"] > 0 and self.outcomes["new"] > 0

    def row(self, name: str) -> str:
        odd = sum(self.outcomes[key] for key in self.outcomes if key not in ("old", "new"))
        return f"{name:<24}{self.tried:>8}{self.outcomes['old']:>8}{self.outcomes['new']:>8}{odd:>10}"


_NUMBERS = itertools.count()
"""Of sysroots: that of a failure stays, and is nobody else's."""

HEAD = f"{'':<24}{'tried':>8}{'old':>8}{'new':>8}{'else':>10}"


def run_trials(pattern: Pattern, place: Path, trials: Sequence[Trial], progress: bool = False) -> Tally:
    """Each trial on a clone of its own, several at once. A failure's sysroot stays, and is named."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    guard = threading.Lock()

    def one(number: int) -> None:
        name, meet = trials[number]
        system = pattern.system.clone(place / f"trial-{pattern.scenario.name}-{next(_NUMBERS)}")
        try:
            meet(system)
            outcome = judge(pattern, system, again=number % 2 == 0)
        except Exception:
            outcome = "else"
            with guard:
                failures.append(f"{pattern.scenario.name}, {name} ({system.path}): {traceback.format_exc(limit=-2)}")
        else:
            system.remove()
        with guard:
            outcomes[outcome] += 1
            done = sum(outcomes.values())
            if progress and done % 50 == 0:
                print(
                    f"{pattern.scenario.name}: {done} of {len(trials)}, {dict(outcomes)}", file=sys.stderr, flush=True
                )

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, range(len(trials))))
    return Tally(len(trials), outcomes, failures)


def at_point(pattern: Pattern, point: str, when: str, fault: str = "kill") -> Trial:
    """A fault at a named point, which the command has to reach."""

    def meet(system: System) -> None:
        done = planted(system, point, when, fault, *pattern.scenario.command)
        assert done.returncode != plant.UNREACHED, f"{point} was never reached: {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        if fault == "kill":
            assert done.returncode == plant.KILLED, done.stderr
        elif fault in plant.SIGNALS:
            number = plant.SIGNALS[fault]
            assert done.returncode == 128 + number, done.stderr
            assert f"error: {Interrupted(number).brief}\n" in done.stderr
        else:
            # Only the record may fail without an end of the command.
            expected = 0 if point.startswith("journal") else 1
            assert done.returncode == expected, done.stderr
            assert ("warning: the journal" if expected == 0 else "error: ") in done.stderr

    return f"{fault} {when} {point}", meet


def has_set_default() -> bool:
    """Whether this ostree reorders deployments itself."""
    done = subprocess.run(["ostree", "admin", "--help"], capture_output=True, text=True, check=False)
    return "set-default" in done.stdout + done.stderr


def at_lines(pattern: Pattern, point: str, step: int = 1) -> list[Trial]:
    """A kill before each line that runs in a function, or before each ``step``th one."""
    clone = pattern.system.clone(pattern.system.path.with_name(f"{pattern.scenario.name}-lines"))
    done = planted(clone, f"{point}@{1 << 30}", "before", "kill", *pattern.scenario.command)
    clone.remove()
    assert done.returncode == plant.UNREACHED, done.stderr
    lines = int(done.stderr.rpartition("uses: ")[2])
    assert lines > 0, f"{point} did not run"
    # The last ones come after what they are about.
    numbers = sorted({*range(1, lines + 1, step), *range(max(1, lines - 2), lines + 1)})
    return [at_point(pattern, f"{point}@{number}", "before") for number in numbers]


def at_points(pattern: Pattern) -> list[Trial]:
    """A kill before and after each point that the scenario names."""
    return [at_point(pattern, point, when) for point in pattern.scenario.points for when in ("before", "after")]


def at_instants(pattern: Pattern, count: int, seed: int) -> list[Trial]:
    """Kills at random: most of them uniformly over the command's duration. A fifth come at its beginning, and another
    once the new state is in force: the machine may be five times faster or slower than when the duration was taken."""
    chance = random.Random(f"{seed} {pattern.scenario.name}")

    def timed(seconds: float) -> Trial:
        def meet(system: System) -> None:
            kill_after(seconds, system, *pattern.scenario.command)

        return f"killed after {seconds:.3f} s", meet

    def late(seconds: float) -> Trial:
        def meet(system: System) -> None:
            before = in_force(system)
            kill_after(seconds, system, *pattern.scenario.command, start=lambda: in_force(system) != before)

        return f"killed {seconds:.3f} s after the new state was in force", meet

    part = max(1, count // 5)
    return [
        *(timed(chance.uniform(0, pattern.seconds / 10)) for _ in range(part)),
        *(timed(chance.uniform(0, pattern.seconds)) for _ in range(count - 2 * part)),
        *(late(chance.uniform(0, pattern.seconds / 5)) for _ in range(part)),
    ]


def in_force(system: System) -> tuple[object, ...]:
    """What ostree, or a reordering of ours, exchanges to let something else boot; and the pins."""
    deploy = system.path / "ostree/deploy" / STATEROOT / "deploy"
    loader = os.readlink(system.path / "boot/loader")
    links, pinned = "", False
    # ostree removes what no entry boots any more, while this looks.
    with contextlib.suppress(FileNotFoundError):
        links = os.readlink(system.path / f"ostree/boot.{loader.rpartition('.')[2]}")
    for path in deploy.glob("[0-9a-f]*.origin"):
        with contextlib.suppress(FileNotFoundError):
            pinned |= "pinned" in path.read_text()
    return loader, links, pinned
