"""What libostree meets of a tree while it deploys it, and the refusal of what it must not meet.

``ostree admin`` works as the host's root, outside of the sandbox and not through the door. It opens some files of the
tree by name, follows links there, and would run a program of the tree. Of names and of one file it makes lines of the
loader entry, as they are. The names below are those of libostree 2022.7 to 2025.2 (ostree-sysroot-deploy.c,
ostree-sepolicy.c, otcore-prepare-root.c, ostree-bootloader-uboot.c, ostree-bootloader-grub2.c).
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import TreeError
from ..host.door import Tree
from ..host.files import BLOCK, check_space
from ..text import lines
from ..tools import extent, listing, objects
from ..tools.listing import Entries, Listed

_MODULES, _OSTREE_BOOT, _POLICIES = "/usr/lib/modules", "/usr/lib/ostree-boot", "/usr/etc/selinux"
_BOOT = "/boot"

_DIRECTORIES = (
    _BOOT, "/usr", "/usr/etc", _POLICIES, "/usr/lib", _MODULES, "/usr/lib/ostree", _OSTREE_BOOT, "/var",
)  # fmt: skip
_LEVELS = (
    ("/usr", "/etc", _BOOT), ("/usr/lib", "/usr/etc"), ("/usr/lib/ostree", _MODULES, _OSTREE_BOOT, _POLICIES),
)  # fmt: skip
_NEEDED = {"/usr", "/usr/etc", "/usr/lib"}

_OS_RELEASE = "/usr/lib/os-release"
"""Without it, libostree reads /etc/os-release, which belongs to the machine."""

_OS_RELEASE_MAX = 1 << 20
"""Bytes; libostree reads it whole."""

_TITLES = ("PRETTY_NAME=", "ID=")
"""The lines of it of which libostree makes the title in the boot menu."""

_FILES = (_OS_RELEASE, "/usr/lib/ostree/prepare-root.conf")

_OF_A_KERNEL = ("vmlinuz", "initramfs.img", "initramfs", "devicetree", "aboot.img", "aboot.cfg", ".vmlinuz.hmac")
"""Files in a directory of kernel modules; beside them there may be ``dtb``, a directory, which is copied whole."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]*")
"""A kernel's version: a part of file names in /boot and of the loader entry, and so of commands in GRUB's script, where
``;``, ``$`` or a blank mean something (ostree-bootloader-grub2.c quotes the title alone)."""


SELINUX = "SELinux policies are not supported"
SEMODULE = "OSTree would run the new tree's own semodule as root, outside of the sandbox"

_POLICY_MAX = 1 << 20
"""Bytes of an /etc/selinux/config, of which libostree reads line by line."""


def _kind(entries: Entries, path: str) -> str:
    """One of ``-``, ``d`` and ``l``; empty for what does not exist."""
    return entries[path].kind if path in entries else ""


def check(repo: Path, commit: str) -> None:
    """Refuse a commit that libostree must not deploy. Raises TreeError.

    Told from the commit alone, which nobody can change any more, and from the room for it: raises SpaceError, too.
    """
    check_extent(repo, commit)
    directories = listing.of(repo, commit)
    entries = directories.levels(*_LEVELS)
    kernels = [path for path in _in(entries, _MODULES) if _kind(entries, path) == "d"]
    entries |= directories.inside(*kernels)
    trees = [f"{kernel}/dtb" for kernel in kernels if _kind(entries, f"{kernel}/dtb") == "d"]
    entries |= {entry.path: entry for tree in trees for entry in directories.below(tree)}
    problems = [*_layout_problems(entries), *_old_kernel_problems(entries), *_kernel_problems(entries, kernels, trees)]
    if problems := [*problems, *_title_problems(repo, commit, entries)]:
        raise TreeError(
            "OSTree must not deploy this tree: it would open what it must not, as the host's root",
            "\n".join(problems),
            "Nothing was published. Leave out the package that made it so, or tell the author of the image.",
        )
    if f"{_POLICIES}/config" in entries:
        raise TreeError(
            SELINUX,
            f"the tree has /etc/selinux/config: {SEMODULE}",
            "Nothing was published. Leave out the package that brings it, or use an image without it.",
        )


def check_extent(repo: Path, commit: str) -> None:
    """Refuse a commit that unfolds to more than any tree has, or would take what the host needs of the disk: a checkout
    of hard links makes each directory anew, and copies a file that has no name left to give (link(2), EMLINK). Raises
    TreeError, SpaceError, ToolError."""
    found, mode, empty = extent.of(repo, commit), objects.repository_mode(repo), 0
    for checksum, count in found.frequent:
        file = objects.file(repo, mode, checksum)
        if file.size:
            raise TreeError(
                f"commit {commit[:12]} has one file by too many names",
                f"object {checksum[:12]} of {file.size} bytes has {count}; at most {extent.NAMES_MAX} are allowed",
                "Nothing was published. Leave out the package that brings it, or use another image.",
            )
        empty += count
    check_space(
        repo, found.directories * BLOCK, "the directories of the tree", inodes=found.directories + empty, reserve=True
    )


