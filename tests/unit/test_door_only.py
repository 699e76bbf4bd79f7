"""The door (host/door.py) is the only way into a tree that others wrote: elsewhere no path is opened, looked at or
changed by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "apt_ostree"

HELD = ("inputs", "layering", "ops", "sandbox", "system", "tools", "tree")
"""The folders whose modules are held to it."""

NOT_HELD = ("cli", "host")
"""Those that are not: what a person types and reads; the door itself and what it is made of."""

ALLOWED: dict[str, set[str]] = {
    # The package cache and the work area are ours.
    "layering.cache": {
        "area / 'pkgs' / ref.rpartition('/')[2].is_dir",
        "area / 'pkgs'.iterdir",
        "fresh / _INDEX.write_text",
        "fresh / _PATHS.write_bytes",
        "fresh.rename",
        "from host.files import",
        "hollow.stat",
        "place.parent.mkdir",
        "places.is_dir",
        "places.iterdir",
        "target.write_text",
    },
    "layering.hollow": {
        "cached.hollow.stat", "from host.files import", "source.open", "source.stat", "tarfile.open", "unpacked.unlink",
    },
    # The .deb that a user names is looked at, and copied without following a link; all else is done with the copy.
    "layering.importing": {
        "file.is_file",
        "file.resolve",
        "fresh.mkdir",
        "from host.files import",
        "own.open",
        "own.stat",
        "path.open",
        "tarfile.open",
    },
    # An object of the repository, which has its checksum's name, and a disk's free space.
    "layering.hydrate": {"from host.files import", "source.open", "source.stat"},
    # A disk's free space, and its sync.
    "layering.assemble": {"from host.files import"},
    "layering.settling": {"from host.files import"},
    "layering.written": {"from host.files import"},
    "ops.download": {"from host.files import"},
    "layering.base": {"from host.files import"},
    # Our own file, in the program.
    "layering.again": {"resources.files('apt_ostree') / 'data/configure-again'.read_bytes"},
    "layering.stubs": {"text_of(resources.files('apt_ostree') / 'data/uname')"},
    # The directory itself is ours: beside the tree, in the work area.
    "tree.state": {"from host.files import", "var.mkdir", "var.chmod"},
    "tree.kernel": {"boot.mkdir", "from host.files import", "target.open"},
    # Our own files, in the program.
    "tree.units": {"text_of(data / name)"},
    # An object of the repository, which has its checksum's name.
    "tree.changelog": {"gzip.open"},
    #
    # What libostree writes and reads by the same names, following its own links, in a sysroot that is root's: boot
    # links and loader entries, deployments' directories, the repository's configuration and refs, notes in /run.
    "system.bootloader": {
        "fresh_links.mkdir", "fresh_loader / 'entries' / name.write_text", "fresh_loader / 'entries'.mkdir",
        "from host.files import", "links / osname / kernel / serial.readlink", "loader.is_symlink", "text_of(menu)",
        "os.open", "os.readlink", "path / 'boot'.glob", "path / 'boot/loader'.iterdir",
        "path / f'ostree/boot.{other}'.symlink_to", "place.parent.mkdir",
        "place.symlink_to", "swap.rename", "swap.symlink_to",
    },
    "system.boot_menu": {
        "os.path.lexists", "path / 'boot'.glob", "path / 'boot/syslinux/syslinux.cfg'.is_symlink",
        "text_of(path / 'ostree/repo/config')",
    },
    "system.sysroot": {
        "one.exists", "one.samefile", "other.exists", "os.path.realpath", "path / 'ostree/repo/config'.is_file",
        "path / match[0].is_dir", "path.exists", "path.is_dir", "place.is_dir",
        "self.path / 'ostree/deploy' / name.is_dir", "self.path / 'ostree/deploy'.glob", "staged.BOOTED.exists",
        "target.is_dir", "target.stat",
    },
    "system.staged": {
        "lock.exists", "lock.unlink", "note.read_bytes", "text_of(note)", "root.stat",
        "states / name / f'unlocked-{kind}'.exists",
    },
    # Of the rest: origins beside the deployments, written whole; the object that a kernel in /boot is compared with.
    "system.retention": {
        "file.lstat", "file.stat", "from host.files import", "kernel.rglob", "os.statvfs",
        "path / 'boot'.stat", "path / 'ostree'.stat",
    },
    "system.remote": {
        "text_of(child / 'config')", "child / 'config'.write_text", "text_of(file)", "from host.files import",
        "path.is_file", "top.rglob",
    },
    "tools.ostree": {
        "_commit_path(repo, checksum).exists", "path.is_file", "text_of(path)", "place.read_bytes", "place.stat",
        "text_of(repo / 'refs/heads' / name)", "repo / 'state' / f'{checksum}.commitpartial'.exists", "repo.mkdir",
        "top / prefix.rglob",
    },
    # Objects, which have their checksums' names.
    "tools.objects": {"os.getxattr", "os.open", "os.readlink", "place.lstat", "text_of(repo / 'config')"},
    # The lock's two files, root's beside the repository, opened without following a link.
    "system.lock": {"locked_file(path).open", "os.open", "path.open"},
    # The work area, which a transaction makes through the door and closes to others before it uses it
    # (recovery.prepare_area): scratch files, downloads, caches, the mark of unsynced objects.
    "system.publication": {
        "before.unsynced.unlink", "from host.files import", "overlay.stat", "overlay.unlink", "text.unlink",
    },
    # A repository that root names in a URL.
    "system.seclusion": {"from host.files import"},
    "system.local_remote": {"from host.files import", "os.open", "os.stat", "seen.mkdir"},
    "ops.archive": {"lists.glob", "tempfile.TemporaryDirectory"},
    "ops.build": {"from host.files import", "work.mkdir"},
    "ops.deployments": {
        "(place := (area / 'apt' / name)).exists", "area / 'base'.iterdir", "from host.files import", "place.lstat",
    },
    "ops.layer": {"from host.files import"},
    # Also the stateroots' names, and what a killed writer left beside an origin.
    "ops.recovery": {
        "text_of(Path('/proc/sys/kernel/random/boot_id'))", "directory.is_dir", "directory.iterdir",
        "from host.files import", "loaded.area / 'pkgs'.iterdir", "loaded.path / 'ostree/deploy'.iterdir",
        "loaded.path.glob", "loaded.unsynced.exists", "text_of(loaded.unsynced)", "loaded.unsynced.unlink",
    },
    "ops.transaction": {
        "RUN.mkdir", "from host.files import", "loaded.unsynced.exists", "loaded.unsynced.unlink",
    },
    "ops.query": {"path / 'ostree/deploy'.iterdir"},
    "tools.apt": {"area / STAMP.open", "from host.files import"},
    # The copies in apt's own area; what may be the fetcher's there is opened without following a link.
    "tools.apt_area": {
        "area / 'cache' / cache_key.mkdir", "area / 'cache'.iterdir", "area / 'tmp'.mkdir",
        "etc / 'sources.list.d'.chmod", "etc / name.mkdir", "etc.chmod", "etc.glob", "from host.files import",
        "key.read_bytes", "os.open", "path.is_symlink", "path.mkdir", "path.unlink", "stale.is_dir",
    },
    "tools.apt_copies": {"os.open", "path.parent.mkdir", "path.unlink"},
    "tools.mmdebstrap": {"file.write_text", "text_of(path)"},
    # Archives that the reader without rights has written again, and the one that is made of them.
    "tools.deb": {"tarfile.open", "target.open"},
    "sandbox.unpacking": {
        "from host.files import", "tarfile.open",
        # The Python of this machine, which the reader runs with, and our own program.
        "os.path.isdir", "os.path.islink", "os.path.realpath", "os.readlink",
        "text_of(resources.files('apt_ostree') / 'sandbox/reader.py')",
    },
    # The reader itself: it has no rights, and the archive is an open file.
    "sandbox.reader": {"tarfile.open"},
    # This machine's /proc.
    "sandbox.bwrap": {"_PROC / name.exists", "_PROC / name.is_dir", "entry.is_file", "entry.stat", "os.scandir"},
    "sandbox.guard": {
        "text_of(Path('/proc/meminfo'))", "from host.files import", "os.listdir", "os.stat", "os.statvfs",
    },
    # Only what is to stay free of a disk.
    "sandbox.limits": {"from host.files import"},
    "tree.deploying": {"from host.files import"},
    "tree.users": {"from host.files import"},
    "tree.merging": {"from host.files import"},
    # Files that the user named on the command line, or that the manifest names: with the rights of who asks.
    "inputs.debconf": {"from host.files import"},
    "inputs.tables": {"from host.files import"},
    "ops.intents": {"from host.files import", "file.is_file", "requests.is_file"},
    "ops.kernel_args": {
        "text_of(PROC_CMDLINE)", "text_of(file)", "file.write_text", "tempfile.TemporaryDirectory",
    },
    "ops.compose_sysroot": {
        "_HERE.glob", "deployment.is_dir", "path.exists", "path.is_dir", "path.iterdir", "path.rmdir",
        "repo / 'config'.is_file",
    },
    "ops.compose_tree": {
        "RUN.mkdir", "area.glob", "directory.chmod", "directory.mkdir", "file.open", "from host.files import",
        "log.unlink", "options.commitid_file.write_text", "tempfile.TemporaryDirectory",
    },
    # The one look-up by path; from then on the directory is held.
    "ops.place": {"at.mkdir", "os.open", "path.mkdir"},
    "ops.customise": {"from host.files import"},
    # Opens a process (pidfd_open(2)), not a file.
    "ops.history": {"found.open"},
}  # fmt: skip
"""Calls that name no path in such a tree, by module."""

OS = frozenset((
    "access", "chdir", "chflags", "chmod", "chown", "chroot", "getxattr", "lchown", "link", "listdir",
    "listxattr", "lstat", "makedirs", "mkdir", "mkfifo", "mknod", "open", "pathconf", "readlink", "remove",
    "removedirs", "removexattr", "rename", "renames", "replace", "rmdir", "scandir", "setxattr", "stat",
    "statvfs", "symlink", "truncate", "unlink", "utime", "walk", "fwalk",
))  # fmt: skip
OS_PATH = frozenset((
    "exists", "lexists", "isfile", "isdir", "islink", "ismount", "getsize", "getmtime", "realpath", "samefile",
))  # fmt: skip
METHODS = frozenset((
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "exists", "is_file", "is_dir", "is_symlink",
    "is_mount", "is_fifo", "is_socket", "stat", "lstat", "iterdir", "glob", "rglob", "mkdir", "rmdir", "unlink",
    "touch", "chmod", "lchmod", "rename", "symlink_to", "hardlink_to", "readlink", "resolve", "samefile",
    "owner", "group",
))  # fmt: skip
"""What a path can do to a file system. ``replace`` is left out, since texts have it too, and ``walk``, which the door
has, and paths only since Python 3.12."""

MODULES = frozenset(("shutil", "filecmp", "glob", "tempfile", "fileinput"))
"""Modules that take paths, whose every function counts."""

OURS = frozenset(("ostree",))
"""Modules of ours whose functions have such names."""


def calls(tree: ast.Module) -> Iterator[str]:
    """The calls that take a path into the file system, as they are written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in {"os", "os.path", *MODULES}:
            yield f"from {node.module} import"
        if isinstance(node, ast.ImportFrom) and node.module and node.module.endswith("host.files"):
            yield f"from {node.module} import"
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "open":
            yield "open"
        if isinstance(node.func, ast.Name) and node.func.id == "text_of":
            yield ast.unparse(node)
        if isinstance(node.func, ast.Attribute):
            name, above = node.func.attr, ast.unparse(node.func.value)
            if above == "os":
                found = name in OS
            elif above == "os.path":
                found = name in OS_PATH
            else:
                found = above in MODULES or (name in METHODS and not is_ours(node.func.value))
            if found:
                yield f"{above}.{name}"


