"""The notes of libostree in /run about deployments, above all about a staged one: GVariants of type a{sv}, which no
tool prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SysrootError
from ..text import text_of
from ..tools import gvariant, ostree

NOTE = Path("/run/ostree/staged-deployment")
LOCKED = Path("/run/ostree/staged-deployment-locked")
"""Older ostree keeps the lock here; newer ones keep it in the note, and obey this file as well."""

STATES = Path("/run/ostree/deployment-state")

BOOTED = Path("/run/ostree-booted")
"""Exists where the running system is a deployment; newer releases of ostree say in it which directory that is."""


NOT_FINALISED = Path("/run/apt-ostree-not-finalised")
"""What kept the shutdown before this boot from finalising a staged deployment, as a unit of ours in the tree noted it
(data/note-boot)."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A staged deployment (``name`` is CHECKSUM.SERIAL), the kernel arguments that it will boot with, and whether it
    waits for being released."""

    osname: str
    name: str
    kargs: tuple[str, ...]
    locked: bool


def read(note: Path = NOTE, lock: Path = LOCKED) -> Staged | None:
    """The staged deployment; None if there is none. Raises SysrootError for a note that cannot be read."""
    try:
        data = note.read_bytes()
    except FileNotFoundError:
        return None
    try:
        entries = gvariant.dictionary(data)
        target = gvariant.dictionary(entries["target"][1])
        return Staged(
            gvariant.string(target["osname"]),
            gvariant.string(target["name"]),
            tuple(gvariant.strings(entries.get("kargs"))),
            gvariant.boolean(entries.get("locked")) or lock.exists(),
        )
    except (ValueError, LookupError) as error:
        raise SysrootError(f"cannot read {note}", str(error), "Reboot, or drop it: ostree admin undeploy 0") from error


def not_finalised(note: Path = NOT_FINALISED) -> str:
    """Why the last shutdown did not finalise a staged deployment, in libostree's words; empty if nothing is known of
    that."""
    try:
        return text_of(note).strip()
    except OSError:
        return ""


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
        kind, content = gvariant.dictionary(data).get("backing-root-device-inode", ("", b"")) if data else ("", b"")
    except (ValueError, IndexError) as error:
        raise SysrootError(
            f"cannot read {note}", str(error), "Nothing was changed. The next boot writes it again."
        ) from error
    if kind == "(tt)" and len(content) == 16:
        return int.from_bytes(content[:8], "little"), int.from_bytes(content[8:], "little")
    status = root.stat()
    return status.st_dev, status.st_ino


def unlocked(name: str, origin: Mapping[str, Mapping[str, str]], states: Path = STATES) -> str:
    """The way the /usr of a deployment (CHECKSUM.SERIAL) was made writable, as ostree-admin-unlock(1) names it: "none",
    "hotfix", which lasts, or "development" and "transient", which end with this boot."""
    for kind in ("development", "transient"):
        if (states / name / f"unlocked-{kind}").exists():
            return kind
    return origin.get("origin", {}).get("unlocked", "none")
