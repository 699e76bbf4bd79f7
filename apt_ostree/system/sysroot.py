"""A sysroot as its files describe it.

Deployments are read from the loader entries, the boot links and the origin files, as libostree does: its
command line prints no JSON before 2025.3.
"""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import SysrootError, TreeError
from ..host.door import Tree
from ..inputs import kargs
from ..model import Deployment
from ..numbers import decimal
from ..text import lines
from . import origin, staged

_BOOT_LINK = re.compile(r"(?:^| )ostree=(/ostree/boot\.[01](?:\.[01])?/[^ /\0]+/[^ /\0]+/[0-9]+)(?= |$)")
_DEPLOYMENT = re.compile(r"ostree/deploy/(?P<os>[^/]+)/deploy/(?P<checksum>[0-9a-f]{64})\.(?P<serial>[0-9]{1,9})$")
_REPAIR_ENTRY = (
    "ostree itself does not work until this is repaired. Write the entry again, following the other entries "
    "in /boot/loader/entries, with a path in /ostree/boot.*; or remove it: its deployment is then forgotten."
)


_REPAIR_ORIGIN = (
    "Repair the file; that of another deployment shows its form. 'apt-ostree rollback' works as it is. With an empty "
    "file, ostree works again, too, but the requests are lost."
)

_ENTRY_MAX = 1 << 20
"""Bytes of a loader entry; the kernel takes some thousand of its options."""

_ORIGIN_MAX = 1 << 20
"""Bytes of an origin; one with thousands of requests has some ten thousand."""


@dataclass(frozen=True, slots=True)
class Sysroot:
    """One sysroot at one moment; ``deployments`` are in boot order."""

    path: Path
    deployments: tuple[Deployment, ...]
    lenient: bool = False
    """True if origins that cannot be read are not an error."""

    def again(self) -> Sysroot:
        """The same sysroot as it is now. Raises SysrootError."""
        return load(self.path, lenient=self.lenient)

    @property
    def repo(self) -> Path:
        return self.path / "ostree/repo"

    @property
    def area(self) -> Path:
        """The work area: on the repository's filesystem, for hard links; not in its tmp, which ostree sweeps."""
        return self.repo / "extensions/apt-ostree"

    @property
    def unsynced(self) -> Path:
        """Exists while the repository holds objects that a power cut could damage; names the boot they are of."""
        return self.area / "unsynced"

    @property
    def booted(self) -> Deployment | None:
        return next((d for d in self.deployments if d.booted), None)

    def require_origins(self) -> None:
        """Raises SysrootError for an origin that cannot be read: nobody knows its intent, and ostree itself refuses to
        change anything."""
        if (damaged := next((d for d in self.deployments if d.damaged), None)) is not None:
            raise SysrootError(f"cannot read {self.path / damaged.path}.origin", damaged.damaged, _REPAIR_ORIGIN)

    def stateroot(self, name: str | None) -> str:
        """The stateroot to work on: the one named, the booted one, or that of the first deployment. Raises
        SysrootError."""
        if name is not None:
            if not (self.path / "ostree/deploy" / name).is_dir():
                have = sorted(place.name for place in (self.path / "ostree/deploy").glob("*") if place.is_dir())
                raise SysrootError(
                    f"stateroot {name} does not exist in {self.path}",
                    f"it has: {', '.join(have) or 'none'}",
                    "Name one of these with --stateroot.",
                )
            return name
        if self.booted is not None:
            return self.booted.osname
        if self.deployments:
            return self.deployments[0].osname
        raise SysrootError(
            f"{self.path} has no deployment",
            resolution="Make a sysroot with 'apt-ostree compose sysroot', or deploy a commit to it.",
        )

    def of(self, osname: str) -> tuple[Deployment, ...]:
        """The deployments of one stateroot, in boot order. Raises SysrootError when there are none."""
        found = tuple(d for d in self.deployments if d.osname == osname)
        if not found:
            raise SysrootError(
                f"stateroot {osname} of {self.path} has no deployment",
                resolution="Name another one with --stateroot; 'apt-ostree status' shows those with a deployment.",
            )
        return found

    def merge(self, osname: str) -> Deployment:
        """The merge deployment of a stateroot, whose /etc a new one starts from: the booted one, or else what boots
        next; a staged one has no /etc yet. Raises SysrootError when the stateroot has no deployment."""
        own = self.of(osname)
        booted = next((d for d in own if d.booted), None)
        return booted or next((d for d in own if not d.staged), own[0])


def load(path: Path, *, lenient: bool = False) -> Sysroot:
    """Read the sysroot at ``path``. Raises SysrootError if it is not one, or cannot be read.

    With ``lenient``, a deployment whose origin cannot be read has its reason in ``damaged``: enough to look, and to
    roll back, but not to make another deployment of.
    """
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise SysrootError(f"{path} {what}", resolution="Name a sysroot with --sysroot.")
    if not (path / "ostree/repo/config").is_file():
        raise SysrootError(
            f"{path} is not an OSTree sysroot",
            f"{path / 'ostree/repo'} does not exist",
            "Name one with --sysroot, or make one with 'apt-ostree compose sysroot'.",
        )
    if path != Path("/") and staged.BOOTED.exists() and _same(path / "ostree", Path("/ostree")):
        # /sysroot, say: libostree knows of a staged deployment at / alone, and elsewhere sweeps its tree away.
        path = Path("/")
    found = Sysroot(path, _deployments(path), lenient)
    if not lenient:
        found.require_origins()
    return found


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def parse_entry(text: str) -> dict[str, str]:
    """The keys of a loader entry (Boot Loader Specification, type 1)."""
    found: dict[str, str] = {}
    for line in lines(text):
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            found[key] = value.strip()
    return found