def is_ours(value: ast.expr) -> bool:
    """True for what a call is made on that is a tree of the door, or one of our modules."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "Tree"
    return isinstance(value, ast.Name) and value.id in OURS


def modules(folder: str) -> list[str]:
    return [f"{folder}.{path.stem}" for path in sorted((PACKAGE / folder).glob("*.py"))]


def test_every_folder_is_held_to_it_or_named_as_one_that_is_not() -> None:
    assert sorted((*HELD, *NOT_HELD)) == sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


@pytest.mark.parametrize("module", [name for folder in HELD for name in modules(folder)])
def test_no_module_takes_another_way_into_a_tree(module: str) -> None:
    source = (PACKAGE / module.replace(".", "/")).with_suffix(".py").read_text()
    assert set(calls(ast.parse(source))) == ALLOWED.get(module, set())


@pytest.mark.parametrize(
    "text",
    [
        "text_of(root / 'etc')",
        "open(path)", "os.open(path, 0)", "os.stat(path)", "os.path.exists(path)", "shutil.move(a, b)", "path.open()",
        "(root / 'etc').read_text()", "Path(top, 'x').unlink()", "for x in place.iterdir(): pass", "a.b.rename(c)",
        "from shutil import copy", "from os import stat", "from ..host.files import remove_tree",
        "filecmp.cmp(a, b)", "[x for x in top.glob('*')]",
    ],
)  # fmt: skip
def test_another_way_is_seen(text: str) -> None:
    assert list(calls(ast.parse(text)))


@pytest.mark.parametrize("text", ["Tree(root).walk()", "os.path.dirname(name)", "os.fspath(path)", "tree.text(name)"])
def test_the_door_and_names_alone_are_not(text: str) -> None:
    assert list(calls(ast.parse(text))) == []