def _in(entries: Entries, directory: str) -> list[str]:
    return [path for path in entries if posixpath.dirname(path) == directory and path != directory]


def _layout_problems(entries: Entries) -> Iterator[str]:
    for path in _DIRECTORIES:
        kind = _kind(entries, path)
        if kind not in {"d", ""}:
            yield f"{path} {_is(entries[path])}, not a directory"
        elif kind == "" and path in _NEEDED:
            yield f"{path} does not exist"
    # libostree would make it the tree's /usr/etc.
    if _kind(entries, "/etc") not in {"d", ""} or _in(entries, "/etc"):
        yield "/etc is in the commit, beside /usr/etc"
    if _OS_RELEASE not in entries:
        yield f"{_OS_RELEASE} does not exist"
    files = [path for path in _FILES if path in entries]
    yield from _no_files(entries, files)


def _old_kernel_problems(entries: Entries) -> Iterator[str]:
    """The places where libostree looks for kernels beside /usr/lib/modules: it makes lines of names there.

    In /usr/lib/ostree-boot it believes a name's last part, a checksum, and shares files in /boot with whatever has the
    same: that of another vendor's kernel, say. And the lines of an uEnv.txt there it writes into U-Boot's one menu of
    all deployments.
    """
    for directory in (_BOOT, _OSTREE_BOOT):
        if inside := _in(entries, directory):
            yield f"{directory} is not empty: it has {posixpath.basename(inside[0])!r}; kernels belong into {_MODULES}"


def _kernel_problems(entries: Entries, kernels: Sequence[str], trees: Sequence[str]) -> Iterator[str]:
    for kernel in kernels:
        files = [f"{kernel}/{name}" for name in _OF_A_KERNEL]
        yield from _no_files(entries, [path for path in files if path in entries])
        if _kind(entries, f"{kernel}/dtb") == "l":
            yield f"{kernel}/dtb {_is(entries[f'{kernel}/dtb'])}, not a directory"
        version = posixpath.basename(kernel)
        if f"{kernel}/vmlinuz" in entries and not _VERSION.fullmatch(version):
            yield f"the kernel's version {version!r} has other characters than letters, digits and .+~_-"
    for tree in trees:
        inside = [path for path in entries if path.startswith(f"{tree}/") and entries[path].kind != "d"]
        yield from _no_files(entries, inside)


def _title_problems(repo: Path, commit: str, entries: Entries) -> Iterator[str]:
    """On a running system, libostree reads the file at the next shutdown: if it fails then, the deployment is lost."""
    found = entries.get(_OS_RELEASE)
    if found is None or found.kind != "-":
        return
    if found.size > _OS_RELEASE_MAX:
        yield f"{_OS_RELEASE} has more than {_OS_RELEASE_MAX} bytes"
        return
    text = listing.of(repo, commit).read(_OS_RELEASE) or ""
    titles = [line for line in lines(text) if line.startswith(_TITLES)]
    if not titles:
        yield f"{_OS_RELEASE} has neither PRETTY_NAME nor ID"
    if odd := next((line for line in titles if not line.isprintable()), None):
        yield f"{_OS_RELEASE} has a control character in {odd!r}"
    if odd := next((line for line in titles if not _is_value(line.partition("=")[2])), None):
        yield f"{_OS_RELEASE} has a value that cannot be read, in {odd!r}"
    if "\0" in text or not _is_utf8(text):
        yield f"{_OS_RELEASE} is not UTF-8"


def _is_value(text: str) -> bool:
    """True if g_shell_unquote() can read a value, in which no quotation mark is open; libostree drops the line
    otherwise."""
    try:
        return shlex.split(f"{text}\n", comments=False) is not None
    except ValueError:
        return False


def _is_utf8(text: str) -> bool:
    """True unless some byte of what ``text`` was read from stands there as half of a surrogate pair."""
    try:
        return text.encode() is not None
    except UnicodeEncodeError:
        return False


def _no_files(entries: Entries, paths: Sequence[str]) -> Iterator[str]:
    return (f"{path} {_is(entries[path])}, not a file" for path in paths if entries[path].kind != "-")


def _is(entry: Listed) -> str:
    return {"l": f"is a link to {entry.target}", "d": "is a directory"}.get(entry.kind, "is a file")


def policy_problem(deployment: Path) -> str:
    """Why libostree must not read a deployment's SELinux configuration, which it does for each one whenever it writes
    the boot menu; empty if it may."""
    tree = Tree(deployment)
    place = "etc/selinux" if tree.has("etc/selinux") else "usr/etc/selinux"
    if tree.has(place) and not tree.has_directory(place):
        return f"{deployment / place} is not a directory"
    config = tree.status(f"{place}/config")
    if config is not None and not (tree.has_file(f"{place}/config") and config.st_size <= _POLICY_MAX):
        return f"{deployment / place / 'config'} is not a file of at most {_POLICY_MAX} bytes"
    return ""
