"""What a tree ships for the machine that boots it: the units that bring the image's accounts into /etc, seed /var,
make the machine's own keys, and note which deployment was booted.

A key made by a package's script while an image or a layer is built would be shared by every machine of the
image, and would change with every new layer. Such files never enter a commit.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from . import state
from .fs import beneath, remove_tree

IDENTITY = (
    "ssh/ssh_host_*_key",
    "ssh/ssh_host_*_key.pub",
    "ssl/private/ssl-cert-snakeoil.key",
    "ssl/certs/ssl-cert-snakeoil.pem",
)
"""Patterns below /etc of files that make-identity makes on the machine."""

_UNITS = (
    "apt-ostree-accounts-lists.service", "apt-ostree-accounts.service", "apt-ostree-var.service",
    "apt-ostree-identity.service", "apt-ostree-boots.service",
)  # fmt: skip
_PROGRAMS = ("settle-accounts", "merge-accounts", "seed-var", "make-identity", "note-boot")
_DIRECTORY = "usr/lib/apt-ostree"


def drop_identity(etc: Path) -> bool:
    """Remove machine keys, and links to them, from a tree's /etc; returns whether there were any."""
    found = False
    for pattern in IDENTITY:
        directory = beneath(etc, Path(pattern).parent)
        if directory is None or directory.is_symlink():
            continue
        for path in sorted(directory.glob(Path(pattern).name)):
            if not path.is_dir() or path.is_symlink():
                path.unlink()
                found = True
    certificates = beneath(etc, "ssl/certs")
    if found and certificates is not None and not certificates.is_symlink():
        for path in sorted(certificates.iterdir()):
            # openssl's hash link.
            if path.is_symlink() and os.readlink(path) == "ssl-cert-snakeoil.pem":
                path.unlink()
    return found


def is_shipped(tree: Path) -> bool:
    """Whether a tree has these units already."""
    return all((tree / "usr/lib/systemd/system" / unit).is_file() for unit in _UNITS)


def write(target: Path) -> None:
    """Put the programs, the units and the rules for linked state into the tree ``target``."""
    data = resources.files("apt_ostree") / "data"
    _write(target, f"{state.TMPFILES}/00-apt-ostree.conf", state.state_tmpfiles(), 0o644)
    for name in _PROGRAMS:
        _write(target, f"{_DIRECTORY}/{name}", (data / name).read_text(), 0o755)
    for name in _UNITS:
        _write(target, f"usr/lib/systemd/system/{name}", (data / name).read_text(), 0o644)
        wants = target / "usr/lib/systemd/system/sysinit.target.wants" / name
        state.make_parents(target, wants)
        remove_tree(wants)
        wants.symlink_to(f"../{name}")


def _write(target: Path, name: str, text: str, mode: int) -> None:
    place = target / name
    state.make_parents(target, place)
    remove_tree(place)
    place.write_text(text)
    place.chmod(mode)
