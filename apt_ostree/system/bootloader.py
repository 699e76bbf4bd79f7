"""The order in which deployments boot, changed without deploying anything."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ChangedError, SysrootError
from ..host import proc
from ..host.files import remove_tree, sync_directory, sync_filesystem
from ..host.proc import signals_held
from ..text import text_of
from ..tools import ostree
from . import boot_menu
from .publication import check_unchanged
from .sysroot import Sysroot, entries

SWAP = ".loader.apt-ostree"
"""In /boot: the loader link that is about to take the other's name."""


def set_default(before: Sysroot, index: int) -> Sysroot:
    """Make deployment ``index`` boot next, as it is, with its own /etc; the order of the others stays.

    It is atomic: one link is replaced. Raises ChangedError as ``publish`` does, and SysrootError where a program of the
    tree would have to write the menu.
    """
    boot_menu.check_loader(before)
    with signals_held():
        try:
            # ostree itself refuses to work on a sysroot with an origin that it cannot read.
            unfit = any(d.damaged for d in before.deployments) or boot_menu.unreadable(before) is not None
            if ostree.has_admin("set-default") and not unfit:
                check_unchanged(before)
                ostree.admin(before.path, "set-default", str(index))
            else:
                with _ostree_locked(before.path):
                    check_unchanged(before)
                    _reorder(before.path, index)
                ostree.admin(before.path, "cleanup")
        except proc.ChildError:
            # ostree swaps the link and clears away then, which a damaged repository stops. A rollback is the way out.
            if before.again().deployments[0].id != before.deployments[index].id:
                raise
    return before.again()


@contextmanager
def _ostree_locked(path: Path) -> Iterator[None]:
    """Hold libostree's own lock, an open file description's (fcntl(2)). Raises ChangedError while ostree has it."""
    descriptor = os.open(path / "ostree/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)
        except (BlockingIOError, PermissionError):
            raise ChangedError(
                "ostree is changing the deployments", resolution="Nothing was changed. Run the command again."
            ) from None
        yield
    finally:
        os.close(descriptor)


def _reorder(path: Path, index: int) -> None:
    """Do what ``ostree admin set-default`` does, for an ostree that does not have it (2022.7).

    libostree keeps two sets of everything that boots and one link, /boot/loader, that says which is in force.
    The other set is written whole, then the link is replaced.
    """
    loader = path / "boot/loader"
    if elsewhere := _menus(path):
        raise SysrootError(
            "this ostree is too old to roll back here",
            f"its boot loader has its own menu ({', '.join(elsewhere)}), which only ostree can write",
            "Choose the other entry in the boot menu, or use an ostree with 'ostree admin set-default'.",
        )
    now = _in_force(loader)
    other = 1 - now
    links = path / "ostree" / os.readlink(path / f"ostree/boot.{now}")
    fresh_links, fresh_loader = path / f"ostree/boot.{other}.0", path / f"boot/loader.{other}"
    for stale in (path / f"ostree/boot.{other}", fresh_links, path / f"ostree/boot.{other}.1", fresh_loader):
        remove_tree(stale)
    ordered = entries(path)
    ordered.insert(0, ordered.pop(index))
    (fresh_loader / "entries").mkdir(parents=True)
    fresh_links.mkdir()
    counts: dict[str, int] = {}
    for position, entry in enumerate(ordered):
        # Deployments of one kernel are numbered in boot order. ostree relies on it: as long as the kernels
        # stay the same it exchanges the links alone and leaves the entries.
        osname, kernel, serial = entry.parts
        number = counts.get(kernel, 0)
        counts[kernel] = number + 1
        place = fresh_links / osname / kernel / str(number)
        place.parent.mkdir(parents=True, exist_ok=True)
        # The links point upwards by a depth that both sets share.
        place.symlink_to((links / osname / kernel / serial).readlink())
        text = re.sub(r"(?m)^version .*$", f"version {len(ordered) - position}", entry.text)
        text = re.sub(r"(?m)^(title .*\(ostree:(?:[^()]*:)?)\d+\)$", rf"\g<1>{position})", text)
        text = text.replace(
            f"ostree={entry.link}",
            f"ostree=/ostree/boot.{other}/{osname}/{kernel}/{number}",
        )
        name = f"ostree-{len(ordered) - position}-{osname}.conf"
        (fresh_loader / "entries" / name).write_text(text, errors="surrogateescape")
    (path / f"ostree/boot.{other}").symlink_to(fresh_links.name)
    sync_filesystem(path)
    sync_filesystem(path / "boot")
    swap = path / "boot" / SWAP
    remove_tree(swap)
    swap.symlink_to(fresh_loader.name)
    swap.rename(loader)
    sync_directory(path / "boot")


def _in_force(loader: Path) -> int:
    """The set of loader entries, 0 or 1, that a link to "loader.N" says is in force. Raises SysrootError."""
    target = os.readlink(loader) if loader.is_symlink() else ""
    if target not in {"loader.0", "loader.1"}:
        raise SysrootError(
            f"cannot tell which loader entries are in force: {loader} is not a link to loader.0 or loader.1",
            f"it leads to '{target}'" if target else "",
            "Choose the other entry in the boot menu, or use an ostree with 'ostree admin set-default'.",
        )
    return int(target[-1])


def _menus(path: Path) -> list[str]:
    """The menus that ostree writes for boot loaders that do not read loader entries."""
    found = [place.name for place in (path / "boot/loader").iterdir() if place.name != "entries"]
    for menu in (path / "boot").glob("efi/EFI/*/grub.cfg"):
        if "ostree=/ostree/boot." in text_of(menu):
            found.append(os.fspath(menu))
    kind = boot_menu.configured(path)
    return sorted([*found, kind] if kind in {"grub2", "zipl", "aboot"} else found)
