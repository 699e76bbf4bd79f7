"""The kernel of a tree, and its initramfs.

OSTree boots /usr/lib/modules/VERSION/{vmlinuz,initramfs.img}; Debian's packages put the kernel into /boot.
The initramfs is dracut's: ostree's module exists for that alone in Debian (package ostree-boot).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from . import proc
from .bwrap import Sandbox
from .errors import TreeError


def versions(root: Path) -> list[str]:
    """The kernels whose packages put an image into a plain root's /boot."""
    return sorted(path.name.removeprefix("vmlinuz-") for path in (root / "boot").glob("vmlinuz-*"))


def place(root: Path, version: str) -> None:
    """Move one kernel from /boot to where OSTree looks for it. Raises TreeError."""
    modules = root / "usr/lib/modules" / version
    if not modules.is_dir():
        raise TreeError(f"kernel {version} has no modules", f"there is no {modules}")
    shutil.move(root / "boot" / f"vmlinuz-{version}", modules / "vmlinuz")


def initramfs(sandbox: Sandbox, root: Path, version: str, log: Path) -> None:
    """Make a kernel's initramfs with dracut in the sandbox: generic, with ostree's module, reproducible.

    Raises TreeError, with dracut's last lines.
    """
    if not (root / "usr/bin/dracut").exists():
        raise TreeError(
            "the tree has a kernel and no dracut",
            "an initramfs for OSTree can be made by dracut only",
            "Add the packages dracut and ostree-boot.",
        )
    image = f"/usr/lib/modules/{version}/initramfs.img"
    command = [
        "dracut",
        "--force",
        "--no-hostonly",
        "--reproducible",
        "--add", "ostree",
        "--kver", version,
        image,
    ]  # fmt: skip
    result = proc.logged(sandbox.argv(command), log)
    if result.returncode != 0 or not (root / image.lstrip("/")).is_file():
        raise TreeError(
            f"dracut made no initramfs for kernel {version}",
            proc.tail(result.stdout) + f"\nthe whole log: {log}",
        )
