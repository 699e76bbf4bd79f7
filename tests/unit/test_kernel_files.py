"""What counts as a kernel in a /boot that scripts have written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.errors import SpaceError, TreeError
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


def test_kernels_that_leave_too_little_of_the_disk_are_not_copied(tmp_path: Path) -> None:
    place = tmp_path / f"tree/{kernel.MODULES}/6.1"
    place.mkdir(parents=True)
    (place / "vmlinuz").touch()
    (place / "config").touch()
    status = os.statvfs(tmp_path)
    os.truncate(place / "config", status.f_bavail * status.f_frsize)
    with pytest.raises(SpaceError, match="the base's kernels"):
        kernel.populate(tmp_path / "tree", tmp_path / "boot")
    assert not list((tmp_path / "boot").iterdir())


def boot_with(place: Path, *versions: str) -> Path:
    place.mkdir()
    for version in versions:
        (place / f"vmlinuz-{version}").write_text(f"image of {version}")
    return place


@pytest.mark.parametrize(
    ("present", "before", "chosen"),
    [
        (["6.12.9-amd64", "6.12.10-amd64"], [], "6.12.10-amd64"),
        (["6.9-amd64", "6.12-amd64"], ["6.9-amd64", "6.12-amd64"], "6.12-amd64"),
        (["6.12.10~bpo1", "6.12.10", "6.12.9"], [], "6.12.10"),
        (["6.12-amd64", "6.1-amd64"], ["6.12-amd64"], "6.1-amd64"),
        (["6.12-amd64", "6.1.9-amd64", "6.1.10-amd64"], ["6.12-amd64"], "6.1.10-amd64"),
        (["6.1-amd64"], ["6.1-amd64", "6.12-amd64"], "6.1-amd64"),
        ([], ["6.1-amd64"], None),
    ],
)
def test_the_newest_kernel_boots_and_one_of_the_base_only_where_no_other_came(
    tmp_path: Path, present: list[str], before: list[str], chosen: str | None
) -> None:
    assert kernel.choose(boot_with(tmp_path / "boot", *present), before) == chosen


def test_one_kernel_has_the_names_that_ostree_looks_for(tmp_path: Path) -> None:
    root, boot = tmp_path / "root", boot_with(tmp_path / "boot", "6.1.9", "6.1.10", "6.12")
    for version in ("6.1.9", "6.1.10", "6.12", "5.0"):
        (root / kernel.MODULES / version).mkdir(parents=True)
    for version in ("6.12", "5.0"):
        for name in (kernel.IMAGE, kernel.INITRAMFS):
            (root / kernel.MODULES / version / name).write_text("the base's")
    assert kernel.place_all(root, boot, ["6.12", "5.0"]) == (kernel.Kernels("6.1.10", ("6.1.9", "6.12")), True)
    found = {path.relative_to(root / kernel.MODULES).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found == {"6.1.10/vmlinuz", "6.1.9/vmlinuz.unused", "6.12/vmlinuz.unused"}
    assert kernel.read(root) == kernel.Kernels("6.1.10", ("6.1.9", "6.12"))


def test_more_kernels_than_a_machine_has_are_refused_before_one_is_copied(tmp_path: Path) -> None:
    boot, modules = tmp_path / "boot", tmp_path / "tree/usr/lib/modules"
    boot.mkdir()
    for number in range(kernel.KERNELS_MAX + 1):
        (modules / f"{number}.0").mkdir(parents=True)
        (modules / f"{number}.0/vmlinuz.unused").touch()
    with pytest.raises(TreeError, match="too many kernels"):
        kernel.populate(tmp_path / "tree", boot)
    assert not list(boot.iterdir())
    for number in range(kernel.KERNELS_MAX + 1):
        (boot / f"vmlinuz-{number}.0-1+~+").touch()
    with pytest.raises(TreeError, match="too many kernels"):
        kernel.versions(boot)
