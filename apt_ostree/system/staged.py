"""What libostree notes of deployments in /run, above all of a staged one: a GVariant of type a{sv}, which no tool
prints.

The form is that of the GVariant Specification 1.0, whose offsets are little-endian everywhere; values of other types
than those asked for are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SysrootError
from ..tools import ostree

NOTE = Path("/run/ostree/staged-deployment")
LOCKED = Path("/run/ostree/staged-deployment-locked")
"""Older ostree keeps the lock here; newer ones keep it in the note, and obey this file as well."""

STATES = Path("/run/ostree/deployment-state")

BOOTED = Path("/run/ostree-booted")
"""Exists where the running system is a deployment; newer releases of ostree say in it which directory that is."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A staged deployment (``name`` is CHECKSUM.SERIAL), the kernel arguments that it will boot with, and whether it
    waits for being released."""

    osname: str
    name: str
    kargs: tuple[str, ...]
    locked: bool


def read(note: Path = NOTE, lock: Path = LOCKED) -> Staged | None:
    """What is noted; None where nothing is staged. Raises SysrootError for a note that cannot be read."""
    try:
        data = note.read_bytes()
    except FileNotFoundError:
        return None
    try:
        entries = dictionary(data)
        target = dictionary(entries["target"][1])
        return Staged(
            string(target["osname"]),
            string(target["name"]),
            tuple(strings(entries.get("kargs"))),
            boolean(entries.get("locked")) or lock.exists(),
        )
    except (ValueError, LookupError) as error:
        raise SysrootError(f"cannot read {note}", str(error), "Reboot, or drop it: ostree admin undeploy 0") from error


def release(path: Path, lock: Path = LOCKED) -> None:
    """Let the shutdown finalise the staged deployment of the sysroot at ``path``, wherever its lock is noted. Raises
    proc.ChildError."""
    lock.unlink(missing_ok=True)
    if ostree.has_admin("lock-finalization"):
        ostree.admin(path, "lock-finalization", "--unlock")


def booted_root(note: Path = BOOTED, root: Path = Path("/")) -> tuple[int, int] | None:
    """Device and inode of the deployment that is running; None where none is.

    With composefs or an overlay, / is another directory than the deployment's: then ostree-prepare-root(1) has noted
    the one behind it.
    """
    try:
        data = note.read_bytes()
    except FileNotFoundError:
        return None
    try:
        kind, content = dictionary(data).get("backing-root-device-inode", ("", b"")) if data else ("", b"")
    except (ValueError, IndexError) as error:
        raise SysrootError(
            f"cannot read {note}", str(error), "Nothing was changed. It is made anew by a boot."
        ) from error
    if kind == "(tt)" and len(content) == 16:
        return int.from_bytes(content[:8], "little"), int.from_bytes(content[8:], "little")
    status = root.stat()
    return status.st_dev, status.st_ino


def unlocked(name: str, origin: Mapping[str, Mapping[str, str]], states: Path = STATES) -> str:
    """How the /usr of a deployment (CHECKSUM.SERIAL) was made writable, as ostree-admin-unlock(1) calls it: "none",
    "hotfix", which lasts, or "development" and "transient", which end with this boot."""
    for kind in ("development", "transient"):
        if (states / name / f"unlocked-{kind}").exists():
            return kind
    return origin.get("origin", {}).get("unlocked", "none")


def dictionary(data: bytes) -> dict[str, tuple[str, bytes]]:
    """A GVariant of type a{sv}: each key with the type and the bytes of its value. Raises ValueError, IndexError."""
    found = {}
    for entry in _elements(data, alignment=8):
        width = _width(len(entry))
        end = int.from_bytes(entry[len(entry) - width :], "little")
        key, value = entry[: end - 1].decode(), entry[-(-end // 8) * 8 : len(entry) - width]
        # A variant is its value, a zero, and its type.
        content, _, kind = value.rpartition(b"\0")
        found[key] = (kind.decode(), content)
    return found


def strings(value: tuple[str, bytes] | None) -> list[str]:
    """The items of an ``as``; none where the value is absent or of another type."""
    if value is None or value[0] != "as":
        return []
    return [
        element.removesuffix(b"\0").decode(errors="surrogateescape") for element in _elements(value[1], alignment=1)
    ]


def string(value: tuple[str, bytes]) -> str:
    """An ``s``. Raises ValueError for a value of another type."""
    if value[0] != "s":
        raise ValueError(f"a string is missing, there is a value of type {value[0]}")
    return value[1].removesuffix(b"\0").decode()


def boolean(value: tuple[str, bytes] | None) -> bool:
    """A ``b``; False where the value is absent or of another type."""
    return value == ("b", b"\1")


def _elements(data: bytes, alignment: int) -> list[bytes]:
    """The elements of an array of variable size: their ends stand behind the last one."""
    if not data:
        return []
    width = _width(len(data))
    last = int.from_bytes(data[-width:], "little")
    if not 0 <= last <= len(data) - width or (len(data) - last) % width:
        raise ValueError("its offsets lead out of it")
    ends = [int.from_bytes(data[at : at + width], "little") for at in range(last, len(data), width)]
    found, start = [], 0
    for end in ends:
        if not start <= end <= last:
            raise ValueError("its offsets are in disorder")
        found.append(data[start:end])
        start = -(-end // alignment) * alignment
    return found


def _width(size: int) -> int:
    """Bytes of an offset in a container of ``size`` bytes."""
    return next(width for width, bits in ((1, 8), (2, 16), (4, 32), (8, 64)) if size < 1 << bits)
