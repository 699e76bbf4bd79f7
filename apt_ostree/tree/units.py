"""The units and programs that a tree ships for the machine that boots it.

They bring the image's accounts into /etc, seed /var, make the machine's own keys, and note which deployment was booted.

A key made by a package's script while an image or a layer is built would be shared by every machine of the
image, and would change with every new layer. Such files never enter a commit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from ..host.files import remove_tree
from ..host.paths import beneath
from . import state

IDENTITY = {
    "usr/etc": (
        "ssh/ssh_host_*_key",
        "ssh/ssh_host_*_key.pub",
        "ssl/private/ssl-cert-snakeoil.key",
        "ssl/certs/ssl-cert-snakeoil.pem",
    ),
    # dkms(8) signs modules with it; whoever trusts it would trust whoever has the image.
    f"{state.SYSIMAGE}/dkms": ("mok.key", "mok.pub"),
    "var/lib/dkms": ("mok.key", "mok.pub"),
}
"""Patterns of files, by a directory of a tree, that belong to one machine. Those in /etc make-identity makes there."""

_UNITS = (
    "apt-ostree-accounts-lists.service", "apt-ostree-accounts.service", "apt-ostree-var.service",
    "apt-ostree-identity.service", "apt-ostree-boots.service",
)  # fmt: skip
_PROGRAMS = ("settle-accounts", "merge-accounts", "seed-var", "make-identity", "note-boot")
_DIRECTORY = "usr/lib/apt-ostree"


def drop_identity(tree: Path) -> bool:
    """Remove a machine's own keys, and links to them, from a tree; returns whether there were any."""
    found = False
    for top, patterns in IDENTITY.items():
        for pattern in patterns:
            directory = beneath(tree, Path(top, pattern).parent)
            if directory is None or directory.is_symlink():
                continue
            for path in sorted(directory.glob(Path(pattern).name)):
                if not path.is_dir() or path.is_symlink():
                    path.unlink()
                    found = True
    certificates = beneath(tree, "usr/etc/ssl/certs")
    if found and certificates is not None and not certificates.is_symlink():
        for path in sorted(certificates.iterdir()):
            # openssl's hash link.
            if path.is_symlink() and os.readlink(path) == "ssl-cert-snakeoil.pem":
                path.unlink()
    return found


def is_shipped(tree: Path) -> bool:
    """True if a tree has any of these programs, in any version."""
    return any(beneath(tree, f"{_DIRECTORY}/{name}") is not None for name in _PROGRAMS)


def is_current(tree: Path) -> bool:
    """True if a tree has all of them as this version writes them."""
    places = ((beneath(tree, name), text) for name, text, _ in _files())
    return all(place is not None and place.is_file() and place.read_text() == text for place, text in places)


def write(target: Path) -> None:
    """Put the programs, the units and the rules for linked state into the tree ``target``."""
    for name, text, mode in _files():
        place = target / name
        state.make_parents(target, place)
        remove_tree(place)
        place.write_text(text)
        place.chmod(mode)
    for name in _UNITS:
        wants = target / "usr/lib/systemd/system/sysinit.target.wants" / name
        state.make_parents(target, wants)
        remove_tree(wants)
        wants.symlink_to(f"../{name}")


def _files() -> Iterator[tuple[str, str, int]]:
    """Each file's name, text and mode."""
    data = resources.files("apt_ostree") / "data"
    yield f"{state.TMPFILES}/00-apt-ostree.conf", state.state_tmpfiles(), 0o644
    for name in _PROGRAMS:
        yield f"{_DIRECTORY}/{name}", (data / name).read_text(), 0o755
    for name in _UNITS:
        yield f"usr/lib/systemd/system/{name}", (data / name).read_text(), 0o644