@dataclass(frozen=True, slots=True)
class Entry:
    """A loader entry; ``link`` is its /ostree/boot.N/OS/KERNEL/SERIAL, where the kernel is a checksum."""

    text: str
    version: int
    link: str
    options: str

    @property
    def parts(self) -> tuple[str, str, str]:
        osname, kernel, serial = self.link.split("/")[3:]
        return osname, kernel, serial


def entries(path: Path) -> list[Entry]:
    """The loader entries in boot order. Raises SysrootError for one that cannot be read."""
    found = []
    boot = Tree(path / "boot")
    # ostree makes "loader" a link to the set that is in force.
    place = boot.find("loader/entries") or ""
    for name in fnmatch.filter(boot.names(place) if place else [], "ostree-*.conf"):
        file = path / "boot/loader/entries" / name
        text = boot.text(f"{place}/{name}", limit=_ENTRY_MAX)
        if text is None:
            raise SysrootError(f"cannot read {file}", "it is not a file", _REPAIR_ENTRY)
        entry = parse_entry(text)
        match = _BOOT_LINK.search(entry.get("options", ""))
        if match is None:
            raise SysrootError(f"cannot read {file}", "its options do not name a deployment (ostree=)", _REPAIR_ENTRY)
        version = decimal(entry.get("version", ""))
        if version is None:
            raise SysrootError(f"cannot read {file}", "it does not have a version number", _REPAIR_ENTRY)
        found.append(Entry(text, version, match[1], entry["options"]))
    return sorted(found, key=lambda entry: (entry.version, entry.link), reverse=True)


def _deployments(path: Path) -> tuple[Deployment, ...]:
    root = staged.booted_root()
    found = [_staged(path)] if path == Path("/") else []
    result: list[Deployment] = [d for d in found if d is not None]
    for entry in entries(path):
        target = Path(os.path.realpath(path / entry.link.lstrip("/")))
        match = _DEPLOYMENT.search(os.fspath(target))
        if match is None or not target.is_dir():
            raise SysrootError(
                f"the loader entry for {entry.link} does not lead to a deployment",
                f"it points to {target}",
                _REPAIR_ENTRY,
            )
        status = target.stat()
        booted = root == (status.st_dev, status.st_ino)
        words = " ".join(word for word in kargs.split(entry.options) if not word.startswith("ostree="))
        described = _deployment(path, len(result), match, words)
        result.append(replace(described, booted=booted, boot_checksum=entry.parts[1]))
    if path == Path("/") and root is not None and not any(d.booted for d in result):
        raise SysrootError(
            "cannot tell which deployment is running",
            f"the system was booted with OSTree ({staged.BOOTED} exists), but no loader entry leads to it",
            "Nothing was changed. See what 'ostree admin status' says.",
        )
    return tuple(result)


def _deployment(path: Path, index: int, match: re.Match[str], words: str) -> Deployment:
    """A deployment as its directory, which ``match`` is of, and its origin describe it."""
    notes: dict[str, dict[str, str]] = {}
    damaged = ""
    try:
        notes = _origin(
            path / "ostree/deploy" / match["os"] / "deploy", f"{match['checksum']}.{match['serial']}.origin"
        )
    except (SysrootError, TreeError) as error:
        damaged = error.detail or error.brief
    retained = origin.retained(notes)
    return Deployment(
        index,
        match["os"],
        match["checksum"],
        int(match["serial"]),
        words,
        notes,
        pinned=origin.has_pin(notes) and not retained,
        retained=retained,
        damaged=damaged,
    )


def _origin(place: Path, name: str) -> dict[str, dict[str, str]]:
    """The origin in that file; empty where there is none. Raises SysrootError, also for an intent in it that cannot be
    read, and TreeError."""
    text = Tree(place).text(name, limit=_ORIGIN_MAX)
    if text is None:
        return {}
    notes = origin.parse(text, os.fspath(place / name))
    origin.intent(notes)
    return notes


def _staged(path: Path) -> Deployment | None:
    """The deployment that will be finalised at shutdown, as ostree's note in /run says."""
    waiting = staged.read()
    if waiting is None:
        return None
    match = _DEPLOYMENT.search(f"ostree/deploy/{waiting.osname}/deploy/{waiting.name}")
    if match is None or not (path / match[0]).is_dir():
        raise SysrootError(
            "the staged deployment is missing",
            f"{staged.NOTE} names {waiting.osname} {waiting.name}",
            "Reboot, or drop it: ostree admin undeploy 0",
        )
    return replace(_deployment(path, 0, match, " ".join(waiting.kargs)), staged=True, locked=waiting.locked)
