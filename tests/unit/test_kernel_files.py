"""What counts as a kernel in a /boot that scripts have written to."""

from __future__ import annotations

import os
from pathlib import Path

from apt_ostree.tree import kernel


def test_only_files_are_kernels(tmp_path: Path) -> None:
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "vmlinuz-6.1").write_text("image")
    (boot / "vmlinuz-6.2").symlink_to("/etc/shadow")
    os.mkfifo(boot / "vmlinuz-6.3")
    (boot / "vmlinuz-6.4").mkdir()
    assert kernel.versions(boot) == ["6.1"]


def test_a_link_in_the_place_of_a_kernel_is_not_copied_to_where_scripts_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's own")
    modules = tmp_path / "tree/usr/lib/modules"
    (modules / "6.1").mkdir(parents=True)
    (modules / "6.1/vmlinuz").write_text("image")
    (modules / "6.1/config").symlink_to(secret)
    (modules / "6.2").mkdir()
    (modules / "6.2/vmlinuz").symlink_to(secret)
    assert kernel.populate(tmp_path / "tree", tmp_path / "boot") == ["6.1"]
    assert [path.name for path in (tmp_path / "boot").iterdir()] == ["vmlinuz-6.1"]
