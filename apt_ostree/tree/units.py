"""The units and programs that a tree ships for the machine that boots it.

They bring the image's accounts into /etc, seed /var, make the machine's own keys, and note which deployment was booted.

A key made by a package's script while an image or a layer is built would be shared by every machine of the
image, and would change with every new layer. Such files never enter a commit.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from ..host.door import Tree
from ..text import text_of
from . import overlays, state

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
    "apt-ostree-identity.service", "apt-ostree-boots.service", "apt-ostree-overlays.service",
    "apt-ostree-root.service", "apt-ostree-sysroot.service", "apt-ostree-derived.service",
    *(f"{name}.mount" for name in overlays.PLACES),
)  # fmt: skip
_PROGRAMS = (
    "settle-accounts", "merge-accounts", "seed-var", "make-identity", "configure-again", "note-boot", "settle-overlays",
    "protect-root", "derive-etc", "finalize-staged", "without-links", "aside", "machine-tool", "merge-services",
)  # fmt: skip
_DIRECTORY = "usr/lib/apt-ostree"
_WANTS = {"service": "sysinit.target.wants", "mount": "local-fs.target.wants"}
"""Where systemd looks for the units of each kind that it starts early."""
_CERTIFICATES = "usr/etc/ssl/certs"
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]+")
"""systemd.unit(5): what a unit's name is made of; a blank would end a word of a preset."""
_ENABLED = "usr/etc/systemd/system"
_UNITS_OF_PACKAGES = "usr/lib/systemd/system"
_DROP_INS = {"ostree-finalize-staged.conf": f"{_UNITS_OF_PACKAGES}/ostree-finalize-staged.service.d/apt-ostree.conf"}
_PRESETS = "usr/lib/systemd/system-preset"
_PRESET = f"{_PRESETS}/80-apt-ostree.preset"
"""Before Debian's 90-systemd.preset, which it overrules (systemd.preset(5): the first line that fits counts)."""


_UNIT_MAX = 1 << 20
_NO = {"no", "false", "off", "0", "n", "f"}
_VAR = re.compile(r"[|!]*/var/")
_BEFORE_VAR = {"local-fs-pre.target", "var.mount", "-.mount", "sysroot.mount", "systemd-remount-fs.service"}
"""What comes before /var is mounted: a unit that has to be before one of these cannot wait for it."""


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


def enabled(tree: Tree) -> list[str]:
    """The units that links in a tree's /usr/etc enable, sorted; a link to /dev/null masks one (systemd.unit(5))."""
    found = set[str]()
    for name in tree.names(_ENABLED):
        if name.endswith((".wants", ".requires", ".upholds")):
            links = {inner: tree.link(f"{_ENABLED}/{name}/{inner}") for inner in tree.names(f"{_ENABLED}/{name}")}
            found |= {inner for inner, target in links.items() if target not in {None, "/dev/null"}}
        # An alias, which enables what it leads to.
        elif (target := tree.link(f"{_ENABLED}/{name}")) not in {None, "/dev/null"}:
            found |= {os.path.basename(target or "")}
    return sorted(name for name in found if _UNIT_NAME.fullmatch(name))


def write_preset(root: Path) -> None:
    """Say in a tree that of its units those that are enabled, and no others, are enabled by presets.

    The first boot enables each unit that no preset disables (machine-id(5)), whatever Debian's packages chose. Units
    that are not in the tree keep the default, to enable: deb-systemd-helper(1p) asks presets when a layer brings one.
    """
    tree = Tree(root)
    if not tree.has_directory(_PRESETS):
        return
    chosen = [_as_preset(name) for name in enabled(tree)]
    on = {words.partition(" ")[0] for words in chosen}
    lines = [
        "# Units that this image enables, and those that it has and does not enable.",
        *(f"enable {words}" for words in chosen),
        *(f"disable {name}" for name in _installable(tree) if name not in on),
    ]
    state.write_file(tree, _PRESET, "".join(f"{line}\n" for line in lines))


def _installable(tree: Tree) -> list[str]:
    """The units of a tree that can be enabled: those with a section [Install], and files elsewhere that are linked in
    by their own name, which systemd links into /etc when it enables them."""
    found = []
    for name in tree.names(_UNITS_OF_PACKAGES):
        place = f"{_UNITS_OF_PACKAGES}/{name}"
        if (target := tree.link(place)) is not None:
            can_be = os.path.basename(target) == name
        else:
            can_be = any(line.strip() == "[Install]" for line in (tree.text(place) or "").split("\n"))
        if can_be and _UNIT_NAME.fullmatch(name):
            found.append(name)
    return found


def _as_preset(name: str) -> str:
    """A unit as a preset names it: the template, and then the instance, if it has one."""
    stem, at, rest = name.partition("@")
    instance, dot, kind = rest.rpartition(".")
    return f"{stem}@.{kind} {instance}" if at and dot and instance else name


def order_after_var(trees: Sequence[Path], target: Path, name: str) -> None:
    """Let early services of ``trees``, the lowest first, that are about something in /var wait for its mount, by a
    drop-in of this name in ``target``: systemd looks at a unit's conditions once, and a service whose path is not there
    yet is never started.

    A machine whose /var is another filesystem needs the same of them (systemd.unit(5), RequiresMountsFor=). One that
    has to be ready before filesystems are mounted is left alone.
    """
    early, seen = list[str](), set[str]()
    for tree in map(Tree, reversed(trees)):
        for service in tree.names(_UNITS_OF_PACKAGES):
            place = f"{_UNITS_OF_PACKAGES}/{service}"
            if service not in seen and service.endswith(".service") and tree.has_file(place):
                seen.add(service)
                if _UNIT_NAME.fullmatch(service) and _is_early_in_var(tree.text(place, limit=_UNIT_MAX) or ""):
                    early.append(service)
    if early:
        text = "".join(f"Before={service}\n" for service in sorted(early))
        state.write_file(Tree(target), f"{_UNITS_OF_PACKAGES}/var.mount.d/apt-ostree-{name}.conf", f"[Unit]\n{text}")


def _is_early_in_var(text: str) -> bool:
    settings = [
        (key.strip(), value.strip())
        for key, sign, value in (line.partition("=") for line in text.split("\n") if not line.startswith(("#", ";")))
        if sign
    ]
    early = any(key == "DefaultDependencies" and value.lower() in _NO for key, value in settings)
    about = any(key.startswith(("Condition", "Assert")) and _VAR.match(value) for key, value in settings)
    before = {word for key, value in settings if key == "Before" for word in value.split()}
    return early and about and before.isdisjoint(_BEFORE_VAR)


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
        wants = f"{_UNITS_OF_PACKAGES}/{_WANTS[name.rpartition('.')[2]]}"
        tree.make_directory(wants)
        tree.remove(f"{wants}/{name}")
        tree.symlink(f"{wants}/{name}", f"../{name}")


def _files() -> Iterator[tuple[str, str, int]]:
    """Each file's name, text and mode."""
    data = resources.files("apt_ostree") / "data"
    yield f"{state.TMPFILES}/00-apt-ostree.conf", state.state_tmpfiles(), 0o644
    for name in _PROGRAMS:
        yield f"{_DIRECTORY}/{name}", text_of(data / name), 0o755
    for name in _UNITS:
        yield f"{_UNITS_OF_PACKAGES}/{name}", text_of(data / name), 0o644
    for name, place in _DROP_INS.items():
        yield place, text_of(data / name), 0o644
