"""Which hierarchy of control groups counts processes, as the list of mounts tells."""

from __future__ import annotations

from pathlib import Path

from apt_ostree import cgroup

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
