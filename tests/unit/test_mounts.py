"""Which mounts are told that they are a namespace's own."""

from __future__ import annotations

from apt_ostree.host import mounts


def test_in_a_chroot_whose_root_is_no_mount_point_each_mount_is_told_apart() -> None:
    assert mounts.tops(["/proc", "/dev", "/dev/shm"]) == ["/proc", "/dev", "/dev/shm"]
    assert mounts.tops(["/proc", "/", "/dev"]) == ["/"]
