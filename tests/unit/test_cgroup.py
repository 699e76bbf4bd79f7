"""Control groups: their hierarchies, found in the list of mounts, and what is written to and read from a group."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.host import cgroup

OLDER = (
    "proc /proc proc rw,nosuid 0 0\n"
    "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n"
    "cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0\n"
)


def test_the_older_hierarchy_is_the_one_of_its_controller() -> None:
    assert cgroup._hierarchy(OLDER, "pids") == Path("/sys/fs/cgroup/pids")


def test_the_newer_hierarchy_has_to_have_the_controller(tmp_path: Path) -> None:
    mounts = f"cgroup2 {tmp_path} cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n"
    assert cgroup._hierarchy(mounts, "pids") is None
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert cgroup._hierarchy(mounts, "pids") is None
    assert cgroup._hierarchy(mounts + OLDER, "pids") == Path("/sys/fs/cgroup/pids")
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    assert cgroup._hierarchy(mounts, "pids") == tmp_path


def test_where_none_is_mounted_there_is_none() -> None:
    assert cgroup._hierarchy("proc /proc proc rw,nosuid 0 0\n", "pids") is None


def test_a_mount_of_a_users_hides_no_hierarchy() -> None:
    mounts = "x /home/x/a\rb fuse rw 0 0\nx\n\n"
    assert cgroup._hierarchy(mounts + OLDER, "pids") == Path("/sys/fs/cgroup/pids")


BOUNDS = cgroup.Bounds(tasks=10, memory=1000, swap=200)


@pytest.fixture
def hierarchies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with one for each controller, as the older kind has it."""
    for name in ("pids", "memory"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(cgroup, "_hierarchy", lambda mounts, controller: tmp_path / controller)
    return tmp_path


def test_a_killed_run_s_group_goes_and_a_live_one_s_stays(hierarchies: Path) -> None:
    top = hierarchies / "pids"
    # No process has the second number: it is above the largest pid_max (proc_sys_kernel(5)).
    live, dead = top / f"apt-ostree-{os.getppid()}", top / f"apt-ostree-{(1 << 22) + 1}"
    live.mkdir()
    dead.mkdir()
    made = cgroup._make("pids")
    assert made is not None
    assert sorted(path.name for path in top.iterdir()) == sorted([live.name, made.name])


def test_the_older_hierarchy_bounds_memory_and_swap_together(hierarchies: Path) -> None:
    with cgroup.holding(BOUNDS) as group:
        assert group.tasks is not None and group.memory is not None
        texts = {path.name: path.read_text() for path in (*group.tasks.iterdir(), *group.memory.iterdir())}
    assert texts == {"pids.max": "10", "memory.limit_in_bytes": "1000", "memory.memsw.limit_in_bytes": "1200"}


def test_the_newer_hierarchy_bounds_each(hierarchies: Path) -> None:
    place = cgroup._make("memory")
    assert place is not None
    (place / "memory.max").write_text("max")
    with cgroup.holding(BOUNDS) as group:
        assert group.memory == place
        texts = {path.name: path.read_text() for path in place.iterdir()}
    assert texts == {"memory.max": "1000", "memory.swap.max": "200"}


def test_where_memory_is_not_counted_processes_are(hierarchies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_hierarchy", lambda mounts, name: hierarchies / name if name == "pids" else None)
    with cgroup.holding(BOUNDS) as group:
        assert group.tasks is not None
        assert group.memory is None
        assert group.add(os.getpid()) == group
        assert not group.starved()


@pytest.mark.parametrize("name", ["memory.events", "memory.oom_control"])
def test_a_process_that_was_killed_for_its_memory_is_noticed(tmp_path: Path, name: str) -> None:
    group = cgroup.Group(None, tmp_path)
    (tmp_path / name).write_text("low 0\noom_kill 0\n")
    assert not group.starved()
    (tmp_path / name).write_text("low 0\noom_kill 1\n")
    assert group.starved()


def test_a_group_that_is_gone_was_not_overrun(tmp_path: Path) -> None:
    group = cgroup.Group(tmp_path / "gone", tmp_path / "gone")
    assert (group.overran(), group.starved()) == (False, False)
    assert group.add(os.getpid()) == cgroup.Group(None, None)
