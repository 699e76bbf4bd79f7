"""The .deb format (deb(5)): a package's control archive and data archive, read and written.

Reading is dpkg-deb's work. Writing is ours: an ar archive of uncompressed tar archives, which dpkg takes like any.
"""

from __future__ import annotations

import copy
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import PackageError, SpaceError
from ..host import proc
from ..model import Package
from . import dpkg

BLOCK = 1 << 15
"""Bytes written at once; tarfile copies what it has collected with every header, so that more is slower."""

CONTROL_BYTES = 64 << 20
"""The control archive is read into memory. The largest are lists of checksums and templates, some megabytes."""

_LEAVE_OUT = "Nothing was changed. Leave that package out; only its maintainer can repair it."

_AR_HEADER = 60


@dataclass(frozen=True, slots=True)
class Control:
    """A package's control stanza (deb-control(5)), as it stands in the .deb, and the package it describes."""

    text: str
    package: Package


def control(deb: Path) -> Control:
    """Read the control stanza of a .deb. Raises PackageError if the file is not a .deb, or has no valid one."""
    result = proc.run(["dpkg-deb", "--field", deb], check=False)
    if result.returncode != 0:
        raise PackageError(
            f"{deb.name} is not a Debian package, or is damaged",
            proc.tail(result.stderr),
            "Fetch the file again.",
        )
    from debian_inspector.debcon import Debian822

    fields = {key.lower(): value for key, value in Debian822.from_string(result.stdout).items()}
    if missing := [key for key in ("package", "version", "architecture") if not fields.get(key)]:
        raise PackageError(f"{deb.name} has a broken control file", f"it lacks: {', '.join(missing)}")
    return Control(result.stdout, dpkg.identity(fields))


def unpack_tar(deb: Path, target: Path, limit: int | None = None) -> None:
    """Write a .deb's data archive, uncompressed, to ``target``: ``limit`` bytes of it at most.

    Raises PackageError when it is damaged, SpaceError when it is larger.
    """
    words = [] if limit is None else ["prlimit", f"--fsize={limit}", "--"]
    with target.open("wb") as file, proc.spawn([*words, "dpkg-deb", "--fsys-tarfile", deb], stdout=file) as child:
        assert child.stderr is not None
        message = child.stderr.read().decode(errors="replace")
    if child.returncode != 0:
        if limit is not None and target.stat().st_size >= limit:
            raise SpaceError(
                f"too little space to unpack {deb.name}",
                f"it is larger than the {limit / 1e6:.1f} MB that may be written",
                "Nothing was changed. Free some space, or leave that package out.",
            )
        raise PackageError(f"{deb.name} is damaged", proc.tail(message), "Fetch the file again.")


def control_archive(deb: Path) -> bytes:
    """The control archive of a .deb as an uncompressed tar. Raises PackageError if it is damaged or too large."""
    with proc.spawn(["dpkg-deb", "--ctrl-tarfile", deb]) as child:
        assert child.stdout is not None and child.stderr is not None
        archive = child.stdout.read(CONTROL_BYTES + 1)
        if len(archive) > CONTROL_BYTES:
            raise PackageError(
                f"{deb.name} cannot be layered", f"its control archive is larger than {CONTROL_BYTES} bytes", _LEAVE_OUT
            )
        message = child.stderr.read().decode(errors="replace")
    if child.returncode != 0:
        raise PackageError(f"{deb.name} is damaged", proc.tail(message), "Fetch the file again.")
    return archive


def control_files(control: bytes) -> set[str]:
    """The names in a control archive: control, md5sums, scripts, templates…"""
    with tarfile.open(fileobj=io.BytesIO(control), mode="r:") as tar:
        return {member.name.removeprefix("./") for member in tar.getmembers()}


def conffiles(control: bytes) -> set[str]:
    """The paths a control archive declares as conffiles (deb-conffiles(5))."""
    with tarfile.open(fileobj=io.BytesIO(control), mode="r:") as tar:
        for member in tar.getmembers():
            if member.name.removeprefix("./") == "conffiles" and (file := tar.extractfile(member)) is not None:
                lines = file.read().decode(errors="surrogateescape").splitlines()
                return {line.split()[-1] for line in lines if line.strip()}
    return set()


def with_md5sums(deb: Path, data: tarfile.TarFile, members: list[tarfile.TarInfo]) -> bytes:
    """The control archive as an uncompressed tar, with md5sums added where the package has none.

    Without them dpkg would compute its own from what it unpacks: from markers (deb-md5sums(5)).
    """
    original = control_archive(deb)
    if "md5sums" in control_files(original):
        return original
    # dpkg lists conffiles here, too, unlike dh_md5sums(1).
    lines = [
        f"{_md5(data, member)}  {member.name.removeprefix('./')}\n"
        for member in members
        if member.isfile() or member.islnk()
    ]
    content = "".join(lines).encode()
    extended = io.BytesIO(original)
    with tarfile.open(fileobj=extended, mode="a:", format=tarfile.GNU_FORMAT) as control:
        info = tarfile.TarInfo("./md5sums")
        info.size, info.mode = len(content), 0o644
        control.addfile(info, io.BytesIO(content))
    return extended.getvalue()


def _md5(data: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = data.extractfile(member)
    assert content is not None
    return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()  # type: ignore[arg-type]


def write(
    target: Path,
    control: bytes,
    data: tarfile.TarFile,
    replace: Callable[[tarfile.TarInfo], IO[bytes] | None],
) -> None:
    """Write a .deb (deb(5)) like the one ``data`` came from, with other contents where ``replace`` gives one."""
    with target.open("wb") as file:
        file.write(b"!<arch>\n")
        file.write(_ar_header("debian-binary", 4) + b"2.0\n")
        file.write(_ar_header("control.tar", len(control)) + control + b"\n" * (len(control) % 2))
        header = file.tell()
        file.write(_ar_header("data.tar", 0))
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT, bufsize=BLOCK) as tar:
            for member in data.getmembers():
                content = replace(member) if member.isfile() else None
                if content is None:
                    tar.addfile(member, data.extractfile(member) if member.isfile() else None)
                    continue
                with content:
                    other = copy.copy(member)
                    other.size = content.seek(0, os.SEEK_END)
                    content.seek(0)
                    tar.addfile(other, content)
        size = file.tell() - header - _AR_HEADER
        file.seek(header)
        file.write(_ar_header("data.tar", size))


def _ar_header(name: str, size: int) -> bytes:
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{size:<10}`\n".encode()
