"""The kernels of a tree, and the initramfs of the one that boots.

OSTree boots /usr/lib/modules/VERSION/{vmlinuz,initramfs.img} and takes the first such pair that it meets;
Debian's packages put kernels into /boot. So /boot is kept beside the tree while scripts run, under Debian's
names, and afterwards exactly one kernel gets the names that OSTree looks for. The initramfs is dracut's:
ostree's module exists for that alone in Debian (package ostree-boot).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import TreeError
from ..host import proc
from ..host.door import Tree
from ..host.files import check_space
from ..sandbox.bwrap import Sandbox
from ..tools import dpkg

MODULES = "usr/lib/modules"
IMAGE = "vmlinuz"
UNUSED = "vmlinuz.unused"
"""The image of a kernel that is installed and does not boot: a name that OSTree does not look for."""
INITRAMFS = "initramfs.img"
SALT = ".apt-ostree-salt"
_WITH_IMAGE = ("config", "System.map")
"""Files beside an image in /boot, with the version behind the name; scripts of dkms and others read them."""

KERNELS_MAX = 100
"""Of one tree: each is compared and copied in every round."""

WANTED = "initramfs-wanted"
"""A file in the sandbox's /boot: some script asked for a new initramfs. See stubs.py."""

INPUTS = ("usr/lib/dracut", "usr/etc/dracut.conf", "usr/etc/dracut.conf.d", "usr/lib/firmware")
"""The sources of an initramfs, in addition to the kernel's modules; every package may change them."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels of a finished tree: which one boots, and which others are installed."""

    boots: str
    others: tuple[str, ...] = ()


def versions(boot: Path) -> list[str]:
    """The kernels that have an image in a /boot, the oldest first. Raises TreeError where there are too many."""
    tree = Tree(boot)
    found = [name for name in tree.names() if name.startswith("vmlinuz-") and tree.has_file(name)]
    _check_number(found)
    return sorted((name.removeprefix("vmlinuz-") for name in found), key=dpkg.version_key)


def _check_number(found: Collection[str]) -> None:
    if len(found) > KERNELS_MAX:
        raise TreeError("the tree has too many kernels", f"it has {len(found)}; {KERNELS_MAX} are allowed")


def populate(tree: Path, boot: Path) -> list[str]:
    """Fill ``boot`` with copies of a tree's kernels, as Debian has them in /boot; returns their versions. Raises
    SpaceError, TreeError."""
    boot.mkdir(exist_ok=True)
    base, made = Tree(tree), Tree(boot)
    places = [(version, f"{MODULES}/{version}") for version in base.names(MODULES)]
    images = {
        version: f"{place}/{name}"
        for version, place in places
        for name in (UNUSED, IMAGE)
        if base.has_file(f"{place}/{name}")
    }
    _check_number(images)
    copies = {f"vmlinuz-{version}": image for version, image in images.items()}
    copies |= {f"{name}-{version}": f"{MODULES}/{version}/{name}" for version in images for name in _WITH_IMAGE}
    found = [base.status(name) for name in copies.values()]
    check_space(boot, sum(status.st_size for status in found if status), "the base's kernels", reserve=True)
    for to, name in copies.items():
        _copy(base, name, made, to)
    return versions(boot)


def _copy(source: Tree, name: str, target: Tree, to: str) -> None:
    """Copy the content of a file, if it is one: a script's link leads to the host's files, and reading its FIFO never
    ends."""
    file = source.open_file(name)
    if file is not None:
        with file:
            target.remove(to)
            target.write(to, file)


def read(tree: Path) -> Kernels | None:
    """The kernels of a finished tree, as ``place_all`` returned them when it was made."""
    base = Tree(tree)
    boots, others = (
        [version for version in base.names(MODULES) if base.has_file(f"{MODULES}/{version}/{name}")]
        for name in (IMAGE, UNUSED)
    )
    return Kernels(boots[0], tuple(sorted(others, key=dpkg.version_key))) if boots else None


def choose(boot: Path, before: Iterable[str]) -> str | None:
    """Return the kernel in ``boot`` that is to boot, if there is one: the newest of those that the base did not have
    ``before``, else the newest."""
    present, old = versions(boot), set(before)
    return next(reversed([version for version in present if version not in old] or present), None)


def none_left(gone: Iterable[str]) -> TreeError:
    """The error of a tree that lost its last kernel."""
    return TreeError(
        "no kernel would be left to boot",
        f"{', '.join(gone)} would be removed, and no other kernel installed",
        "Nothing was changed. Name the one to take its place: 'apt-ostree override remove NAME --install KERNEL'.",
    )


def is_package(name: str) -> bool:
    """True for the name of a package with a kernel, or of one that depends on it, in Debian."""
    return name.startswith("linux-image-")


def place_all(root: Path, boot: Path, before: Iterable[str]) -> tuple[Kernels | None, bool]:
    """Make the tree at ``root`` hold the kernels in ``boot``, one of them as OSTree boots it: see ``choose``.

    ``before`` are those of the base. Returns them (None for a tree that never had one), and whether the one that
    boots is another image than the tree had for booting. Raises TreeError for a kernel without modules, and where
    the last one is gone.
    """
    tree, present, old, boots = Tree(root), versions(boot), set(before), choose(boot, before)
    for version in sorted(old - set(present)):
        for name in (IMAGE, UNUSED, INITRAMFS, *_WITH_IMAGE):
            if tree.has_directory(f"{MODULES}/{version}"):
                tree.remove(f"{MODULES}/{version}/{name}")
    if boots is None:
        if old:
            raise none_left(sorted(old))
        return None, False
    changed = False
    for version in present:
        changed |= _place(tree, Tree(boot), version, boots=version == boots)
    return Kernels(boots, tuple(version for version in present if version != boots)), changed


