"""The hierarchy of control groups that counts processes, found in the list of mounts."""

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
    assert cgroup._hierarchy(OLDER) == Path("/sys/fs/cgroup/pids")


def test_the_newer_hierarchy_has_to_have_the_controller(tmp_path: Path) -> None:
    mounts = f"cgroup2 {tmp_path} cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n"
    assert cgroup._hierarchy(mounts) is None
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert cgroup._hierarchy(mounts) is None
    assert cgroup._hierarchy(mounts + OLDER) == Path("/sys/fs/cgroup/pids")
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    assert cgroup._hierarchy(mounts) == tmp_path


def test_where_none_is_mounted_there_is_none() -> None:
    assert cgroup._hierarchy("proc /proc proc rw,nosuid 0 0\n") is None


def test_a_killed_run_s_group_goes_and_a_live_one_s_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_hierarchy", lambda mounts: tmp_path)
    # No process has the second number: it is above the largest pid_max (proc_sys_kernel(5)).
    live, dead = tmp_path / f"apt-ostree-{os.getppid()}", tmp_path / f"apt-ostree-{(1 << 22) + 1}"
    live.mkdir()
    dead.mkdir()
    group = cgroup._make(10)
    assert group is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([live.name, group.path.name])
    assert (group.path / "pids.max").read_text() == "10"


def test_a_group_that_is_gone_was_not_overrun(tmp_path: Path) -> None:
    assert cgroup.Group(tmp_path / "gone").overran() is False
