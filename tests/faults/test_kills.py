"""kill -9, or an error of the disk, at named points and at random instants: the old state or the new one, whole, and
the next run works.

``make torture`` does the same for hours.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import plant
from tests.faults.trial import (
    HEAD,
    SCENARIOS,
    Pattern,
    Tally,
    Trial,
    at_instants,
    at_lines,
    at_point,
    at_points,
    clean,
    has_set_default,
    make_pattern,
    planted,
    run_trials,
)
from tests.integration.system import System

SEED = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))

INSTANTS = {"install": 10, "uninstall": 3, "rollback": 3, "cleanup": 3, "pin": 2, "kargs": 3, "rebase": 3}
"""Random instants of each scenario: what some minutes of two processors allow. ``make torture`` tries as many as it
is told."""

MANY = 100
"""Random instants of an install where there is time."""


@pytest.fixture(scope="module")
def patterns(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Pattern]]:
    """The pattern of a scenario, made once."""
    made: dict[str, Pattern] = {}

    def pattern(name: str) -> Pattern:
        if name not in made:
            made[name] = make_pattern(SCENARIOS[name], template, tmp_path_factory.mktemp(name))
        return made[name]

    yield pattern
    for each in made.values():
        each.system.remove()


def tried(pattern: Pattern, place: Path, trials: list[Trial]) -> Tally:
    tally = run_trials(pattern, place, trials)
    print(HEAD, tally.row(pattern.scenario.name), sep="\n")
    assert tally.failures == []
    return tally


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_a_named_point_leaves_the_old_state_or_the_new(
    patterns: Callable[[str], Pattern], name: str, tmp_path: Path
) -> None:
    pattern = patterns(name)
    tally = tried(pattern, tmp_path, at_points(pattern))
    assert tally.both, tally.outcomes


ERRORS = {
    "install": (
        ("journal", "before", "enospc"),
        ("journal:3", "before", "eio"),
        ("apt-download", "after", "enospc"),
        ("import-deb", "before", "eio"),
        ("ostree-commit", "after", "enospc"),
        ("sync", "before", "eio"),
        ("ostree-admin", "before", "eio"),
        ("ostree-admin", "after", "eio"),
        ("collect", "before", "enospc"),
    ),
    "uninstall": (
        ("ostree-commit", "before", "enospc"),
        ("prune", "before", "eio"),
    ),
    "rollback": (
        ("journal", "before", "enospc"),
        ("reorder", "before", "eio"),
    ),
    "cleanup": (
        ("ostree-admin", "before", "eio"),
        ("ostree-admin", "after", "eio"),
    ),
    "kargs": (
        ("ostree-admin", "before", "enospc"),
        ("ostree-admin", "after", "eio"),
    ),
    "rebase": (
        ("pull", "before", "eio"),
        ("collect", "before", "enospc"),
    ),
}
"""Errors of the disk; the last ones of each scenario come when the new state is in force."""

SIGNALS = (
    ("apt-refresh", "before", "int"),
    ("apt-solve", "before", "int"),
    ("apt-download", "before", "term"),
    ("import-deb", "after", "term"),
    ("ostree-commit", "before", "hup"),
    ("ostree-admin", "after", "hup"),
    ("collect", "after", "int"),
)
"""Each phase of an install that has no test of its own: a script's is in tests/integration/test_kill.py."""

OTHER_SIGNALS = (
    ("apt-solve", "after", "hup"),
    ("import-deb", "before", "int"),
    ("ostree-commit", "after", "int"),
    ("ostree-admin", "before", "term"),
    ("collect", "before", "term"),
)
"""The same phases from their other end."""


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_the_disk_at_a_named_point_leaves_the_old_state_or_the_new(
    patterns: Callable[[str], Pattern], name: str, tmp_path: Path
) -> None:
    pattern = patterns(name)
    tally = tried(pattern, tmp_path, [at_point(pattern, *error) for error in ERRORS[name]])
    assert tally.both, tally.outcomes


