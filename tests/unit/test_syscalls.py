"""A system call that fails says so: without that, an operation would go on without what it asked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.host import files, mounts, syscalls

NOTHING = "/nonexistent/place"
CALLS: dict[str, tuple[Callable[[], None], int]] = {
    "unshare": (lambda: syscalls.unshare(1), errno.EINVAL),
    "setns": (lambda: syscalls.setns(-1, syscalls.CLONE_NEWPID), errno.EBADF),
    "mount": (lambda: syscalls.mount("none", NOTHING, "tmpfs", 0), errno.ENOENT),
    "change_mount": (lambda: syscalls.change_mount(NOTHING, add=syscalls.MOUNT_ATTR_NOSUID), errno.ENOENT),
    "unmount": (lambda: syscalls.unmount(NOTHING, syscalls.MNT_DETACH), errno.ENOENT),
    "sync_filesystem": (lambda: syscalls.sync_filesystem(-1), errno.EBADF),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails_raises_its_error(name: str) -> None:
    call, expected = CALLS[name]
    with pytest.raises(OSError) as caught:
        call()
    # Without the capability for it the kernel does not even look at the arguments.
    assert caught.value.errno in {expected, *([errno.EPERM] if os.geteuid() else [])}
    assert caught.value.strerror == os.strerror(caught.value.errno)


def test_a_failed_mount_names_what_was_to_be_mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(syscalls._libc, "mount", lambda *_: -1)
    with pytest.raises(ToolError, match=f"^cannot mount /source on {tmp_path}$"):
        mounts.bind(Path("/source"), tmp_path)


def test_a_filesystem_that_cannot_be_synced_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(syscalls._libc, "syncfs", lambda _: -1)
    with pytest.raises(ToolError, match=f"^cannot sync {tmp_path}$"):
        files.sync_filesystem(tmp_path)


def test_a_child_is_killed_with_its_parent_or_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls._libc, "prctl", lambda *_: -1)
    with pytest.raises(OSError):
        syscalls.die_with_parent()
