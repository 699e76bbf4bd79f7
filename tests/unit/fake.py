"""Stand-ins for unit tests: a sysroot of plain files, as ostree 2022.7 leaves it, a reporter that tells nobody, the job
of an assembly, and commit objects."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

from apt_ostree.layering.base import BaseTree
from apt_ostree.layering.job import Job
from apt_ostree.model import Plan
from apt_ostree.tree.users import Reserved

BOOTCSUM = "d" * 64


class Fake:
    """A sysroot without deployments, to which a test adds some."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "ostree/repo").mkdir(parents=True)
        (path / "ostree/repo/config").touch()
        (path / "boot/loader.1/entries").mkdir(parents=True)
        (path / "boot/loader").symlink_to("loader.1")
        (path / "ostree/boot.1.1").mkdir()
        (path / "ostree/boot.1").symlink_to("boot.1.1")

    def deploy(
        self, checksum: str, version: str, origin: str | None = "[origin]\nrefspec=d:x\n",
        serial: int = 0, osname: str = "debian", options: str = "root=LABEL=x {} quiet", file: str = "",
    ) -> None:  # fmt: skip
        place = self.path / f"ostree/deploy/{osname}/deploy/{checksum}.{serial}"
        place.mkdir(parents=True)
        if origin is not None:
            place.with_name(place.name + ".origin").write_text(origin)
        links = self.path / f"ostree/boot.1.1/{osname}/{BOOTCSUM}"
        links.mkdir(parents=True, exist_ok=True)
        number = len(list(links.iterdir()))
        (links / str(number)).symlink_to(f"../../../deploy/{osname}/deploy/{checksum}.{serial}")
        karg = f"ostree=/ostree/boot.1/{osname}/{BOOTCSUM}/{number}"
        text = f"title Debian\nversion {version}\noptions {options.format(karg)}\nlinux /x\n"
        self.entry(file or f"ostree-{version}-{osname}.conf", text)

    def entry(self, name: str, text: str) -> None:
        (self.path / "boot/loader/entries" / name).write_text(text)


class Silent:
    """A Reporter that tells nobody."""

    def begin(self, transaction: str) -> None: ...
    def phase(self, name: str) -> None: ...
    def step(self, message: str) -> None: ...
    def progress(self, done: int, total: int, message: str = "") -> None: ...
    def log(self, line: str) -> None: ...
    def warn(self, message: str) -> None: ...


def job(area: Path, **more: Any) -> Job:
    """The job of an assembly in ``area``: an empty plan over the empty directory ``base``, with /var and /boot in
    ``work``."""
    for name in ("base", "work/var", "work/boot"):
        (area / name).mkdir(parents=True)
    base = BaseTree("", area / "base", (), ("amd64",))
    given = {"accounts_day": 20000, "reserved": Reserved(), "cached": {}, "reporter": Silent(), "plan": Plan(), **more}
    return Job(area / "repo", area / "work", base, log=area / "log", **given)


def variant(kind: str, text: str) -> bytes:
    """A GVariant in bytes: what libostree writes with the same library."""
    glib = ctypes.CDLL("libglib-2.0.so.0")
    for name in ("g_variant_parse", "g_variant_get_data", "g_variant_type_new"):
        getattr(glib, name).restype = ctypes.c_void_p
    glib.g_variant_get_size.restype = ctypes.c_size_t
    made = ctypes.c_void_p(glib.g_variant_type_new(kind.encode()))
    value = ctypes.c_void_p(glib.g_variant_parse(made, text.encode(), None, None, None))
    assert value.value
    return ctypes.string_at(ctypes.c_void_p(glib.g_variant_get_data(value)), glib.g_variant_get_size(value))


TREE = f"[{', '.join(['byte 7'] * 32)}]"


def commit(
    metadata: str = "@a{sv} {}", *, parent: str = "@ay []", subject: str = "''", body: str = "''", tree: str = TREE
) -> bytes:
    """A commit object of 1700000000; each part as text of a GVariant."""
    # A number is stored in network order, as libostree has it.
    time = int.from_bytes((1700000000).to_bytes(8, "big"), sys.byteorder)
    text = f"({metadata}, {parent}, @a(say) [], {subject}, {body}, uint64 {time}, {tree}, {TREE})"
    return variant("(a{sv}aya(say)sstayay)", text)


def put(tree: Path, name: str, text: str = "") -> Path:
    """Write a file of a tree, with the directories above it."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