@pytest.mark.parametrize("signals", [SIGNALS, pytest.param(OTHER_SIGNALS, marks=pytest.mark.slow)])
def test_a_signal_in_any_phase_leaves_the_old_state_or_the_new(
    patterns: Callable[[str], Pattern], signals: tuple[tuple[str, str, str], ...], tmp_path: Path
) -> None:
    pattern = patterns("install")
    tally = tried(pattern, tmp_path, [at_point(pattern, *each) for each in signals])
    assert tally.both, tally.outcomes


def test_a_kill_at_any_line_of_a_rollback_leaves_the_old_order_or_the_new(
    patterns: Callable[[str], Pattern], tmp_path: Path
) -> None:
    """Where ostree has no set-default, the loader entries are rewritten and the link is swapped here."""
    pattern = patterns("rollback")
    if has_set_default():
        trials = [at_point(pattern, "ostree-admin", when) for when in ("before", "after")]
    else:
        trials = at_lines(pattern, "loader", step=5)
    tally = tried(pattern, tmp_path, trials)
    assert tally.both, tally.outcomes


@pytest.mark.parametrize(
    ("name", "instants"), [*INSTANTS.items(), pytest.param("install", MANY, marks=pytest.mark.slow)]
)
def test_a_kill_at_a_random_instant_leaves_the_old_state_or_the_new(
    patterns: Callable[[str], Pattern], name: str, instants: int, tmp_path: Path
) -> None:
    print(f"FAULTS_SEED={SEED}")
    pattern = patterns(name)
    tally = tried(pattern, tmp_path, at_instants(pattern, instants, SEED))
    assert tally.both, tally.outcomes


CHANGED = {
    "rollback": ("reorder", ("rollback",)),
    "kargs": ("deploy", ("kargs", "--append=x")),
    "cleanup": ("deploy", ("cleanup", "-r")),
    "install": ("sync", ("install", "rec-b")),
    "pin": ("pin", ("pin", "0")),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_another_tool_changed_until_the_last_moment_is_not_lost(
    patterns: Callable[[str], Pattern], name: str, tmp_path: Path
) -> None:
    """The deployments are compared once more just before anything is published."""
    point, command = CHANGED[name]
    system = patterns("rollback").system.clone(tmp_path / "sysroot")
    before = system.deployments()
    done = planted(system, point, "before", "pin", *command)
    assert "error: the deployments changed while this command ran\n" in done.stderr
    assert done.returncode == 1
    assert system.deployments() == before
    assert system.origin(1).getboolean("libostree-transient", "pinned")
    system.remove()


def test_a_package_whose_objects_are_let_go_counts_as_gone(sysroot: System) -> None:
    """Killed between its directory and its reference, one of them is left."""
    sysroot.install("greeter")
    sysroot.run("rollback")
    done = planted(sysroot, "delete-ref", "before", "kill", "cleanup", "-r")
    assert done.returncode == plant.KILLED, done.stderr
    sysroot.run("cleanup", "-b")
    clean(sysroot)
    sysroot.install("greeter")
    sysroot.fsck()


def test_a_package_without_its_reference_is_imported_again(sysroot: System) -> None:
    sysroot.run("install", "-D", "greeter")
    (ref,) = (sysroot.repo / "refs/heads/apt-ostree/pkg").iterdir()
    ref.unlink()
    # As a kill leaves it.
    sysroot.note.write_text("{}")
    sysroot.install("greeter")
    sysroot.fsck()


def test_a_checkout_of_the_base_counts_once_it_is_on_disk(sysroot: System) -> None:
    """Where names share an object it holds copies, which a power cut could leave empty for good."""
    shutil.rmtree(sysroot.area / "base")
    done = planted(sysroot, "sync", "before", "kill", "install", "-n", "greeter")
    assert done.returncode == plant.KILLED, done.stderr
    assert list((sysroot.area / "base").iterdir()) == []
