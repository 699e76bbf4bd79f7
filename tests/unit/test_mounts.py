"""The mounts that are made private to a namespace."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.host import mounts, syscalls


def test_in_a_chroot_whose_root_is_not_a_mount_point_each_mount_is_made_private() -> None:
    assert mounts.tops(["/proc", "/dev", "/dev/shm"]) == ["/proc", "/dev", "/dev/shm"]
    assert mounts.tops(["/proc", "/", "/dev"]) == ["/"]


def test_a_mount_point_may_have_any_byte_in_its_name() -> None:
    """A user's own, too: fusermount(1) mounts what they name."""
    lines = (
        rb"36 35 98:0 /a /mnt/with\040blank\011tab\012line\134 rw shared:1 - ext4 /dev/root rw",
        b"37 35 0:1 / /home/x/a\rb rw - fuse x rw",
        b"38 35 0:1 / /home/x/\xff\x85 rw - fuse x rw",
    )
    found = mounts.parse_points(b"\n".join(lines) + b"\n")
    assert found == ["/mnt/with blank\ttab\nline\\", "/home/x/a\rb", "/home/x/\udcff\udc85"]


MOUNTINFO = b"""\
36 35 98:0 / / rw - overlay overlay rw,lowerdir=/x
37 36 0:1 / /mnt rw - ext4 /dev/a rw
38 36 0:2 / /mnt/in rw - xfs /dev/b rw
39 36 0:3 / /mnt/in rw shared:7 master:1 - btrfs /dev/c rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "overlay"), ("/mntx", "overlay"), ("/mnt", "ext4"), ("/mnt/inner/x", "ext4"), ("/mnt/in/x", "btrfs")],
)
def test_the_type_of_a_filesystem_is_that_of_the_mount_that_is_seen(path: str, kind: str) -> None:
    assert mounts.kind_of(path, MOUNTINFO) == kind


def test_what_says_nothing_of_a_path_tells_no_type() -> None:
    assert mounts.kind_of("/x", b"37 36 0:1 / /mnt rw - ext4 /dev/a rw\n") == ""
    assert mounts.kind_of("/x", b"36 35 98:0 / /\n") == ""


@pytest.mark.parametrize(
    ("kind", "number", "brief"),
    [
        ("overlay", errno.EINVAL, "the filesystem of the sysroot cannot hold layers"),
        ("ext4", errno.EINVAL, "cannot mount overlay on root"),
        ("overlay", errno.EPERM, "cannot mount overlay on root"),
    ],
)
def test_where_a_filesystem_cannot_hold_layers_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, number: int, brief: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("apt_ostree.host.syscalls.mount", refuse)
    monkeypatch.setattr(mounts, "kind_of", lambda *_: kind)
    with pytest.raises(ToolError, match=brief), mounts.overlay(tmp_path, ["a"], "b", "c", "root"):
        pass


def test_what_is_no_mount_point_keeps_its_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(syscalls, "change_mount", never)
    mounts.close_to_others(tmp_path)
    mounts.make_writable(tmp_path)


def test_a_flag_that_cannot_be_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "points", lambda: ["/nonexistent/place"])
    with pytest.raises(ToolError, match=r"^cannot forbid set-user-ID programs in /nonexistent/place$"):
        mounts.close_to_others(Path("/nonexistent/place"))
