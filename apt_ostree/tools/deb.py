"""The .deb format (deb(5)): a package's control archive and data archive, read and written.

What others made is read by sandbox/unpacking.py, and arrives here as plain archives. Our own packages are read by
dpkg-deb. Writing is ours: an ar archive of uncompressed tar archives, which dpkg takes like any.
"""

from __future__ import annotations

import copy
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import PackageError
from ..host import proc
from ..model import Package
from . import dpkg

BLOCK = 1 << 15
"""Bytes written at once; tarfile copies what it has collected with every header, so that more is slower."""

_LEAVE_OUT = "Nothing was changed. Leave that package out; only its maintainer can repair it."

_AR_HEADER = 60

_BLANKS = " \t\v\f\r"
"""What dpkg takes for a blank in a line."""

_FIELD = re.compile(r"[!-9;-~]+")
"""A field's name (deb822(5)): printable ASCII without spaces and colons. It does not start with ``#`` or ``-``."""

_OF_INDEX = frozenset({"filename", "size", "md5sum", "sha1", "sha256", "sha512"})
"""Fields that an archive's index adds to a stanza (apt's Packages file). A package cannot say these of itself."""

CONTROL_MAX = 1 << 20
"""Bytes of a control file. The largest of Debian's have some ten thousand."""


@dataclass(frozen=True, slots=True)
class Control:
    """A package's control stanza (deb-control(5)) as an index would have it, and the package it describes.

    What is not UTF-8, as in old packages, stays as it is (surrogateescape).
    """

    text: str
    package: Package


def control(archive: bytes, name: str) -> Control:
    """The control stanza in a control archive (of a package that people know as ``name``).

    Raises PackageError for one that is missing or that dpkg or apt could read otherwise than we do.
    """
    content = control_files(archive).get("control")
    if content is None:
        raise PackageError(f"{name} has a broken control file", "it has none at all", _LEAVE_OUT)
    if len(content) > CONTROL_MAX:
        raise PackageError(f"{name} has a broken control file", f"it has more than {CONTROL_MAX} bytes", _LEAVE_OUT)
    fields: dict[str, str] = {}
    last = ""
    lines = []
    for line in content.decode(errors="surrogateescape").strip("\n").split("\n"):
        key = line.partition(":")[0].rstrip(" \t")
        if problem := _problem(line, key, fields):
            raise PackageError(f"{name} has a broken control file", problem, _LEAVE_OUT)
        if line[0] == "#":
            continue
        if line[0] not in " \t":
            last = key.lower()
            fields[last] = line.partition(":")[2].strip()
        if last not in _OF_INDEX:
            lines.append(line)
    return Control("".join(f"{line}\n" for line in lines), identity(fields, name))


def _problem(line: str, key: str, before: Mapping[str, str]) -> str | None:
    """The problem of a line of a stanza that comes after the fields ``before``; None where it has none."""
    if not line.strip():
        return "it has more than one paragraph"
    if "\0" in line:
        return "it has a NUL character"
    if line[0] == "#":
        return None
    if line[0] in " \t":
        return None if before else "it starts with a continuation line"
    if ":" not in line or line[0] == "-" or not _FIELD.fullmatch(key):
        return f"a line is not a field: {line[:60]}"
    return f"it has the field {key} twice" if key.lower() in before else None


def identity(fields: Mapping[str, str], name: str) -> Package:
    """The package of a control stanza, checked by Debian policy 5.6 before its words reach a command line or a path.

    ``fields`` have lower-case names; ``name`` is what people know the package as. Raises PackageError.
    """
    for key in ("package", "version", "architecture"):
        if not fields.get(key):
            raise PackageError(
                f"{name} has a broken control file", f"it lacks the field {key.capitalize()}", _LEAVE_OUT
            )
    package = dpkg.identity(fields)
    if problem := dpkg.problem(package):
        raise PackageError(f"{name} has a broken control file", problem, _LEAVE_OUT)
    return package


def unpack_tar(deb: Path, target: Path) -> None:
    """Write the data archive of a .deb of our own, uncompressed, to ``target``. Raises PackageError."""
    with target.open("wb") as file, proc.spawn(["dpkg-deb", "--fsys-tarfile", deb], stdout=file) as child:
        assert child.stderr is not None
        message = child.stderr.read().decode(errors="replace")
    if child.returncode != 0:
        raise PackageError(f"{deb.name} is damaged", proc.tail(message), "Run 'apt-ostree cleanup -m'.")


def control_archive(deb: Path) -> bytes:
    """The control archive of a .deb of our own as an uncompressed tar. Raises PackageError."""
    with proc.spawn(["dpkg-deb", "--ctrl-tarfile", deb]) as child:
        assert child.stdout is not None and child.stderr is not None
        archive = child.stdout.read()
        message = child.stderr.read().decode(errors="replace")
    if child.returncode != 0:
        raise PackageError(f"{deb.name} is damaged", proc.tail(message), "Run 'apt-ostree cleanup -m'.")
    return archive


def control_files(archive: bytes) -> dict[str, bytes]:
    """The files in a plain control archive: control, md5sums, scripts, templates… The last of a name counts, as
    where they are unpacked."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", encoding="utf-8") as tar:
        for member in tar.getmembers():
            if member.isfile() and (file := tar.extractfile(member)) is not None:
                found[os.path.normpath(member.name)] = file.read()
    return found


def conffiles(files: Mapping[str, bytes]) -> set[str]:
    """The paths that the files of a control archive declare as conffiles (deb-conffiles(5))."""
    found = set[str]()
    for line in files.get("conffiles", b"").decode(errors="surrogateescape").split("\n"):
        # Words before the path are flags; a path may have blanks, but for the last characters, which dpkg drops.
        flags, slash, rest = line.strip(_BLANKS).partition("/")
        if slash and (not flags or flags[-1] in _BLANKS):
            found.add(slash + rest)
    return found


def with_md5sums(archive: bytes, data: tarfile.TarFile, members: list[tarfile.TarInfo]) -> bytes:
    """The control archive with md5sums added where the package has none.

    Without them dpkg would compute its own from what it unpacks: from markers (deb-md5sums(5)).
    """
    if "md5sums" in control_files(archive):
        return archive
    # dpkg lists conffiles here, too, unlike dh_md5sums(1).
    lines = []
    known: dict[str, str] = {}
    for member in members:
        if member.isfile():
            known[os.path.normpath(member.name)] = _md5(data, member)
        elif member.islnk():
            # The file that has the name by now: a later member may take it over.
            known[os.path.normpath(member.name)] = known[os.path.normpath(member.linkname)]
        else:
            continue
        lines.append(f"{known[os.path.normpath(member.name)]}  {member.name.removeprefix('./')}\n")
    content = "".join(lines).encode()
    extended = io.BytesIO(archive)
    with tarfile.open(fileobj=extended, mode="a:", format=tarfile.GNU_FORMAT, encoding="utf-8") as control:
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
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT, bufsize=BLOCK, encoding="utf-8") as tar:
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
