"""The units and programs that a tree ships for the machine that boots it.

They bring the image's accounts into /etc, seed /var, make the machine's own keys, and note which deployment was booted.

A key made by a package's script while an image or a layer is built would be shared by every machine of the
image, and would change with every new layer. Such files never enter a commit.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from ..host.door import Tree
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
_WANTS = "usr/lib/systemd/system/sysinit.target.wants"
_CERTIFICATES = "usr/etc/ssl/certs"


def drop_identity(tree: Path) -> bool:
    """Remove a machine's own keys, and links to them, from a tree; returns whether there were any."""
    found = False
    root = Tree(tree)
    for top, patterns in IDENTITY.items():
        for pattern in patterns:
            directory, _, last = f"{top}/{pattern}".rpartition("/")
            for name in fnmatch.filter(root.names(directory), last):
                if not root.has_directory(f"{directory}/{name}"):
                    root.remove(f"{directory}/{name}")
                    found = True
    for name in root.names(_CERTIFICATES) if found else []:
        # openssl's hash link.
        if root.link(f"{_CERTIFICATES}/{name}") == "ssl-cert-snakeoil.pem":
            root.remove(f"{_CERTIFICATES}/{name}")
    return found


def is_shipped(tree: Path) -> bool:
    """True if a tree has any of these programs, in any version."""
    return any(Tree(tree).has(f"{_DIRECTORY}/{name}") for name in _PROGRAMS)


def is_current(tree: Path) -> bool:
    """True if a tree has all of them as this version writes them."""
    return all(Tree(tree).text(name) == text for name, text, _ in _files())


def write(target: Path) -> None:
    """Put the programs, the units and the rules for linked state into the tree ``target``."""
    tree = Tree(target)
    for name, text, mode in _files():
        state.write_file(tree, name, text, mode)
    for name in _UNITS:
        tree.make_directory(_WANTS)
        tree.remove(f"{_WANTS}/{name}")
        tree.symlink(f"{_WANTS}/{name}", f"../{name}")


def _files() -> Iterator[tuple[str, str, int]]:
    """Each file's name, text and mode."""
    data = resources.files("apt_ostree") / "data"
    yield f"{state.TMPFILES}/00-apt-ostree.conf", state.state_tmpfiles(), 0o644
    for name in _PROGRAMS:
        yield f"{_DIRECTORY}/{name}", (data / name).read_text(), 0o755
    for name in _UNITS:
        yield f"usr/lib/systemd/system/{name}", (data / name).read_text(), 0o644
