"""The mounts that are made private to a namespace."""

from __future__ import annotations

from apt_ostree.host import mounts


def test_in_a_chroot_whose_root_is_not_a_mount_point_each_mount_is_made_private() -> None:
    assert mounts.tops(["/proc", "/dev", "/dev/shm"]) == ["/proc", "/dev", "/dev/shm"]
    assert mounts.tops(["/proc", "/", "/dev"]) == ["/"]
