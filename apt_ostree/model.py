"""The values that operations pass to each other. All frozen: read once, compute the next, write once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_sha256(text: object) -> TypeGuard[str]:
    """True for a SHA-256 in hexadecimal, as all of ours are written. It becomes a part of paths and refs, so whoever
    makes a value that has one asks here: another text could lead anywhere."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One binary package as dpkg names it: ``architecture`` is Debian's name, or ``all``."""

    name: str
    version: str
    architecture: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} [{self.architecture}]"

    @property
    def qualified(self) -> str:
        """The name as dpkg and apt take it: with its architecture, which ``all`` has none of."""
        return self.name if self.architecture == "all" else f"{self.name}:{self.architecture}"

    @property
    def exactly(self) -> str:
        """The expression that names this very version to apt (apt-get(8))."""
        return f"{self.qualified}={self.version}"


@dataclass(frozen=True, slots=True, order=True)
class LocalPackage:
    """A .deb file the user handed over; the digest finds it in the package cache again."""

    sha256: str
    package: Package

    def __str__(self) -> str:
        p = self.package
        return f"{self.sha256}:{p.name}_{p.version}_{p.architecture}"

    @classmethod
    def parse(cls, text: str) -> LocalPackage:
        """Read ``SHA256:NAME_VERSION_ARCH``, as origin files hold it. Raises ValueError."""
        sha256, _, rest = text.partition(":")
        # A version may hold neither "_" nor may a name or an architecture (policy 5.6.1, 5.6.12).
        name, version, architecture = rest.split("_")
        if not is_sha256(sha256):
            raise ValueError(f"'{sha256}' is not a digest")
        return cls(sha256, Package(name, version, architecture))


@dataclass(frozen=True, slots=True)
class Intent:
    """Everything the user asked for over the base; never what the solver made of it.

    ``requested`` are package expressions (``name``, ``name=version``, ``name/suite``, ``name:arch``);
    ``recommends`` is None where the target's own apt setting decides.
    """

    requested: tuple[str, ...] = ()
    requested_local: tuple[LocalPackage, ...] = ()
    recommends: bool | None = None
    remove: tuple[str, ...] = ()
    """Base packages to leave out, by name, or ``name:arch``."""
    replace: tuple[str, ...] = ()
    """Base packages of other versions, as expressions with a version or a suite."""
    replace_local: tuple[LocalPackage, ...] = ()
    debconf: str = ""
    """SHA-256 of the answers given to debconf beforehand, which the layer itself holds (debconf.py)."""
    initramfs: bool = False
    """True if the initramfs is always made on this machine, not only when a layered package changes it."""
    initramfs_args: tuple[str, ...] = ()
    """Further arguments of dracut."""
    initramfs_etc: tuple[str, ...] = ()
    """Files of the machine's /etc that the initramfs has, too; they are not part of a layer."""

    @property
    def names(self) -> list[str]:
        """The requests, for people: expressions and the names of local packages."""
        return [
            *self.requested,
            *(entry.package.name for entry in self.requested_local),
            *(f"-{name}" for name in self.remove),
            *self.replace,
            *(entry.package.name for entry in self.replace_local),
        ]

    @property
    def empty(self) -> bool:
        """True if the base alone fulfils it."""
        return not (
            self.requested
            or self.requested_local
            or self.remove
            or self.replace
            or self.replace_local
            or self.initramfs
        )

    @property
    def local(self) -> tuple[LocalPackage, ...]:
        """Every package that came as a file."""
        return (*self.requested_local, *self.replace_local)


@dataclass(frozen=True, slots=True)
class Solved:
    """One package of a plan: exactly which .deb, and what it weighs.

    ``size`` is the .deb's, ``installed_size`` what dpkg says it unpacks to; both in bytes.
    ``sources`` names the archives apt found it in, as apt prints them.
    """

    package: Package
    sha256: str
    size: int
    installed_size: int
    sources: str = ""

    @property
    def name(self) -> str:
        return self.package.name


@dataclass(frozen=True, slots=True)
class Round:
    """Base packages removed, then packages unpacked together, then those configured before the next round."""

    unpack: tuple[Package, ...]
    configure: tuple[Package, ...]
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The packages that one operation lays over the base, and apt's order in rounds.

    The last round's ``configure`` is empty: dpkg configures everything that is pending.
    """

    packages: tuple[Solved, ...] = ()
    rounds: tuple[Round, ...] = ()
    automatic: frozenset[Package] = frozenset()
    """Packages that nobody asked for by name, as apt-mark(8) shows them."""
    removed: tuple[Package, ...] = ()
    """Base packages that are removed."""
    replaced: tuple[tuple[Package, Package], ...] = ()
    """Base packages with what takes their place, which is in ``packages``, too."""
    left_out: tuple[str, ...] = ()
    """Requests that no archive has."""

    def present(self, base: Iterable[Package]) -> list[Package]:
        """The packages of a tree with this plan over ``base``, sorted."""
        gone = {*self.removed, *(old for old, _ in self.replaced)}
        return sorted({package for package in base if package not in gone} | {s.package for s in self.packages})


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """A commit, but for its files: ``metadata`` has our own keys and those that a base's author wrote
    (system/metadata.py); ``timestamp`` is in seconds UTC."""

    checksum: str
    parent: str | None
    timestamp: int
    subject: str
    metadata: Mapping[str, str]

    @property
    def version(self) -> str:
        return self.metadata.get("version", "")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A bootable checkout, as its files on disk describe it.

    ``index`` counts in boot order: 0 is what boots next. ``path`` is relative to the sysroot, as is the
    origin's: beside it, with ``.origin``.
    """

    index: int
    osname: str
    checksum: str
    serial: int
    kargs: str
    origin: Mapping[str, Mapping[str, str]]
    booted: bool = False
    staged: bool = False
    pinned: bool = False
    retained: bool = False
    """Kept by the setting for retention alone (retention.py)."""
    locked: bool = False
    """Staged, and not finalised at shutdown before somebody says so."""
    damaged: str = ""
    """The reason why its origin cannot be read: ``origin`` is empty then, and not what the user asked for."""
    boot_checksum: str = ""
    """Deployments of one kernel and initramfs share it, and their files in /boot; empty while staged."""

    @property
    def id(self) -> str:
        return f"{self.osname}-{self.checksum}.{self.serial}"

    @property
    def path(self) -> str:
        return f"ostree/deploy/{self.osname}/deploy/{self.checksum}.{self.serial}"