def _place(root: Tree, boot: Tree, version: str, *, boots: bool) -> bool:
    """Put one kernel where it belongs; returns whether a booting one is new there."""
    modules = f"{MODULES}/{version}"
    if not root.has_directory(modules):
        raise TreeError(f"kernel {version} has no modules", f"/{modules} does not exist, or is not a directory")
    wanted, other = (IMAGE, UNUSED) if boots else (UNUSED, IMAGE)
    changed = _update(boot, f"vmlinuz-{version}", root, f"{modules}/{wanted}")
    root.remove(f"{modules}/{other}")
    if not boots:
        root.remove(f"{modules}/{INITRAMFS}")
    for name in _WITH_IMAGE:
        _update(boot, f"{name}-{version}", root, f"{modules}/{name}")
    return boots and changed


def _update(source: Tree, name: str, target: Tree, to: str) -> bool:
    """Make a file the same as another, if that is one; returns whether it was not."""
    if not source.has_file(name) or source.has_same_content(name, target, to):
        return False
    _copy(source, name, target, to)
    return True


def place(root: Path, version: str) -> None:
    """Move the one kernel of a plain root from its /boot to where OSTree looks for it. Raises TreeError."""
    tree = Tree(root)
    _place(tree, tree.at("boot"), version, boots=True)


def etc_archive(etc: Path, names: Sequence[str], target: Path, salt: bytes) -> None:
    """Write files of an /etc as an initramfs of their own, which the kernel unpacks over the first.

    ``names`` are absolute paths below /etc. The archive (cpio's "newc", Linux's
    Documentation/driver-api/early-userspace/buffer-format.rst) depends on names, modes, owners and contents, and on
    ``salt``, which nobody can guess: OSTree calls the archive by its digest in what anybody may read, and a file may
    hold a short secret. Raises TreeError for what is not a regular file; a link is not followed.
    """
    own = Tree(etc)
    members: dict[str, tuple[int, int, int, bytes]] = {SALT: (stat.S_IFREG | 0o400, 0, 0, salt)}
    for name in sorted(set(names)):
        inner = name.removeprefix("/etc/")
        status, content = own.status(inner), own.read(inner)
        if status is None or content is None:
            raise TreeError(
                f"{name} is tracked for the initramfs, but is not a regular file",
                f"looked for in {etc}",
                f"Make it, or run 'apt-ostree initramfs-etc --untrack {name}'.",
            )
        # The kernel gives these to directories that the first one has already.
        for parent in reversed(Path(inner).parents):
            above = own.status("" if parent == Path() else parent.as_posix())
            if above is not None:
                members[os.fspath("etc" / parent)] = (above.st_mode, above.st_uid, above.st_gid, b"")
        members[f"etc/{inner}"] = (status.st_mode, status.st_uid, status.st_gid, content)
    with target.open("wb") as file:
        for number, (path, (mode, uid, gid, content)) in enumerate([*members.items(), ("TRAILER!!!", (0, 0, 0, b""))]):
            encoded = os.fsencode(path) + bytes(1)
            fields = (number + 1, mode, uid, gid, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
            header = b"070701" + b"".join(b"%08X" % field for field in fields)
            for part in (header + encoded, content):
                file.write(part + bytes(-len(part) % 4))


def inputs_changed(layers: Iterable[Path], version: str) -> bool:
    """True if layers over a base change what the base's initramfs was made of."""
    names = (*INPUTS, f"{MODULES}/{version}")
    return any(Tree(layer).has(name) for layer in layers for name in names)


def has_dracut(tree: Path) -> bool:
    """True if a tree can make an initramfs that OSTree boots."""
    base = Tree(tree)
    return (found := base.find("usr/bin/dracut")) is not None and base.has_file(found)


def require_dracut(tree: Path) -> None:
    """Refuse a tree without dracut. Raises TreeError."""
    if has_dracut(tree):
        return
    has_other = any(Tree(tree).has(f"usr/sbin/{name}") for name in ("mkinitramfs", "update-initramfs"))
    raise TreeError(
        "the tree cannot make an initramfs that boots OSTree",
        f"only dracut can, and {'the tree has initramfs-tools' if has_other else 'the tree has no dracut'}",
        "Add the packages dracut and ostree-boot to the image.",
    )


def initramfs(sandbox: Sandbox, root: Path, version: str, log: Path, arguments: Sequence[str] = ()) -> None:
    """Make a kernel's initramfs with dracut in the sandbox: generic, with ostree's module, reproducible.

    ``arguments`` are further ones for dracut(8). Raises TreeError, with dracut's last lines.
    """
    require_dracut(root)
    tree, image = Tree(root), f"{MODULES}/{version}/{INITRAMFS}"
    command = [
        "dracut",
        # First: a word among the arguments that belongs to no option would be taken for the image, and overwritten.
        f"/{image}",
        version,
        "--force",
        "--no-hostonly",
        "--reproducible",
        "--add", "ostree",
        *arguments,
    ]  # fmt: skip
    tree.remove(image)
    result = sandbox.run(command, log=log, doing=lambda: "dracut")
    if result.returncode != 0 or not tree.has_file(image):
        raise TreeError(
            f"dracut made no initramfs for kernel {version}",
            proc.tail(result.stdout) + f"\nthe whole log: {log}",
        )
    modules: list[str] = []
    sandbox.run(["lsinitrd", "--mod", f"/{image}"], on_line=modules.append)
    if "ostree" not in modules:
        raise TreeError(
            f"the initramfs of kernel {version} cannot find a deployment",
            "dracut left out ostree's module",
            "The package ostree-boot has it; dracut.conf(5) can omit it.",
        )
