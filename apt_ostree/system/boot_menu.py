"""The boot menu that libostree writes whenever it adds, removes or reorders deployments, and where it must not.

It looks into every deployment for that, and for some boot loaders it runs a program: on the running system the one that
is installed there, on another sysroot the one of a deployment, as root and without a sandbox
(ostree-bootloader-grub2.c, ostree-bootloader-zipl.c; 2022.7 to 2025.2).
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import SysrootError
from ..text import text_of
from ..tree import deploying
from . import origin
from .sysroot import Sysroot

_PROGRAMS = {"grub2": "grub-mkconfig", "zipl": "zipl", "aboot": "aboot-deploy"}
"""What libostree runs for a boot loader. For syslinux and U-Boot it writes a file itself."""


def check(before: Sysroot) -> None:
    """Refuse to let libostree write the menu where it would run or read what it must not. Raises SysrootError."""
    check_loader(before)
    if problem := unreadable(before):
        raise SysrootError(
            "OSTree must not read a deployment's SELinux configuration, which it does to write the boot menu",
            problem,
            "Nothing was changed. Remove it; 'apt-ostree rollback' works as it is.",
        )


def check_loader(before: Sysroot) -> None:
    """The same for the boot loader alone."""
    loader = _needs_program(before.path) if before.booted is None else None
    if loader is None:
        return
    raise SysrootError(
        "only the running system can write its boot menu",
        f"{loader[1]}; OSTree would run the tree's own {_PROGRAMS[loader[0]]} as root, outside of the sandbox",
        "Nothing was changed. Boot the system, where its boot menu offers the older deployments, too, and run the "
        "command there.",
    )


def unreadable(before: Sysroot) -> str | None:
    """Why libostree must not read the SELinux configuration of one of the deployments."""
    problems = (deploying.policy_problem(before.path / d.path) for d in before.deployments if not d.staged)
    return next((problem for problem in problems if problem), None)


def configured(path: Path) -> str:
    """The boot loader that the repository's configuration names ("sysroot.bootloader" in ostree.repo-config(5))."""
    config = text_of(path / "ostree/repo/config")
    return origin.parse(config, "the repository's configuration").get("sysroot", {}).get("bootloader", "auto")


def _needs_program(path: Path) -> tuple[str, str] | None:
    """The boot loader of a sysroot for which libostree runs a program of a deployment, and why it is that one."""
    kind = configured(path)
    # The root of a running system that OSTree did not boot: libostree runs that system's own grub-mkconfig.
    at_root = path == Path("/")
    if kind in _PROGRAMS:
        return None if at_root and kind == "grub2" else (kind, f"sysroot.bootloader is {kind}")
    if kind != "auto" or at_root or (path / "boot/syslinux/syslinux.cfg").is_symlink():
        return None
    # GLib finds a link that leads nowhere, too, which is how a sysroot is told to have GRUB before its first menu.
    menu = next((place for place in _grub_menus(path) if os.path.lexists(place)), None)
    return None if menu is None else ("grub2", f"{menu} exists")


def _grub_menus(path: Path) -> list[Path]:
    """The files by which libostree knows GRUB; one of bootupd's makes newer ones ignore them, which we do not."""
    efi = [menu for menu in (path / "boot").glob("efi/EFI/*/grub.cfg") if menu.parent.name != "BOOT"]
    return [path / "boot/grub/grub.cfg", path / "boot/grub2/grub.cfg", *sorted(efi)]
