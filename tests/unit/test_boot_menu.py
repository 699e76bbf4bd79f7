"""For which boot loaders libostree would run a program of a deployment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apt_ostree.errors import SysrootError
from apt_ostree.system import boot_menu
from apt_ostree.system.sysroot import load
from apt_ostree.tools import ostree
from tests.unit.fake import Fake


def sysroot(path: Path, bootloader: str = "", files: tuple[str, ...] = (), link: str = "") -> Path:
    fake = Fake(path / "sysroot")
    fake.deploy("a" * 64, "1")
    (fake.path / "ostree/repo/config").write_text(f"[sysroot]\n{bootloader}\n")
    for name in files:
        place = fake.path / "boot" / name
        place.parent.mkdir(parents=True)
        place.touch()
    if link:
        (fake.path / "boot" / link).parent.mkdir(parents=True, exist_ok=True)
        (fake.path / "boot" / link).symlink_to("../loader/grub.cfg")
    return fake.path


@pytest.mark.parametrize(
    ("bootloader", "files", "link"),
    [
        ("", ("grub/grub.cfg",), ""),
        ("bootloader=auto", ("grub2/grub.cfg",), ""),
        ("", (), "grub/grub.cfg"),
        ("", ("efi/EFI/debian/grub.cfg",), ""),
        ("", ("grub/grub.cfg", "syslinux/syslinux.cfg"), ""),
        ("bootloader=grub2", (), ""),
        ("bootloader=zipl", (), ""),
        ("bootloader=aboot", (), ""),
    ],
)
def test_only_the_running_system_runs_its_boot_loaders_program(
    tmp_path: Path, bootloader: str, files: tuple[str, ...], link: str
) -> None:
    before = load(sysroot(tmp_path, bootloader, files, link))
    with pytest.raises(SysrootError, match="only the running system can write its boot menu"):
        boot_menu.check(before)
    boot_menu.check(replace(before, deployments=(replace(before.deployments[0], booted=True),)))


@pytest.mark.parametrize(
    ("bootloader", "files", "link"),
    [
        ("", (), ""),
        ("", ("efi/EFI/BOOT/grub.cfg",), ""),
        ("", ("grub/grub.cfg",), "syslinux/syslinux.cfg"),
        ("bootloader=none", ("grub/grub.cfg",), ""),
        ("bootloader=syslinux", ("grub/grub.cfg",), ""),
        ("bootloader=uboot", ("grub/grub.cfg",), ""),
    ],
)
def test_a_menu_that_no_program_writes_is_written(
    tmp_path: Path, bootloader: str, files: tuple[str, ...], link: str
) -> None:
    boot_menu.check(load(sysroot(tmp_path, bootloader, files, link)))


def test_ostree_is_told_to_run_no_program_of_another_sysroot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it takes for the boot loader: with this variable it enters no deployment."""
    seen: list[object] = []

    def run(*argv: object, env: object = None) -> object:
        seen.append(env)
        return type("Result", (), {"stdout": ""})

    monkeypatch.setattr("apt_ostree.host.lifetime.outside", run)
    monkeypatch.setattr("apt_ostree.host.proc.run", run)
    ostree.admin(tmp_path, "deploy")
    ostree.admin(Path("/"), "deploy")
    assert seen == [{"OSTREE_GRUB2_EXEC": "/bin/false"}, None]
